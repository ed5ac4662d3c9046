"""The page /metrics: the format that the caller accepts."""

from __future__ import annotations

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain_text

from flowspan_service.metrics.families import FAMILIES, Family, FamilyType
from flowspan_service.metrics.points import Distribution, Exemplar, Figure, Point, Snapshot
from flowspan_service.transports.http.metrics import OPENMETRICS, TEXT, page

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


def a_value(family: Family) -> float | Distribution:
    if family.type is not FamilyType.HISTOGRAM:
        return 7
    counts = tuple(range(len(family.bounds) + 1))
    exemplar = Exemplar(family.bounds[2], 1_790_000_000_500_000, "a" * 32, "b" * 16)
    exemplars = (None, None, exemplar, *[None] * (len(counts) - 3))
    return Distribution(counts, 12.5, exemplars)


def a_point(family: Family) -> Point:
    return Point(tuple(f'"{name}"\\\n' for name in family.attributes), a_value(family))


SNAPSHOT = Snapshot(0, 1, [Figure(family, [a_point(family)]) for family in FAMILIES])


@pytest.mark.parametrize(
    ("accepted", "media_type"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/html,application/xhtml+xml,*/*;q=0.8", TEXT),
        ("text/plain;version=0.0.4", TEXT),
        ("application/openmetrics-text;q=0, text/plain", TEXT),
        ("application/openmetrics-text;q=0.0", TEXT),
        ("application/openmetrics-text", OPENMETRICS),
        ("Application/OpenMetrics-Text; version=1.0.0; q=0.5", OPENMETRICS),
        (PROMETHEUS, OPENMETRICS),
        (";;,=,;q", TEXT),
    ],
)
def test_the_header_accept_chooses_the_format(accepted: str, media_type: str) -> None:
    body, found = page(SNAPSHOT, accepted)
    assert found == media_type
    assert body.endswith(b"# EOF\n") == (media_type == OPENMETRICS)


def test_openmetrics_has_every_figure_with_its_unit_and_exemplars() -> None:
    body, _ = page(SNAPSHOT, PROMETHEUS)
    found = {metric.name: metric for metric in openmetrics(body.decode())}
    assert set(found) == {family.prometheus_name for family in FAMILIES}
    for family in FAMILIES:
        metric = found[family.prometheus_name]
        assert metric.type == family.type.value
        assert metric.unit == family.prometheus_unit
        assert metric.documentation == family.help
        labels = {name: f'"{name}"\\\n' for name in family.attributes}
        for sample in metric.samples:
            assert {**sample.labels, "le": ""} == {**labels, "le": ""}
        if family.type is FamilyType.HISTOGRAM:
            buckets = [each for each in metric.samples if each.name.endswith("_bucket")]
            assert [each.value for each in buckets[:4]] == [0, 1, 3, 6]
            (exemplar,) = (each.exemplar for each in buckets if each.exemplar is not None)
            assert exemplar.labels == {"trace_id": "a" * 32, "span_id": "b" * 16}
            assert exemplar.value == family.bounds[2]
            assert float(exemplar.timestamp) == 1_790_000_000.5


def test_plain_text_has_every_figure() -> None:
    body, _ = page(SNAPSHOT, "")
    names = {metric.name for metric in plain_text(body.decode())}
    assert names == {
        "flowspan_info" if family.type is FamilyType.INFO else family.prometheus_name
        for family in FAMILIES
    }
