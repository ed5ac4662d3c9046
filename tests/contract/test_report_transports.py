"""The report stream over h2 and over grpcio, against the real service: both see the same."""

from __future__ import annotations

import selectors
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.grpcio_transport import GrpcioTransport
from tests.support.harness import Harness, Stubs
from tests.support.proxy import Proxy
from tests.support.report_client import created, entered, new_id, whole_run
from tests.support.run_queries import flow_history

from flowspan.config import Config
from flowspan.connection.address import Address
from flowspan.core.events import CREATED, STATE, RunRecord
from flowspan.reporter.reporter import Reporter
from flowspan.reporter.transport import session
from flowspan.reporter.transport.stream import H2Transport, LinkClosedError
from flowspan.v1 import (
    flow_run_service_pb2,
    log_pb2,
    report_pb2,
    report_service_pb2,
    state_pb2,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from flowspan.reporter.transport.protocol import ReportTransport

WAIT_S = 30.0
KINDS: dict[str, type[ReportTransport]] = {"h2": H2Transport, "grpcio": GrpcioTransport}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> type[ReportTransport]:
    """Return a class that implements `ReportTransport`."""
    return KINDS[request.param]


class Stream:
    """A session over a transport, with the frames in the order in which they arrive.

    Args:
        kind: The class of the transport.
        port: The port of the service.
        session_id: A session to resume; a new one if None.
        says_hello: True to send Hello and wait for the Welcome.
    """

    def __init__(
        self,
        kind: type[ReportTransport],
        port: int,
        *,
        session_id: str | None = None,
        says_hello: bool = True,
    ) -> None:
        address = Address(f"127.0.0.1:{port}", host="127.0.0.1", port=port)
        self.transport = kind.connect(address, timeout_s=WAIT_S)
        self.session_id = session_id or new_id()
        self.sequence = 1
        self._frames: list[report_service_pb2.ReportResponse] = []
        if says_hello:
            self.send(hello=report_pb2.Hello(session_id=self.session_id))
            self.welcome = self.receive().welcome
            self.sequence = self.welcome.resume_after + 1

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.transport.close()

    def send(self, **frame: Any) -> None:
        """Send a frame: send(heartbeat=Heartbeat())."""
        self.transport.send(report_service_pb2.ReportRequest(**frame).SerializeToString())

    def report(self, *events: report_pb2.Event) -> int:
        """Send a batch of events; return the sequence of the last."""
        self.send(batch=report_pb2.Batch(first_sequence=self.sequence, events=events))
        self.sequence += len(events)
        return self.sequence - 1

    def receive(self) -> report_service_pb2.ReportResponse:
        """Return the next frame."""
        while not self._frames:
            messages = self.transport.wait(WAIT_S)
            assert messages, "no answer"
            self._frames += map(report_service_pb2.ReportResponse.FromString, messages)
        return self._frames.pop(0)

    def acked(self, sequence: int) -> list[tuple[int, str]]:
        """Wait for the ack of an event; return the rules of the verdicts up to it."""
        verdicts: list[tuple[int, str]] = []
        while True:
            ack = self.receive().ack
            verdicts += [(verdict.kind, verdict.rule) for verdict in ack.verdicts]
            if ack.up_to_sequence >= sequence:
                return verdicts

    def end(self) -> tuple[str, str, int | None]:
        """Receive until the stream ends; return its status, message and offending sequence."""
        try:
            while True:
                assert self.transport.wait(WAIT_S), "the stream did not end"
        except LinkClosedError as caught:
            error = caught
        assert self.transport.ended is error
        return error.status, error.message, error.sequence


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def log_batch(run_id: str, *, size: int, count: int) -> list[report_pb2.Event]:
    """Return log records of this size in bytes."""
    stamp = entered(run_id, "RUNNING").state_entered.state.time
    record = log_pb2.LogRecord(run_id=run_id, message="x" * size, time=stamp)
    return [report_pb2.Event(log=record)] * count


def test_batches_are_acked_in_order_and_the_stream_ends_with_ok(
    kind: type[ReportTransport], harness: Harness
) -> None:
    with Stream(kind, harness.port) as stream:
        assert stream.welcome.resume_after == 0
        assert stream.welcome.server_version == "1.2.3"
        last = [stream.report(*whole_run(new_id())) for _ in range(50)][-1]
        assert stream.acked(last) == []
        stream.send(heartbeat=report_pb2.Heartbeat())
        stream.send(goodbye=report_pb2.Goodbye())
        stream.transport.half_close()
        assert stream.end() == ("OK", "", None)
        assert stream.transport.unsent_bytes == 0


def test_a_session_is_resumed_after_the_last_ack(
    kind: type[ReportTransport], harness: Harness
) -> None:
    with Stream(kind, harness.port) as stream:
        stream.acked(stream.report(*whole_run(new_id())))
    with Stream(kind, harness.port, session_id=stream.session_id) as resumed:
        assert resumed.welcome.resume_after == 3


def test_large_frames_arrive_whole_in_both_directions(
    kind: type[ReportTransport], harness: Harness
) -> None:
    run_id = new_id()
    with Stream(kind, harness.port) as stream:
        stream.acked(stream.report(created(run_id)))
        assert stream.acked(stream.report(*log_batch(run_id, size=200_000, count=18))) == []
        unknown = [entered(new_id(), "RUNNING") for _ in range(4_000)]
        verdicts = stream.acked(stream.report(*unknown))
    assert len(verdicts) == 4_000
    assert len({*verdicts}) == 1


BAD = {
    "no hello": [{"heartbeat": report_pb2.Heartbeat()}],
    "empty session": [{"hello": report_pb2.Hello()}],
    "bad session": [{"hello": report_pb2.Hello(session_id="not an id")}],
    "gap": [
        {"hello": report_pb2.Hello(session_id=new_id())},
        {"batch": report_pb2.Batch(first_sequence=9, events=[created(new_id())])},
    ],
    "bad event": [
        {"hello": report_pb2.Hello(session_id=new_id())},
        {"batch": report_pb2.Batch(first_sequence=1, events=whole_run("no id"))},
    ],
    "bad third event": [
        {"hello": report_pb2.Hello(session_id=new_id())},
        {
            "batch": report_pb2.Batch(
                first_sequence=1,
                events=[created(new_id()), created(new_id()), entered("é", "RUNNING")],
            )
        },
    ],
}


@pytest.mark.parametrize("name", BAD)
def test_errors_have_the_same_status_message_and_sequence(name: str, harness: Harness) -> None:
    seen = []
    for kind in KINDS.values():
        with Stream(kind, harness.port, says_hello=False) as stream:
            for frame in BAD[name]:
                stream.send(**frame)
            seen.append(stream.end())
            with pytest.raises(LinkClosedError):
                stream.send(heartbeat=report_pb2.Heartbeat())
            with pytest.raises(LinkClosedError):
                stream.transport.receive()
    assert seen[0] == seen[1]
    status, message, sequence = seen[0]
    assert (status, bool(message)) == ("INVALID_ARGUMENT", True)
    assert sequence == {"bad event": 1, "bad third event": 3}.get(name, sequence)


def test_a_cancelled_run_is_a_command(kind: type[ReportTransport], harness: Harness) -> None:
    run_id = new_id()
    with Stream(kind, harness.port) as stream:
        stream.acked(stream.report(created(run_id), entered(run_id, "RUNNING")))
        wanted = state_pb2.State(type=state_pb2.STATE_TYPE_CANCELLING, message="enough")
        Stubs(harness.channel).flow_runs.SetFlowRunState(
            flow_run_service_pb2.SetFlowRunStateRequest(id=run_id, state=wanted)
        )
        command = stream.receive().command
        assert (command.cancel_run.run_id, command.cancel_run.reason) == (run_id, "enough")


def test_the_service_notices_a_close_without_goodbye(
    kind: type[ReportTransport], harness: Harness
) -> None:
    with Stream(kind, harness.port) as stream:
        stream.acked(stream.report(created(new_id())))
        assert harness.connected() == 1
    wait_until(lambda: harness.connected() == 0)


def test_a_second_connection_takes_the_session_over(
    kind: type[ReportTransport], harness: Harness
) -> None:
    with (
        Stream(kind, harness.port) as first,
        Stream(kind, harness.port, session_id=first.session_id),
    ):
        status, message, _ = first.end()
    assert (status, bool(message)) == ("ABORTED", True)


def test_a_service_that_stops_is_unavailable(kind: type[ReportTransport], harness: Harness) -> None:
    with Stream(kind, harness.port) as stream:
        stream.acked(stream.report(*whole_run(new_id())))
        stopping = threading.Thread(target=harness.stop_server)
        stopping.start()
        # grpcio delivers the Drain command and the final status. h2 ends the stream at the GOAWAY
        # frame, which precedes them; the reporter handles the lost acks by resuming the session.
        status, message, sequence = stream.end()
        assert (status, bool(message), sequence) == ("UNAVAILABLE", True, None)
        stopping.join()
        with pytest.raises(OSError):  # noqa: PT011 - the system words it
            kind.connect(stream.transport.address, timeout_s=0.2)


def test_a_cut_connection_is_unavailable(kind: type[ReportTransport], harness: Harness) -> None:
    with Proxy(f"127.0.0.1:{harness.port}") as proxy:
        with Stream(kind, int(proxy.address.rpartition(":")[2])) as stream:
            stream.acked(stream.report(created(new_id())))
            proxy.cut()
            status, _, sequence = stream.end()
        assert (status, sequence) == ("UNAVAILABLE", None)


def test_a_wait_ends_at_its_deadline_and_the_stream_stays_open(
    kind: type[ReportTransport], harness: Harness
) -> None:
    with Stream(kind, harness.port) as stream:
        began = time.monotonic()
        assert stream.transport.wait(0.05) == []
        assert time.monotonic() - began >= 0.05
        assert stream.transport.receive() == []
        assert stream.transport.ended is None
        assert stream.acked(stream.report(*whole_run(new_id()))) == []


def test_a_selector_sees_an_answer_and_messages_can_be_put_back(
    kind: type[ReportTransport], harness: Harness
) -> None:
    with Stream(kind, harness.port) as stream, selectors.DefaultSelector() as selector:
        selector.register(stream.transport, selectors.EVENT_READ)
        stream.report(*whole_run(new_id()))
        messages: list[bytes] = []
        while not messages:
            assert selector.select(WAIT_S)
            messages = stream.transport.receive()
        stream.transport.put_back(messages)
        assert stream.transport.wait(WAIT_S) == messages


class Blocked:
    """An operation that keeps the store busy until it is released."""

    run_ids = ()
    weight = 1

    def __init__(self) -> None:
        self.released = threading.Event()

    def __call__(self, uow: object) -> None:
        self.released.wait(WAIT_S)


@pytest.fixture
def blocked(harness: Harness) -> Iterator[Blocked]:
    """Yield an operation; at the end of the test, it is released."""
    operation = Blocked()
    yield operation
    operation.released.set()


def test_a_busy_service_holds_the_sender_back_without_blocking_it(
    kind: type[ReportTransport], harness: Harness, blocked: Blocked
) -> None:
    run_id = new_id()
    with Stream(kind, harness.port) as stream:
        stream.acked(stream.report(created(run_id)))
        harness.store.submit(blocked)
        # grpcio's flow control and the sockets hold up to 60 MB beyond what the service has taken.
        for _ in range(40):
            last = stream.report(*log_batch(run_id, size=200_000, count=15))
        assert stream.transport.wait(1.0) == []
        waiting = stream.transport.unsent_bytes
        assert waiting > 10_000_000, "the service reads on although it stores nothing"
        assert stream.transport.wait(0.2) == []
        assert stream.transport.unsent_bytes == waiting
        blocked.released.set()
        assert stream.acked(last) == []
        assert stream.transport.unsent_bytes == 0


def test_promise_the_reporter_runs_over_either(
    kind: type[ReportTransport], harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "H2Transport", kind)
    run_id = new_id()
    record = RunRecord(
        run_id,
        is_flow=True,
        function_name="etl",
        run_name="etl",
        parent_run_id=None,
        root_run_id=run_id,
        flow_run_id=run_id,
    )
    with Proxy(f"127.0.0.1:{harness.port}") as proxy:
        reporter = Reporter(Config(home=tmp_path / "home", address=proxy.address))
        try:
            reporter.emit((CREATED, record, "Pending", time.time_ns()))
            assert reporter.flush(WAIT_S).acked
            proxy.cut()
            for state_type, name in ((3, "Running"), (6, "Completed")):
                reporter.emit((STATE, run_id, 1, state_type, name, "", time.time_ns(), None, None))
            wait_until(lambda: reporter.flush(WAIT_S).acked)
        finally:
            reporter.close()
        assert proxy.connection_count > 1
    assert flow_history(harness.channel, run_id) == ["Pending", "Running", "Completed"]
