"""docs/metrics.md has the metrics of the code, and no other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from tests.support.metric_expressions import ALL_FAMILIES, CLIENT_FAMILIES, series_of

from flowspan_service.metrics.ended_runs import MAX_FLOWS, OTHER_FLOWS
from flowspan_service.metrics.families import FAMILIES, FamilyType

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowspan_service.metrics.families import Family

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
COLUMNS = ("Prometheus", "OpenTelemetry", "type", "unit", "attributes", "meaning")
HEAD = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|\n"


def table(families: Iterable[Family]) -> str:
    """Return the table of some metrics, for the page."""
    return HEAD + "".join(map(_row, families))


def _row(family: Family) -> str:
    suffix = {FamilyType.COUNTER: "_total", FamilyType.INFO: "_info"}.get(family.type, "")
    cells = (
        f"`{family.prometheus_name}{suffix}`",
        f"`{family.name}`" if family.type is not FamilyType.INFO else "the resource",
        family.type.value,
        f"`{family.unit}`" if family.unit else "",
        ", ".join(f"`{name}`" for name in family.attributes),
        family.help,
    )
    return f"| {' | '.join(cells)} |\n".replace("|  |", "| |").replace("|  |", "| |")


def section(title: str) -> str:
    """Return a section of the page, from its heading to the next one."""
    _, _, rest = PAGE.partition(f"\n## {title}\n")
    assert rest, f"docs/metrics.md has no section {title!r}"
    return rest.split("\n## ")[0]


def test_the_table_of_the_service_is_that_of_the_code() -> None:
    assert table(FAMILIES) in section("Metrics of the service"), (
        f"put this table on the page:\n\n{table(FAMILIES)}"
    )


def test_the_table_of_the_client_is_that_of_the_code() -> None:
    assert table(CLIENT_FAMILIES) in section("Metrics of a Python program"), (
        f"put this table on the page:\n\n{table(CLIENT_FAMILIES)}"
    )


def test_the_page_tells_the_bound_of_flows() -> None:
    assert f"{MAX_FLOWS} flows" in PAGE
    assert f'`flow="{OTHER_FLOWS}"`' in PAGE


def test_the_alerts_of_the_page_are_those_of_prometheus() -> None:
    groups = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text())["groups"]
    alerts = {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}
    rows = re.findall(r"^\| [^|]+ \| `(\w+)` \| `([^`]+)` \|$", section("Alerts"), re.MULTILINE)
    assert dict(rows) == alerts


def test_the_page_names_no_other_metrics() -> None:
    names = set(re.findall(r"\bflowspan_[a-z_]+\b", PAGE))
    known = {name for family in ALL_FAMILIES for name in series_of(family)}
    known |= {family.prometheus_name for family in ALL_FAMILIES}
    assert names <= known, names - known
