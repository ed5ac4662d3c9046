"""The client's metrics as messages of OTLP."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    InstrumentationScope,
    KeyValue,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_CUMULATIVE,
    Exemplar,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from flowspan.telemetry import metric_families as families
from flowspan.telemetry.metric_counts import KINDS, STATE_NAMES, Durations
from flowspan.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from flowspan.telemetry.metric_choice import ReportFigures
    from flowspan.telemetry.metric_counts import RunCounts
    from flowspan.telemetry.metric_families import Family

SCOPE_NAME = "flowspan"
_SAMPLED = frozenset("13579bdf")


def request_of(
    counts: RunCounts,
    figures: ReportFigures,
    *,
    resource: Mapping[str, Any],
    time_ns: int,
) -> ExportMetricsServiceRequest:
    """Return the request with all metrics.

    Args:
        counts: The counts of runs.
        figures: The figures of the reporter.
        resource: The attributes of the resource.
        time_ns: The time of the metrics, in nanoseconds since 1970 UTC.
    """
    began_ns = counts.began_ns
    metrics = [
        _numbers(family, points, began_ns, time_ns)
        for family, points in values_of(counts, figures)
        if points
    ]
    metrics.append(_durations(counts, time_ns))
    scope = ScopeMetrics(
        scope=InstrumentationScope(name=SCOPE_NAME, version=__version__), metrics=metrics
    )
    described = Resource(attributes=[_attribute(key, value) for key, value in resource.items()])
    return ExportMetricsServiceRequest(
        resource_metrics=[ResourceMetrics(resource=described, scope_metrics=[scope])]
    )


def values_of(
    counts: RunCounts, figures: ReportFigures
) -> Iterator[tuple[Family, list[tuple[dict[str, str], int]]]]:
    """Yield the metrics that are numbers, with their attributes and values."""
    ended = sorted(counts.ended.copy().items())
    yield (
        families.RUNS_ENDED,
        [
            ({"kind": KINDS[is_flow], "state": STATE_NAMES[state]}, count)
            for (is_flow, state), count in ended
        ],
    )
    yield families.EVENTS_WAITING, [({}, figures.waiting_events())]
    yield families.EVENTS_SPOOLED, [({}, figures.spooled_events())]
    yield families.SPOOL_SIZE, [({}, figures.spool_bytes())]
    yield (
        families.EVENTS_DROPPED,
        [({"kind": "log"}, figures.lost_logs), ({"kind": "state"}, figures.lost_states)],
    )
    dropped_spans = _dropped_spans()
    yield families.SPANS_DROPPED, [] if dropped_spans is None else [({}, dropped_spans)]


def _dropped_spans() -> int | None:
    """Return the number of spans that flowspan's exporter has dropped; None without one."""
    trace = sys.modules.get("opentelemetry.trace")
    provider = None if trace is None else trace.get_tracer_provider()
    found = getattr(provider, "dropped_span_count", None)
    return found if isinstance(found, int) else None


def _numbers(
    family: Family, points: Iterable[tuple[dict[str, str], int]], began_ns: int, time_ns: int
) -> Metric:
    found = [
        NumberDataPoint(
            attributes=[_attribute(key, value) for key, value in attributes.items()],
            start_time_unix_nano=began_ns if family.type == families.COUNTER else 0,
            time_unix_nano=time_ns,
            as_int=value,
        )
        for attributes, value in points
    ]
    metric = Metric(name=family.name, description=family.help, unit=family.unit)
    if family.type == families.GAUGE:
        metric.gauge.CopyFrom(Gauge(data_points=found))
    else:
        metric.sum.CopyFrom(
            Sum(
                data_points=found,
                aggregation_temporality=AGGREGATION_TEMPORALITY_CUMULATIVE,
                is_monotonic=True,
            )
        )
    return metric


def _durations(counts: RunCounts, time_ns: int) -> Metric:
    family = families.RUN_DURATION
    points = []
    for is_flow, durations in counts.durations.items():
        buckets = durations.counts.copy()
        if not any(buckets):
            continue
        points.append(
            HistogramDataPoint(
                attributes=[_attribute("kind", KINDS[is_flow])],
                start_time_unix_nano=counts.began_ns,
                time_unix_nano=time_ns,
                count=sum(buckets),
                sum=durations.total,
                bucket_counts=buckets,
                explicit_bounds=family.bounds,
                exemplars=_exemplars(durations),
            )
        )
    return Metric(
        name=family.name,
        description=family.help,
        unit=family.unit,
        histogram=Histogram(
            data_points=points, aggregation_temporality=AGGREGATION_TEMPORALITY_CUMULATIVE
        ),
    )


def _exemplars(durations: Durations) -> Iterator[Exemplar]:
    for seconds, time_ns, record in durations.exemplars.copy().values():
        traceparent = record.traceparent
        if traceparent and traceparent[-1] in _SAMPLED:
            _, trace_id, span_id, _ = traceparent.split("-")[:4]
            yield Exemplar(
                time_unix_nano=time_ns,
                as_double=seconds,
                trace_id=bytes.fromhex(trace_id),
                span_id=bytes.fromhex(span_id),
            )


def _attribute(key: str, value: Any) -> KeyValue:
    if isinstance(value, bool):
        return KeyValue(key=key, value=AnyValue(bool_value=value))
    if isinstance(value, int):
        return KeyValue(key=key, value=AnyValue(int_value=value))
    if isinstance(value, float):
        return KeyValue(key=key, value=AnyValue(double_value=value))
    return KeyValue(key=key, value=AnyValue(string_value=str(value)))
