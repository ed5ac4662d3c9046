"""The sending of the service's metrics and own spans: requests are tried again for some seconds."""

from __future__ import annotations

import threading

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult

from flowspan_service.loops import own_sinks
from flowspan_service.loops.own_sinks import MetricSink, OwnSpanSink

WAIT_S = 30.0


class FakeConnection:
    """Keeps requests; fails a number of times."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.requests: list[bytes] = []
        self.tried = threading.Event()
        self.is_closed = False

    def send(self, request: bytes) -> bytes:
        self.tried.set()
        if self.failures:
            self.failures -= 1
            raise OSError("away")
        self.requests.append(request)
        return b""

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_sinks, "FIRST_PAUSE_S", 0.001)


def test_spans_are_encoded_and_tried_again() -> None:
    connection = FakeConnection(failures=2)
    sink = OwnSpanSink(connection)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(sink))
    provider.get_tracer("t").start_span("call").end()
    provider.shutdown()
    [request] = map(ExportTraceServiceRequest.FromString, connection.requests)
    assert request.resource_spans[0].scope_spans[0].spans[0].name == "call"
    assert connection.is_closed


def test_metrics_are_encoded_and_tried_again() -> None:
    connection = FakeConnection(failures=2)
    sink = MetricSink(connection)
    assert sink.export(MetricsData([])) is MetricExportResult.SUCCESS
    assert connection.requests == [ExportMetricsServiceRequest().SerializeToString()]
    sink.shutdown()
    assert connection.is_closed


def test_a_request_fails_after_some_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_sinks, "RETRY_S", 0.01)
    connection = FakeConnection(failures=1_000)
    assert MetricSink(connection).export(MetricsData([])) is MetricExportResult.FAILURE
    assert OwnSpanSink(connection).export([]) is SpanExportResult.FAILURE
    assert 990 < connection.failures < 998


def test_the_end_interrupts_the_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_sinks, "FIRST_PAUSE_S", WAIT_S)
    monkeypatch.setattr(own_sinks, "RETRY_S", 10 * WAIT_S)
    connection = FakeConnection(failures=1_000)
    sink = MetricSink(connection)
    results: list[MetricExportResult] = []
    thread = threading.Thread(target=lambda: results.append(sink.export(MetricsData([]))))
    thread.start()
    assert connection.tried.wait(WAIT_S)
    sink.shutdown()
    thread.join(WAIT_S / 2)
    assert results == [MetricExportResult.FAILURE]
    assert connection.failures == 999
