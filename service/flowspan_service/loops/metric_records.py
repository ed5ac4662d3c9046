"""Metrics of OpenTelemetry, from a snapshot of the figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from flowspan_service.metrics.families import FamilyType

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.resources import Resource

    from flowspan_service.metrics import points
    from flowspan_service.metrics.families import Family

SCOPE_NAME = "flowspan-service"
_UNKNOWN: Any = None
"""The smallest and the largest value of a histogram since the start are not kept."""


def metrics_data(snapshot: points.Snapshot, resource: Resource, *, version: str) -> MetricsData:
    """Return the figures as metrics; the facts of an INFO are those of the resource.

    Args:
        snapshot: The figures.
        resource: The resource of the service.
        version: The version of the service.
    """
    metrics = [
        Metric(figure.family.name, figure.family.help, figure.family.unit, _data(figure, snapshot))
        for figure in snapshot.figures
        if figure.points and figure.family.type is not FamilyType.INFO
    ]
    scope = ScopeMetrics(InstrumentationScope(SCOPE_NAME, version), metrics, "")
    return MetricsData([ResourceMetrics(resource, [scope], resource.schema_url)])


def _data(figure: points.Figure, snapshot: points.Snapshot) -> Sum | Gauge | Histogram:
    kind = figure.family.type
    began_ns, time_ns = snapshot.started_us * 1_000, snapshot.time_us * 1_000
    if kind is FamilyType.HISTOGRAM:
        return Histogram(
            [_histogram_point(figure.family, each, began_ns, time_ns) for each in figure.points],
            AggregationTemporality.CUMULATIVE,
        )
    numbers = [
        NumberDataPoint(_attributes(figure.family, each), began_ns, time_ns, each.number)
        for each in figure.points
    ]
    if kind is FamilyType.COUNTER:
        return Sum(numbers, AggregationTemporality.CUMULATIVE, is_monotonic=True)
    return Gauge(numbers)


def _histogram_point(
    family: Family, point: points.Point, began_ns: int, time_ns: int
) -> HistogramDataPoint:
    values = point.distribution
    return HistogramDataPoint(
        attributes=_attributes(family, point),
        start_time_unix_nano=began_ns,
        time_unix_nano=time_ns,
        count=sum(values.counts),
        sum=values.total,
        bucket_counts=values.counts,
        explicit_bounds=family.bounds,
        min=_UNKNOWN,
        max=_UNKNOWN,
        exemplars=list(_exemplars(values)),
    )


def _exemplars(values: points.Distribution) -> Iterator[Exemplar]:
    for each in values.exemplars:
        if each is not None:
            yield Exemplar(
                {},
                each.value,
                each.time_us * 1_000,
                span_id=int(each.span_id, 16),
                trace_id=int(each.trace_id, 16),
            )


def _attributes(family: Family, point: points.Point) -> dict[str, str]:
    return dict(zip(family.attributes, point.attributes, strict=True))
