"""A service, or a proxy before it, that takes smaller messages or asks for time."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status
from tests.support.engine_events import FAILED, Journal, entered, logged
from tests.support.run_queries import wait_until

from flowspan.config import Config
from flowspan.core.events import FailureInfo
from flowspan.reporter import Reporter, list_spools, push_spools
from flowspan.v1 import report_pb2, report_service_pb2, report_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TIMEOUT_S = 60.0
LIMIT = 4000


class FakeService(report_service_pb2_grpc.ReportServiceServicer):
    """Stores events in memory and acknowledges them.

    Args:
        limit: The size of the largest message that gRPC lets pass.
        welcome: Fields of Welcome.
        failures: The errors of the first calls.
    """

    def __init__(
        self,
        *,
        limit: int = 8 << 20,
        failures: list[status_pb2.Status] | None = None,
        **welcome: int,
    ) -> None:
        self.events: dict[int, report_pb2.Event] = {}
        self.sizes: list[int] = []
        self.begun_at: list[float] = []
        self.most_in_flight = 0
        self._failures = failures or []
        self._welcome = welcome
        self._lock = threading.Lock()
        self._server = grpc.server(
            ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", limit)]
        )
        report_service_pb2_grpc.add_ReportServiceServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def Report(self, request_iterator, context):  # noqa: N802 - the name in the proto
        self.begun_at.append(time.monotonic())
        if self._failures:
            context.abort_with_status(rpc_status.to_status(self._failures.pop(0)))
        assert next(request_iterator).HasField("hello")
        resume_after = len(self.events)
        yield report_service_pb2.ReportResponse(
            welcome=report_pb2.Welcome(
                **{"resume_after": resume_after, "max_unacked_events": 20_000, **self._welcome}
            )
        )
        for request in request_iterator:
            self.sizes.append(request.ByteSize())
            with self._lock:
                self.most_in_flight = max(self.most_in_flight, len(request.batch.events))
                for sequence, event in enumerate(
                    request.batch.events, request.batch.first_sequence
                ):
                    assert sequence <= len(self.events) + 1
                    self.events.setdefault(sequence, event)
                ack = report_pb2.Ack(up_to_sequence=len(self.events))
            if request.HasField("batch"):
                yield report_service_pb2.ReportResponse(ack=ack)

    def messages(self) -> list[str]:
        """Return the texts of the log records."""
        return [event.log.message for event in self.events.values() if event.HasField("log")]

    def placeholders(self) -> int:
        """Return the number of events without content."""
        return sum(event.WhichOneof("event") is None for event in self.events.values())

    def stop(self) -> None:
        self._server.stop(None).wait()


@pytest.fixture
def serve() -> Iterator[Callable[..., FakeService]]:
    services: list[FakeService] = []

    def start(**options) -> FakeService:
        services.append(FakeService(**options))
        return services[-1]

    yield start
    for service in services:
        service.stop()


@pytest.fixture
def report(flowspan_home: Path) -> Iterator[Callable[[FakeService], Reporter]]:
    reporters: list[Reporter] = []

    def begin(service: FakeService) -> Reporter:
        reporters.append(Reporter(Config(address=service.address, home=flowspan_home)))
        return reporters[-1]

    yield begin
    for reporter in reporters:
        reporter.close()


def fails_at_length(run_id: str, size: int):
    """Return an event of about this size."""
    failure = FailureInfo("Error", "x" * min(size, 20_000), "y" * max(size - 20_000, 0))
    return entered(run_id, FAILED, "Failed", failure=failure)


def test_stated_limit_is_kept(
    serve: Callable[..., FakeService], report: Callable[[FakeService], Reporter]
) -> None:
    service = serve(limit=LIMIT, max_batch_bytes=1 << 20, max_frame_bytes=LIMIT)
    reporter = report(service)
    journal = Journal(reporter)
    run_id = journal.begin()
    journal.log(run_id, 500)
    assert reporter.flush(TIMEOUT_S).acked
    assert service.messages() == journal.messages[run_id]
    assert max(service.sizes) <= LIMIT
    assert len(service.begun_at) == 1


def test_batch_of_an_older_service_is_a_frame(
    serve: Callable[..., FakeService], report: Callable[[FakeService], Reporter]
) -> None:
    service = serve(limit=LIMIT, max_batch_bytes=LIMIT)
    reporter = report(service)
    journal = Journal(reporter)
    journal.log(journal.begin(), 500)
    assert reporter.flush(TIMEOUT_S).acked
    assert max(service.sizes) <= LIMIT
    assert len(service.begun_at) == 1


def test_refused_message_is_sent_in_parts(
    serve: Callable[..., FakeService],
    report: Callable[[FakeService], Reporter],
    caplog: pytest.LogCaptureFixture,
) -> None:
    service = serve(limit=LIMIT)
    reporter = report(service)
    journal = Journal(reporter)
    run_id = journal.begin()
    journal.log(run_id, 1000)
    assert reporter.flush(TIMEOUT_S).acked
    assert service.messages() == journal.messages[run_id]
    assert service.placeholders() == 0
    assert "too large" in caplog.text
    assert 1 < len(service.begun_at) < 12


def test_event_that_is_too_large_is_dropped_and_said(
    serve: Callable[..., FakeService],
    report: Callable[[FakeService], Reporter],
    caplog: pytest.LogCaptureFixture,
) -> None:
    service = serve(limit=LIMIT)
    reporter = report(service)
    journal = Journal(reporter)
    first = journal.begin()
    reporter.emit(fails_at_length(first, 50_000))
    second = journal.begin()
    journal.log(second, 20)
    assert reporter.flush(TIMEOUT_S).acked
    journal.log(second, 20)
    assert reporter.flush(TIMEOUT_S).acked
    assert service.messages() == journal.messages[second]
    assert service.placeholders() == 1
    assert caplog.text.count("too large for the service") == 1
    assert len(service.begun_at) < 12


def test_spool_is_delivered_in_parts(
    serve: Callable[..., FakeService],
    report: Callable[[FakeService], Reporter],
    flowspan_home: Path,
) -> None:
    away = serve()
    reporter = report(away)
    away.stop()
    journal = Journal(reporter)
    run_id = journal.begin()
    journal.log(run_id, 1000)
    reporter.emit(fails_at_length(run_id, 50_000))
    reporter.flush(0.1)
    reporter.close()
    service = serve(limit=LIMIT)
    (spool,) = list_spools(Config(home=flowspan_home))
    del spool
    (result,) = push_spools(Config(address=service.address, home=flowspan_home), any_address=True)
    assert sorted(service.messages()) == sorted(journal.messages[run_id])
    assert service.placeholders() == 1
    assert result.missing_events == 1
    assert "refused 1 of its events" in result.problem


LONG = "0123456789abcdef" * 4000


def test_long_log_is_divided_for_small_frames(
    serve: Callable[..., FakeService], report: Callable[[FakeService], Reporter]
) -> None:
    service = serve(limit=LIMIT, max_batch_bytes=1 << 20, max_frame_bytes=LIMIT)
    reporter = report(service)
    run_id = Journal(reporter).begin()
    for text in ("before", LONG, "after"):
        reporter.emit(logged(run_id, text))
    assert reporter.flush(TIMEOUT_S).acked
    reporter.emit(logged(run_id, LONG))
    assert reporter.flush(TIMEOUT_S).acked
    assert "".join(service.messages()) == f"before{LONG}after{LONG}"
    assert service.placeholders() == 0
    assert max(service.sizes) <= LIMIT


def test_long_log_that_was_refused_is_divided(
    serve: Callable[..., FakeService], report: Callable[[FakeService], Reporter]
) -> None:
    """The limit of a proxy is in no Welcome."""
    service = serve(limit=LIMIT)
    reporter = report(service)
    run_id = Journal(reporter).begin()
    for text in ("before", LONG, "after"):
        reporter.emit(logged(run_id, text))
    assert reporter.flush(TIMEOUT_S).acked
    assert "".join(service.messages()) == f"before{LONG}after"
    assert service.placeholders() == 0
    assert len(service.begun_at) < 20


def test_long_log_in_a_spool_is_divided(
    serve: Callable[..., FakeService],
    report: Callable[[FakeService], Reporter],
    flowspan_home: Path,
) -> None:
    away = serve()
    reporter = report(away)
    away.stop()
    run_id = Journal(reporter).begin()
    for text in ("before", LONG, "after"):
        reporter.emit(logged(run_id, text))
    reporter.flush(0.1)
    reporter.close()
    service = serve(limit=LIMIT, max_batch_bytes=1 << 20, max_frame_bytes=LIMIT)
    (result,) = push_spools(Config(address=service.address, home=flowspan_home), any_address=True)
    assert result.is_done, result
    assert result.missing_events == 0
    assert "".join(service.messages()) == f"before{LONG}after"
    assert max(service.sizes) <= LIMIT


@pytest.mark.parametrize("window", [1, 10])
def test_window_of_a_spool_is_kept(
    serve: Callable[..., FakeService],
    report: Callable[[FakeService], Reporter],
    flowspan_home: Path,
    window: int,
) -> None:
    away = serve()
    reporter = report(away)
    away.stop()
    journal = Journal(reporter)
    run_id = journal.begin()
    journal.log(run_id, 100)
    reporter.flush(0.1)
    reporter.close()
    service = serve(max_unacked_events=window)
    (result,) = push_spools(Config(address=service.address, home=flowspan_home), any_address=True)
    assert result.is_done, result
    assert service.messages() == journal.messages[run_id]
    assert service.most_in_flight <= window


def status(code: str, message: str, **details) -> status_pb2.Status:
    packed = []
    if details:
        packed = [AnyMessage(), AnyMessage()]
        packed[0].Pack(error_details_pb2.ErrorInfo(domain="flowspan.v1", reason=details["reason"]))
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(round(details["retry_s"] * 1000))
        packed[1].Pack(retry)
    return status_pb2.Status(code=code_pb2.Code.Value(code), message=message, details=packed)


def test_service_gets_the_time_that_it_asks_for(
    serve: Callable[..., FakeService], report: Callable[[FakeService], Reporter]
) -> None:
    busy = status("RESOURCE_EXHAUSTED", "Events arrive faster.", reason="OVERLOADED", retry_s=0.7)
    service = serve(failures=[busy, busy])
    reporter = report(service)
    journal = Journal(reporter)
    run_id = journal.begin()
    journal.log(run_id, 3)
    wait_until(lambda: reporter.flush(1.0).acked, "all to be acked")
    assert service.messages() == journal.messages[run_id]
    first, second, third = service.begun_at
    assert second - first >= 0.7
    assert third - second >= 0.7


def test_limit_on_calls_is_no_limit_on_sizes(
    serve: Callable[..., FakeService], report: Callable[[FakeService], Reporter]
) -> None:
    """A proxy that counts calls uses the same status: nothing may be dropped for it."""
    busy = status("RESOURCE_EXHAUSTED", "Too many requests.")
    service = serve(failures=[busy] * 3)
    reporter = report(service)
    journal = Journal(reporter)
    run_id = journal.begin()
    journal.log(run_id, 3)
    wait_until(lambda: reporter.flush(1.0).acked, "all to be acked")
    assert service.messages() == journal.messages[run_id]
    assert service.placeholders() == 0
