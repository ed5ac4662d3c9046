"""The exporter never blocks, loses no deliverable span, and warns once."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from flowspan.telemetry import exporter as exporter_module
from flowspan.telemetry.endpoint import SendError
from flowspan.telemetry.export_queue import QueueLimits, queue_limits_of
from flowspan.telemetry.exporter import ExportingProcessor

if TYPE_CHECKING:
    from collections.abc import Iterator

WAIT_S = 30


class FakeTransport:
    """Records the names of spans; raises the configured failures."""

    def __init__(self) -> None:
        self.requests: list[list[str]] = []
        self.failures: list[Exception] = []
        self.response = b""
        self.gate: threading.Event | None = None
        self.tried = threading.Semaphore(0)
        self.resets = 0

    def send(self, body: bytes, timeout_s: float) -> bytes:
        self.tried.release()
        if self.gate is not None:
            self.gate.wait(timeout_s)
        if self.failures:
            raise self.failures.pop(0)
        request = ExportTraceServiceRequest.FromString(body)
        self.requests.append(
            [
                span.name
                for group in request.resource_spans
                for scope in group.scope_spans
                for span in scope.spans
            ]
        )
        return self.response

    def reset(self) -> None:
        self.resets += 1

    def close(self) -> None:
        pass

    @property
    def names(self) -> list[str]:
        return [name for request in self.requests for name in request]


Make = "Callable[..., tuple[ExportingProcessor, FakeTransport, Callable[[str], None]]]"


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Create a processor over a fake transport, and a function that ends a span with a name."""
    monkeypatch.setattr(exporter_module, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(exporter_module, "GATHER_S", 3600)
    made = []

    def build(limits: QueueLimits | None = None, *, sampler=None):
        transport = FakeTransport()
        processor = ExportingProcessor(
            transport, place="nowhere", limits=limits or QueueLimits(delay_s=0.001)
        )
        provider = TracerProvider(shutdown_on_exit=False, sampler=sampler)
        provider.add_span_processor(processor)
        tracer = provider.get_tracer("test")
        made.append((processor, transport))
        return processor, transport, lambda name: tracer.start_span(name).end()

    yield build
    for processor, transport in made:
        if transport.gate is not None:
            transport.gate.set()
        processor.shutdown()


def test_ended_spans_arrive_without_being_asked_for(make: Make) -> None:
    _, transport, end = make()
    end("a")
    assert transport.tried.acquire(timeout=WAIT_S)


def test_a_flush_delivers_all_that_ended(make: Make) -> None:
    processor, transport, end = make(QueueLimits(delay_s=3600))
    for number in range(10):
        end(str(number))
    assert processor.force_flush(WAIT_S * 1000)
    assert transport.names == [str(number) for number in range(10)]
    assert len(transport.requests) == 1


def test_a_flush_waits_for_what_is_on_its_way(make: Make) -> None:
    processor, transport, end = make()
    transport.gate = threading.Event()
    end("a")
    assert transport.tried.acquire(timeout=WAIT_S), "the exporter must have taken the span"
    assert not processor.force_flush(1)
    transport.gate.set()
    assert processor.force_flush(WAIT_S * 1000)
    assert transport.names == ["a"]


def test_a_flush_with_nothing_to_do_is_done(make: Make) -> None:
    processor, transport, _ = make()
    assert processor.force_flush(0)
    assert transport.requests == []


def test_requests_are_bounded(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    processor, transport, end = make(QueueLimits(delay_s=3600, batch_items=4))
    for number in range(10):
        end(str(number))
    processor.force_flush(WAIT_S * 1000)
    assert [len(request) for request in transport.requests] == [4, 4, 2]

    monkeypatch.setattr(exporter_module, "MAX_REQUEST_BYTES", 1)
    monkeypatch.setattr(exporter_module, "_CHUNK_BYTES", 1)
    processor, transport, end = make(QueueLimits(delay_s=3600))
    end("a")
    end("b")
    processor.force_flush(WAIT_S * 1000)
    assert transport.requests == [["a"], ["b"]]


def test_what_failed_is_sent_again_in_order(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    processor, transport, end = make()
    transport.failures = [SendError("UNAVAILABLE: away", retryable=True) for _ in range(3)]
    end("a")
    for _ in range(4):
        assert transport.tried.acquire(timeout=WAIT_S)
    end("b")
    assert processor.force_flush(WAIT_S * 1000)
    assert transport.names == ["a", "b"]
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1, "three failures must log one warning"
    assert "UNAVAILABLE: away" in warnings[0].getMessage()


def test_warning_names_the_receiver_and_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    transport = FakeTransport()
    transport.failures = [SendError("UNAVAILABLE: away", retryable=False)]
    processor = ExportingProcessor(transport, place="http://localhost:4318")
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    provider.get_tracer("test").start_span("a").end()
    processor.shutdown(WAIT_S)
    assert caplog.records[0].getMessage() == (
        "Spans cannot be delivered to http://localhost:4318: UNAVAILABLE: away. "
        "The flow continues; this is logged only once."
    )


def test_what_was_refused_for_good_is_given_up(make: Make) -> None:
    processor, transport, end = make()
    transport.failures = [SendError("UNIMPLEMENTED", retryable=False)]
    end("a")
    assert transport.tried.acquire(timeout=WAIT_S)
    processor.force_flush(WAIT_S * 1000)
    end("b")
    assert processor.force_flush(WAIT_S * 1000)
    assert transport.names == ["b"]


def test_a_transport_that_breaks_does_not_end_the_thread(make: Make) -> None:
    processor, transport, end = make()
    transport.failures = [RuntimeError("a bug")]
    end("a")
    assert transport.tried.acquire(timeout=WAIT_S)
    processor.force_flush(WAIT_S * 1000)
    end("b")
    assert processor.force_flush(WAIT_S * 1000)
    assert transport.names == ["b"]


def test_a_full_queue_drops_what_is_new(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    processor, transport, end = make(QueueLimits(delay_s=0.001, queue_items=3))
    transport.gate = threading.Event()
    end("first")
    assert transport.tried.acquire(timeout=WAIT_S), "the thread must hold the first span"
    for number in range(5):
        end(str(number))
    transport.gate.set()
    processor.shutdown()
    assert transport.names == ["first", "0", "1", "2"]
    assert "2 spans were not delivered to nowhere" in caplog.text


def test_the_end_of_the_process_gives_up_on_a_receiver_that_is_away(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    processor, transport, end = make(QueueLimits(delay_s=3600))
    transport.failures = [SendError("away", retryable=True) for _ in range(100)]
    end("a")
    processor.shutdown(WAIT_S)
    assert len(transport.failures) == 99, "the export must be tried once"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert processor._thread is not None
    processor._thread.join(WAIT_S)
    assert not processor._thread.is_alive()


def test_the_end_of_the_process_does_not_wait_for_a_receiver_that_hangs(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    processor, transport, end = make(QueueLimits(delay_s=3600, batch_items=1))
    transport.gate = threading.Event()
    end("a")
    end("b")
    assert transport.tried.acquire(timeout=WAIT_S)
    end("c")
    processor.shutdown(0.01)
    assert transport.names == [], "shutdown must return although the export hangs"
    assert "3 spans were not delivered to nowhere" in caplog.text


def test_after_shutdown_spans_are_passed_over(make: Make) -> None:
    processor, transport, end = make()
    end("a")
    processor.shutdown(WAIT_S)
    end("b")
    processor.shutdown(WAIT_S)
    assert not processor.force_flush(WAIT_S * 1000)
    assert transport.names == ["a"]


def test_unsampled_spans_are_not_sent(make: Make) -> None:
    processor, transport, end = make(sampler=ALWAYS_OFF)
    end("a")
    assert processor.force_flush(0)
    assert transport.requests == []


def test_a_receiver_that_refuses_some_spans_is_reported(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    processor, transport, end = make()
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = 2
    response.partial_success.error_message = "too old"
    transport.response = response.SerializeToString()
    end("a")
    processor.force_flush(WAIT_S * 1000)
    assert "2 spans were refused: too old" in caplog.text


def test_a_forked_child_does_not_send_what_its_parent_sends(make: Make) -> None:
    processor, transport, end = make(QueueLimits(delay_s=3600))
    end("of the parent")
    processor.after_fork()
    end("of the child")
    processor.force_flush(WAIT_S * 1000)
    assert transport.names == ["of the child"]
    assert transport.resets == 1


def test_limits_of_the_environment() -> None:
    limits = queue_limits_of(
        {
            "OTEL_BSP_SCHEDULE_DELAY": "500",
            "OTEL_BSP_MAX_QUEUE_SIZE": "7",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "nonsense",
        },
        timeout_s=3.0,
        prefix="OTEL_BSP",
    )
    assert limits == QueueLimits(delay_s=0.5, queue_items=7, timeout_s=3.0)


def test_spans_are_sent_soon_if_asked_for(make: Make) -> None:
    processor, transport, end = make(QueueLimits(delay_s=3600))
    processor.send_soon()
    end("a")
    processor.send_soon()
    assert transport.tried.acquire(timeout=WAIT_S)
    assert processor.force_flush(WAIT_S * 1000)
    assert transport.names == ["a"]


def test_many_waiting_spans_are_kept_as_bytes(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the receiver hangs, the thread that ends a span encodes it if many spans wait."""
    monkeypatch.setattr(exporter_module, "_UNENCODED_SPANS", 3)
    monkeypatch.setattr(exporter_module, "_CHUNK_SPANS", 4)
    processor, transport, end = make(QueueLimits(delay_s=0.001, queue_items=20))
    transport.gate = threading.Event()
    end("first")
    assert transport.tried.acquire(timeout=WAIT_S)
    for number in range(25):
        end(str(number))
    objects = [item for item in processor._queue if isinstance(item, ReadableSpan)]
    assert len(objects) == 3
    assert len(processor._queue) < 10, "encoded spans are joined"
    transport.gate.set()
    assert processor.force_flush(WAIT_S * 1000)
    kept = len(transport.names) - 1
    assert transport.names == ["first", *map(str, range(kept))], "the newest are dropped"
    assert 15 <= kept <= 20, "joined spans count as one more"


def test_span_that_cannot_be_encoded_is_left_out(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor, transport, end = make(QueueLimits(delay_s=3600))
    encode = exporter_module.encode_span

    def broken(span: ReadableSpan) -> bytes:
        if span.name == "bad":
            raise ValueError(span.name)
        return encode(span)

    monkeypatch.setattr(exporter_module, "encode_span", broken)
    for name in ("a", "bad", "b"):
        end(name)
    assert processor.force_flush(WAIT_S * 1000)
    assert transport.names == ["a", "b"]


def test_threads_that_end_spans_at_once_lose_none(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter_module, "_UNENCODED_SPANS", 5)
    processor, transport, end = make(QueueLimits(delay_s=0.001, batch_items=50))
    monkeypatch.setattr(processor, "_step_s", 0.001)

    def work(thread: int) -> None:
        for number in range(500):
            end(f"{thread}-{number}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert processor.force_flush(WAIT_S * 1000)
    assert sorted(transport.names) == sorted(f"{t}-{n}" for t in range(4) for n in range(500))
    assert max(map(len, transport.requests)) <= 50
    assert processor._encoded == 0
