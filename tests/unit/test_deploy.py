"""The files of deploy/ use metrics that exist, and Prometheus accepts them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.support.metric_expressions import ALL_FAMILIES, check_expression, series_of

from flowspan_service.metrics.families import FamilyType

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "flowspan.json").read_text())
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
CONFIG = ROOT / "deploy" / "prometheus" / "prometheus.yml"
WITHOUT_PANEL = {"flowspan", "flowspan.start_time", "flowspan.longest_write", "flowspan.queued"}
"""Metrics that the dashboard leaves out."""

PLOTS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
TARGETS = [(panel["title"], each["expr"]) for panel in PLOTS for each in panel["targets"]]
VARIABLES = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
BUILT_IN = {"__rate_interval", "__range", "__interval"}


def alerts() -> Iterator[dict[str, Any]]:
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        yield from group["rules"]


def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed (the Debian package prometheus has it)")
    return found


def with_values(expression: str) -> str:
    """Return an expression of the dashboard as Grafana sends it."""
    expression = expression.replace("$__rate_interval", "1m").replace("$__range", "6h")
    return re.sub(r"\$(job|flow)\b", ".*", expression)


@pytest.mark.parametrize(("title", "expression"), TARGETS)
def test_each_panel_uses_metrics_that_exist(title: str, expression: str) -> None:
    assert title
    check_expression(with_values(expression), ALL_FAMILIES)
    used = set(re.findall(r"\$\{?(\w+)", expression))
    assert used <= set(VARIABLES) | BUILT_IN


def test_the_dashboard_shows_every_metric_but_a_few() -> None:
    shown = set()
    for _, expression in TARGETS:
        shown |= check_expression(with_values(expression), ALL_FAMILIES)
    missing = {family.name for family in ALL_FAMILIES if not shown & series_of(family).keys()}
    assert missing == WITHOUT_PANEL


def test_variables_choose_the_data_source_the_service_and_the_flow() -> None:
    assert list(VARIABLES) == ["datasource", "job", "flow"]
    assert VARIABLES["datasource"]["type"] == "datasource"
    assert VARIABLES["datasource"]["query"] == "prometheus"
    for name in ("job", "flow"):
        query = VARIABLES[name]["query"]["query"]
        match = re.fullmatch(r"label_values\((?P<selector>.*), (?P<label>\w+)\)", query)
        assert match, query
        check_expression(with_values(match["selector"]), ALL_FAMILIES)
        assert match["label"] == name


def test_the_model_is_what_grafana_imports() -> None:
    assert DASHBOARD["id"] is None, "Grafana gives the id"
    assert DASHBOARD["uid"] == "flowspan"
    assert DASHBOARD["schemaVersion"] >= 36
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert rows == ["Runs", "Latency", "Service health", "Clients"]
    places: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & places, f"{panel['title']} is upon another panel"
        places |= cells
    for panel in PLOTS:
        assert panel["type"] in {"timeseries", "stat", "bargauge"}
        assert panel["fieldConfig"]["defaults"]["unit"]
        sources = [panel["datasource"], *(each["datasource"] for each in panel["targets"])]
        assert all(each == {"type": "prometheus", "uid": "${datasource}"} for each in sources)
        references = [each["refId"] for each in panel["targets"]]
        assert len(set(references)) == len(references)


def test_exemplars_are_asked_for_where_there_are_some() -> None:
    with_exemplars = {
        family.prometheus_name
        for family in ALL_FAMILIES
        if family.type is FamilyType.HISTOGRAM and "_run_" in family.prometheus_name
    }
    asked = set()
    for panel in PLOTS:
        for each in panel["targets"]:
            if each["exemplar"]:
                (name,) = check_expression(with_values(each["expr"]), ALL_FAMILIES)
                asked.add(name.removesuffix("_bucket"))
    assert asked == with_exemplars


@pytest.mark.parametrize("alert", list(alerts()), ids=lambda alert: alert["alert"])
def test_each_alert_uses_metrics_that_exist(alert: dict[str, Any]) -> None:
    check_expression(alert["expr"], ALL_FAMILIES)
    assert alert["annotations"]["summary"]
    assert alert["labels"]["severity"] in {"warning", "critical"}


def test_prometheus_accepts_the_configuration_and_the_alerts() -> None:
    for kind, path in (("config", CONFIG), ("rules", ALERTS)):
        done = subprocess.run(
            [promtool(), "check", kind, path], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_accepts_the_expressions_of_the_dashboard(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": with_values(expression)}
        for number, (_, expression) in enumerate(TARGETS)
    ]
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run(
        [promtool(), "check", "rules", path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
