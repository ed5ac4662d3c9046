"""ReportService.WatchCommands: the commands of a session without a stream."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import grpc
import pytest
from tests.support.harness import LEASE_S, Stubs, refused
from tests.support.report_client import ReportStream, created, entered, new_id
from tests.support.run_queries import wait_until

from flowspan.v1 import flow_run_service_pb2, report_pb2, report_service_pb2, state_pb2
from flowspan_service.api import limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.harness import Harness

TIMEOUT_S = 60.0
SECRET = bytes(range(16))


class Client:
    """A session that reports with ReportBatch and watches its commands."""

    def __init__(self, channel: grpc.Channel, secret: bytes = b"") -> None:
        self.stubs = Stubs(channel)
        self.hello = report_pb2.Hello(session_id=new_id(), secret=secret)
        self.sequence = 1

    def report(self, *events: report_pb2.Event, goodbye: bool = False) -> None:
        batch = report_pb2.Batch(first_sequence=self.sequence, events=events) if events else None
        self.sequence += len(events)
        self.stubs.reports.ReportBatch(
            report_service_pb2.ReportBatchRequest(hello=self.hello, batch=batch, goodbye=goodbye)
        )

    def running(self) -> str:
        run_id = new_id()
        self.report(created(run_id), entered(run_id, "RUNNING"))
        return run_id

    def watch(self) -> Iterator[report_service_pb2.WatchCommandsResponse]:
        return self.stubs.reports.WatchCommands(
            report_service_pb2.WatchCommandsRequest(
                session_id=self.hello.session_id, secret=self.hello.secret
            ),
            timeout=TIMEOUT_S,
        )

    def begun(self) -> Iterator[report_service_pb2.WatchCommandsResponse]:
        """Return a watch that is being served: its first frame says so."""
        frames = self.watch()
        assert not next(frames).HasField("command")
        return frames

    def cancel(self, run_id: str) -> None:
        wanted = state_pb2.State(type=state_pb2.STATE_TYPE_CANCELLING, message="enough")
        self.stubs.flow_runs.SetFlowRunState(
            flow_run_service_pb2.SetFlowRunStateRequest(id=run_id, state=wanted)
        )


@pytest.fixture
def client(harness: Harness) -> Client:
    return Client(harness.channel)


def told(frame: report_service_pb2.WatchCommandsResponse) -> str:
    assert frame.HasField("command")
    return frame.command.cancel_run.run_id


def test_open_commands_come_first_and_new_ones_at_once(client: Client) -> None:
    first, second, third = client.running(), client.running(), client.running()
    client.cancel(first)
    frames = client.watch()
    assert told(next(frames)) == first
    client.cancel(second)
    frame = next(frames)
    assert told(frame) == second
    assert frame.command.id
    assert frame.command.cancel_run.reason == "enough"
    client.cancel(second)  # again: not a new command
    client.cancel(third)
    assert told(next(frames)) == third
    client.report(*(entered(each, "CANCELLED") for each in (first, second, third)), goodbye=True)
    assert list(frames) == []


def test_each_watch_of_a_session_gets_each_command(client: Client) -> None:
    run_id = client.running()
    watches = [client.begun() for _ in range(3)]
    client.cancel(run_id)
    assert [told(next(frames)) for frames in watches] == [run_id] * 3
    client.report(entered(run_id, "CANCELLED"), goodbye=True)
    assert [list(frames) for frames in watches] == [[]] * 3


def test_keep_alives_come_without_commands(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "COMMAND_KEEPALIVE_S", 0.05)
    run_id = client.running()
    frames = client.begun()
    for _ in range(3):
        assert not next(frames).HasField("command")
    client.cancel(run_id)
    assert told(next(frame for frame in frames if frame.HasField("command"))) == run_id
    client.report(goodbye=True)


def test_unknown_session_is_not_found(client: Client) -> None:
    refused(lambda: next(client.watch()), grpc.StatusCode.NOT_FOUND, "NOT_FOUND")


@pytest.mark.parametrize("session_id", ["", "x", "0" * 36])
def test_bad_session_id_is_refused(client: Client, session_id: str) -> None:
    client.hello.session_id = session_id
    refused(lambda: next(client.watch()), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")


@pytest.mark.parametrize("secret", [b"", bytes(16), SECRET + b"\0"])
def test_promise_only_the_owner_of_a_secret_watches(harness: Harness, secret: bytes) -> None:
    client = Client(harness.channel, SECRET)
    run_id = client.running()
    client.cancel(run_id)
    stranger = Client(harness.channel, secret)
    stranger.hello.session_id = client.hello.session_id
    metadata = refused(
        lambda: next(stranger.watch()), grpc.StatusCode.PERMISSION_DENIED, "WRONG_SECRET"
    )
    assert metadata["session_id"] == client.hello.session_id
    assert told(next(client.watch())) == run_id
    client.report(goodbye=True)


@pytest.mark.parametrize("size", [1, 15, 65])
def test_secret_of_another_size_is_refused(client: Client, size: int) -> None:
    client.hello.secret = bytes(size)
    metadata = refused(
        lambda: next(client.watch()), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"
    )
    assert metadata["field"] == "secret"


def test_watch_renews_no_lease_and_ends_with_the_session(harness: Harness, client: Client) -> None:
    client.running()
    frames = client.begun()
    assert harness.pass_time(LEASE_S + 1) == [client.hello.session_id]
    assert list(frames) == []
    assert list(client.watch()) == []  # it has ended already


def test_command_that_follows_its_run_is_told(harness: Harness, client: Client) -> None:
    stream = ReportStream(harness.channel)
    run_id = new_id()
    event = created(run_id)
    stream.wait_for_ack(stream.report(event, entered(run_id, "RUNNING")))
    client.report(created(new_id()))
    frames = client.begun()
    client.cancel(run_id)
    stream.break_off()
    harness.close_without_its_runs(stream.session_id)
    client.report(event)  # takes the run over
    assert told(next(frames)) == run_id
    client.report(entered(run_id, "CANCELLED"), goodbye=True)


def test_stopping_service_ends_the_watch(harness: Harness, client: Client) -> None:
    client.running()
    frames = client.begun()
    stopping = threading.Thread(target=harness.stop_server)
    stopping.start()
    refused(lambda: next(frames), grpc.StatusCode.UNAVAILABLE, "STOPPING")
    stopping.join()


def test_watch_that_its_caller_left_is_forgotten(harness: Harness, client: Client) -> None:
    client.running()
    frames = client.begun()
    assert harness.backend.command_watches.sessions() == [client.hello.session_id]
    frames.cancel()  # type: ignore[attr-defined] # it is a call of grpc
    wait_until(lambda: not harness.backend.command_watches.sessions(), "the watch to end")
    client.report(goodbye=True)
