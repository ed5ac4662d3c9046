"""The names and units of the figures."""

from __future__ import annotations

import re

import pytest

from flowspan_service.metrics.families import FAMILIES, Family, FamilyType


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_family_keeps_the_conventions(family: Family) -> None:
    assert re.fullmatch(r"flowspan(\.[a-z][a-z_]*)*", family.name)
    assert family.unit in {"", "s", "By"} or re.fullmatch(r"\{[a-z]+\}", family.unit)
    assert family.help.endswith(".")
    assert list(family.bounds) == sorted(set(family.bounds))
    assert bool(family.bounds) == (family.type is FamilyType.HISTOGRAM)
    assert not family.prometheus_name.endswith(("_total", "_count", "_sum", "_bucket"))
    assert "le" not in family.attributes


def test_names_are_unique_in_both_worlds() -> None:
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
    assert len({family.prometheus_name for family in FAMILIES}) == len(FAMILIES)


def test_the_name_for_prometheus_has_the_unit() -> None:
    family = Family("flowspan.commit.duration", FamilyType.HISTOGRAM, "s", "")
    assert family.prometheus_name == "flowspan_commit_duration_seconds"
    assert family._replace(unit="By").prometheus_name == "flowspan_commit_duration_bytes"
    assert family._replace(unit="{run}").prometheus_name == "flowspan_commit_duration"
