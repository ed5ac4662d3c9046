"""Checks of PromQL expressions against the metrics of the code."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flowspan.telemetry import metric_families as of_client
from flowspan_service.metrics.families import FAMILIES, Family, FamilyType

if TYPE_CHECKING:
    from collections.abc import Iterable

CLIENT_FAMILIES = tuple(
    Family(each.name, FamilyType(each.type), *each[2:]) for each in of_client.FAMILIES
)
"""The metrics of the client, in the form of those of the service."""
ALL_FAMILIES = (*FAMILIES, *CLIENT_FAMILIES)
OF_SCRAPES = {"job", "instance"}
"""The labels that Prometheus adds."""
OF_PROMETHEUS = {"up"}
"""The metrics of Prometheus itself."""

_SELECTOR = re.compile(r"\b(?P<name>flowspan_[a-z_]+|up)\b(\{(?P<matchers>[^}]*)\})?")
_MATCHER = re.compile(r'(?P<label>[a-z_]+)(=~|!~|!=|=)"[^"]*"')
_GROUPING = re.compile(r"\b(?:by|without|on)\s*\((?P<labels>[^)]*)\)")


def series_of(family: Family) -> dict[str, set[str]]:
    """Return the names of the series of a metric in Prometheus, with their labels."""
    name, labels = family.prometheus_name, set(family.attributes)
    if family.type is FamilyType.HISTOGRAM:
        return {
            f"{name}_bucket": labels | {"le"},
            f"{name}_count": labels,
            f"{name}_sum": labels,
        }
    suffixes = {FamilyType.COUNTER: "_total", FamilyType.INFO: "_info"}
    return {name + suffixes.get(family.type, ""): labels}


def check_expression(expression: str, families: Iterable[Family]) -> set[str]:
    """Check the names and labels in an expression; return the names of its series."""
    known = {name: labels for family in families for name, labels in series_of(family).items()}
    found: set[str] = set()
    labels: set[str] = set()
    for selector in _SELECTOR.finditer(expression):
        name = selector["name"]
        found.add(name)
        if name in OF_PROMETHEUS:
            continue
        assert name in known, f"{expression}: there is no series {name}"
        labels |= known[name]
        matchers = selector["matchers"] or ""
        rest = _MATCHER.sub("", matchers).replace(",", "").strip()
        assert not rest, f"{expression}: {rest!r} is no matcher"
        for matcher in _MATCHER.finditer(matchers):
            allowed = known[name] | OF_SCRAPES
            assert matcher["label"] in allowed, f"{expression}: {name} has no {matcher['label']}"
    assert found, f"{expression}: it names no series"
    for grouping in _GROUPING.finditer(expression):
        for label in filter(None, map(str.strip, grouping["labels"].split(","))):
            assert label in labels | OF_SCRAPES, f"{expression}: no series has {label}"
    for opening, closing in ("()", "[]", "{}"):
        assert expression.count(opening) == expression.count(closing), expression
    return found
