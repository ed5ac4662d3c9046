"""The page on traces against the code: attributes, variables and flags."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flowspan.telemetry import attributes
from flowspan_service import config

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "tracing.md").read_text()
PAGES = PAGE + (ROOT / "docs" / "metrics.md").read_text()

SHORT = {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "…_TRACES_…"}
"""Variables that the page names as variants of others."""


def variables() -> list[str]:
    """Return the standard variables that the client or the service names."""
    sources = [
        path.read_text()
        for folder in ("python_client/flowspan", "service/flowspan_service")
        for path in (ROOT / folder).rglob("*.py")
    ]
    found = set(re.findall(r"\bOTEL_[A-Z_]*[A-Z]\b", "".join(sources)))
    assert len(found) > 10
    return sorted(found - {"OTEL_NAMES"})


@pytest.mark.parametrize("name", variables())
def test_the_pages_name_each_standard_variable(name: str) -> None:
    assert SHORT.get(name, name) in PAGES


def test_the_page_names_each_attribute_and_event() -> None:
    constants = [value for name, value in vars(attributes).items() if name.isupper()]
    names = {value for value in constants if isinstance(value, str) and "." in value}
    names |= set(attributes.NAMED_COMPLETIONS.values())
    assert len(names) > 20
    assert [name for name in sorted(names) if name not in PAGE] == []


def test_the_page_names_each_flag_of_the_service() -> None:
    (options,) = (each for title, each in config._OPTIONS.items() if "docs/tracing.md" in title)
    for option in options:
        variable = f"FLOWSPAN_{option.flag.removeprefix('--').replace('-', '_').upper()}"
        assert f"`{option.flag}`, `{variable}" in PAGE
