"""The figures of the service in the text formats of Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import (
    CounterMetricFamily,
    Exemplar,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from flowspan_service.metrics.families import Family, FamilyType

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flowspan_service.metrics import points
    from flowspan_service.metrics.points import Distribution

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def page(snapshot: points.Snapshot, accepted: str) -> tuple[bytes, str]:
    """Return the page /metrics and its media type.

    Args:
        snapshot: The figures.
        accepted: The header Accept of the request. OpenMetrics, which has exemplars, is for callers
            that name it.
    """
    collector = _Collector(snapshot)
    if _accepts_openmetrics(accepted):
        # prometheus_client has no annotations there.
        openmetrics: bytes = generate_openmetrics(collector)  # type: ignore[no-untyped-call]
        return openmetrics, OPENMETRICS
    return generate_latest(collector), TEXT


def _accepts_openmetrics(accepted: str) -> bool:
    for each in accepted.lower().split(","):
        media_type, *parameters = (part.strip() for part in each.split(";"))
        if media_type == OPENMETRICS.partition(";")[0]:
            return not any(_is_zero_quality(parameter) for parameter in parameters)
    return False


def _is_zero_quality(parameter: str) -> bool:
    name, _, value = parameter.partition("=")
    return name.strip() == "q" and not value.strip().strip("0.")


class _Collector:
    """A collector of prometheus_client over a snapshot."""

    def __init__(self, snapshot: points.Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """Yield the figures."""
        for figure in self._snapshot.figures:
            yield _metric(figure)


def _metric(figure: points.Figure) -> Metric:
    family = figure.family
    if family.type is FamilyType.HISTOGRAM:
        return _histogram(family, figure.points)
    name, text, labels = family.prometheus_name, family.help, family.attributes
    if family.type is FamilyType.INFO:
        info = InfoMetricFamily(name, text)
        for point in figure.points:
            info.add_metric((), dict(zip(labels, point.attributes, strict=True)))
        return info
    is_counter = family.type is FamilyType.COUNTER
    kind = CounterMetricFamily if is_counter else GaugeMetricFamily
    metric = kind(name, text, labels=labels, unit=family.prometheus_unit)
    for point in figure.points:
        metric.add_metric(point.attributes, point.number)
    return metric


def _histogram(family: Family, found: Iterable[points.Point]) -> HistogramMetricFamily:
    metric = HistogramMetricFamily(
        family.prometheus_name, family.help, labels=family.attributes, unit=family.prometheus_unit
    )
    bounds = [*map(str, family.bounds), "+Inf"]
    for point in found:
        values = point.distribution
        metric.add_metric(point.attributes, list(_buckets(bounds, values)), values.total)
    return metric


def _buckets(
    bounds: list[str], distribution: Distribution
) -> Iterator[tuple[str, float] | tuple[str, float, Exemplar]]:
    """Yield the bounds with the numbers of the values up to them, and their exemplars."""
    exemplars = distribution.exemplars or (None,) * len(bounds)
    count = 0
    for bound, more, exemplar in zip(bounds, distribution.counts, exemplars, strict=True):
        count += more
        if exemplar is None:
            yield bound, count
            continue
        labels = {"trace_id": exemplar.trace_id, "span_id": exemplar.span_id}
        yield bound, count, Exemplar(labels, exemplar.value, exemplar.time_us / 1e6)
