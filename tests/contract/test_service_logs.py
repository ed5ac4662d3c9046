"""Sessions whose logs the service exports: which records wait for their export."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.report_client import ReportStream, created, entered, new_id, now

from flowspan.v1 import log_pb2, report_pb2, report_service_pb2, trace_pb2
from flowspan_service.domain.otlp_receivers import Receiver, Receivers, Signal
from flowspan_service.domain.sessions import OTLP_GRPC

if TYPE_CHECKING:
    from tests.support.harness import Harness, Stubs

OWN = Receiver(OTLP_GRPC, "http://own:4317", is_own=True)
NAMED = trace_pb2.OtlpTarget(logs_url="http://client:4317")


def line(run_id: str, message: str) -> report_pb2.Event:
    return report_pb2.Event(log=log_pb2.LogRecord(run_id=run_id, message=message, time=now()))


def run_with(*messages: str) -> list[report_pb2.Event]:
    run_id = new_id()
    return [
        created(run_id),
        entered(run_id, "RUNNING"),
        *(line(run_id, message) for message in messages),
        entered(run_id, "COMPLETED"),
    ]


def report(stream: ReportStream, *events: report_pb2.Event) -> None:
    stream.wait_for_ack(stream.report(*events))
    assert not stream.verdicts


def waiting(harness: Harness, session_id: str) -> list[str]:
    found = harness.store.log_exports.waiting(session_id, limit=99, limit_bytes=1 << 20)
    return [entry.message for entry in found.items]


@pytest.fixture
def exporting(harness: Harness) -> Harness:
    harness.backend.log_receivers = Receivers(Signal.LOGS, OWN)
    return harness


def test_the_records_of_a_session_that_asks_for_it_wait(exporting: Harness) -> None:
    asks = ReportStream(exporting.channel, logs_by_service=True)
    other = ReportStream(exporting.channel)
    report(asks, *run_with("a", "b"))
    report(other, *run_with("c"))
    assert waiting(exporting, asks.session_id) == ["a", "b"]
    assert exporting.store.log_exports.sessions(limit=9) == [asks.session_id]
    asks.goodbye()
    other.goodbye()


def test_each_hello_says_it_anew(exporting: Harness) -> None:
    stream = ReportStream(exporting.channel, logs_by_service=True)
    report(stream, *run_with("a"))
    stream.break_off()
    again = ReportStream(exporting.channel, session_id=stream.session_id)
    report(again, *run_with("b"))
    again.break_off()
    last = ReportStream(exporting.channel, session_id=stream.session_id, logs_by_service=True)
    report(last, *run_with("c"))
    assert waiting(exporting, stream.session_id) == ["a", "c"]
    last.goodbye()


def test_a_batch_that_is_sent_again_waits_once(exporting: Harness, stubs: Stubs) -> None:
    hello = report_pb2.Hello(session_id=new_id(), logs_by_service=True)
    batch = report_pb2.Batch(first_sequence=1, events=run_with("a"))
    request = report_service_pb2.ReportBatchRequest(hello=hello, batch=batch)
    stubs.reports.ReportBatch(request)
    stubs.reports.ReportBatch(request)
    assert waiting(exporting, hello.session_id) == ["a"]


@pytest.mark.parametrize(
    ("receivers", "target", "waits"),
    [
        (Receivers(Signal.LOGS), None, False),
        (Receivers(Signal.LOGS), NAMED, False),
        (Receivers(Signal.LOGS, allows_clients=True), None, False),
        (Receivers(Signal.LOGS, allows_clients=True), NAMED, True),
    ],
)
def test_without_a_receiver_no_record_waits(
    harness: Harness, receivers: Receivers, target: trace_pb2.OtlpTarget | None, waits: bool
) -> None:
    harness.backend.log_receivers = receivers
    stream = ReportStream(harness.channel, logs_by_service=True, otlp_target=target)
    report(stream, *run_with("a"))
    assert waiting(harness, stream.session_id) == (["a"] if waits else [])
    stream.goodbye()


def test_the_capability_is_announced(harness: Harness) -> None:
    stream = ReportStream(harness.channel)
    assert "service_logs.v1" in stream.welcome.capabilities
    stream.goodbye()
