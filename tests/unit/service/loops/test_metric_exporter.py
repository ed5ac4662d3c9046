"""The export of metrics, again and again, and at the stop."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from opentelemetry.context import get_value
from opentelemetry.sdk.metrics.export import MetricExportResult
from opentelemetry.sdk.resources import Resource

from flowspan_service.loops import metric_exporter
from flowspan_service.loops.metric_exporter import MetricsExport
from flowspan_service.metrics import families
from flowspan_service.metrics.points import Snapshot, one

if TYPE_CHECKING:
    import pytest
    from opentelemetry.sdk.metrics.export import MetricsData


SUCCESS, FAILURE = MetricExportResult.SUCCESS, MetricExportResult.FAILURE


class Sink:
    """Keeps the metrics; answers with outcomes in turn, and then with success."""

    def __init__(self, *outcomes: MetricExportResult | Exception) -> None:
        self.received: list[float] = []
        self.outcomes = list(outcomes)
        self.hangs_until: threading.Event | None = None
        self.closed = 0
        self.is_suppressed: object = None

    def export(self, metrics_data: MetricsData, /) -> MetricExportResult:
        if self.hangs_until is not None:
            self.hangs_until.wait(60)
        self.is_suppressed = get_value("suppress_instrumentation")
        (metric,) = metrics_data.resource_metrics[0].scope_metrics[0].metrics
        (point,) = metric.data.data_points
        self.received.append(point.value)  # type: ignore[union-attr] # a gauge
        outcome = self.outcomes.pop(0) if self.outcomes else SUCCESS
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def shutdown(self) -> None:
        self.closed += 1


def an_export(sink: Sink) -> MetricsExport:
    values = iter(range(1_000_000))

    async def take() -> Snapshot:
        return Snapshot(1, 2, [one(families.SESSIONS, next(values))])

    return MetricsExport(take, sink=sink, resource=Resource({}), version="1", place="x")


def exported(sink: Sink, count: int) -> None:
    """Export this many times."""

    async def main() -> None:
        export = an_export(sink)
        for _ in range(count):
            await export.export()

    asyncio.run(main())


def test_each_export_has_a_new_snapshot() -> None:
    sink = Sink()
    exported(sink, 3)
    assert sink.received == [0, 1, 2]
    assert sink.is_suppressed is True


def test_a_sink_that_fails_is_asked_again() -> None:
    sink = Sink(ValueError("no"), FAILURE, FAILURE, SUCCESS, FAILURE)
    exported(sink, 6)
    assert sink.received == [0, 1, 2, 3, 4, 5]


def test_the_end_exports_once_more_and_closes() -> None:
    sink = Sink()
    asyncio.run(an_export(sink).close())
    assert (sink.received, sink.closed) == ([0], 1)


def test_the_end_waits_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metric_exporter, "LAST_TIMEOUT_S", 0.01)
    sink = Sink()
    sink.hangs_until = threading.Event()
    asyncio.run(an_export(sink).close())
    assert (sink.received, sink.closed) == ([], 1)
    sink.hangs_until.set()


def test_the_end_survives_a_sink_that_raises() -> None:
    sink = Sink(OSError("no"))
    asyncio.run(an_export(sink).close())
    assert sink.closed == 1
