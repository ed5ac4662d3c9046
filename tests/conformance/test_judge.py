"""The judge of the wire tier finds each fault that a client may have."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from tests.conformance.wire.case import Expectation, WireCase
from tests.conformance.wire.judge import judge
from tests.conformance.wire.peer import Peer, Welcomes
from tests.support.report_client import (
    ReportStream,
    created,
    entered,
    new_id,
    now,
    short_run,
    state,
    whole_run,
)

from flowspan.v1 import log_pb2, report_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HELLO = {
    "client_name": "flowspan-test",
    "client_language": "python",
    "client_version": "1",
    "process_id": 1,
    "secret": bytes(16),
}
LOGGED = [{"start": {"flow": "f", "body": [{"log": "text"}]}}]


class Client:
    """A client that does what a test asks for, against a peer, and is judged at the end."""

    def __init__(self, channel: grpc.Channel, peer: Peer, **hello: Any) -> None:
        self.channel = channel
        self.peer = peer
        self.hello = {**HELLO, "client_time": now(), **hello}
        self.stream = ReportStream(channel, **self.hello)

    def report(self, *events: report_pb2.Event) -> None:
        """Report events, and wait for their ack."""
        self.stream.wait_for_ack(self.stream.report(*events))

    def again(self, **hello: Any) -> None:
        """Break off, and connect again."""
        self.stream.break_off()
        before = self.peer.connections[-1]
        self.peer.wait_until(lambda: before.ended_at is not None, "the end of a connection")
        fields = {**self.hello, "session_id": self.stream.session_id, **hello}
        self.stream = ReportStream(self.channel, **fields)

    def verdict(self, *, steps: list[dict[str, Any]] | None = None, **expect: Any) -> None:
        """End the session with a Goodbye, and judge.

        Raises:
            AssertionError: The judge has found a fault.
        """
        self.stream.goodbye()
        connection = self.peer.connections[-1]
        self.peer.wait_until(lambda: connection.ended_at is not None, "the end of the session")
        case = WireCase(
            name="judged",
            words="",
            welcome=self.peer.welcomes,
            connections=(),
            env={},
            steps=steps or [],
            expect=Expectation(**{"logs": bool(steps), **expect}),
        )
        judge(case, self.peer)


@pytest.fixture
def connect() -> Iterator[Callable[..., Client]]:
    ends: list[Callable[[], object]] = []

    def start(*, welcome: dict[str, Any] | None = None, **hello: Any) -> Client:
        peer = Peer(Welcomes(**(welcome or {})), ())
        peer.__enter__()
        channel = grpc.insecure_channel(peer.address, options=[("grpc.enable_http_proxy", 0)])
        ends.extend([peer.__exit__, channel.close])
        return Client(channel, peer, **hello)

    yield start
    for end in reversed(ends):
        end()


def log(run_id: str, text: str, **fields: Any) -> report_pb2.Event:
    return report_pb2.Event(
        log=log_pb2.LogRecord(run_id=run_id, message=text, time=now(), **fields)
    )


def test_good_client_has_no_fault(connect: Callable[..., Client]) -> None:
    client = connect()
    run_id = new_id()
    client.report(*whole_run(run_id), log(run_id, "text"), short_run(new_id(), function_name="g"))
    client.again(acked_sequence=client.stream.acked)
    client.report(created(new_id(), function_name="h"))
    histories = {"f": "Pending Running Completed", "g": "Pending Running Completed", "h": "Pending"}
    client.verdict(steps=LOGGED, connections=2, histories=histories)


def test_gap_in_the_sequences(connect: Callable[..., Client]) -> None:
    client = connect()
    client.report(created(new_id()))
    client.stream.next_sequence += 1
    client.stream.report(created(new_id(), function_name="g"))
    with pytest.raises(AssertionError, match="should begin with 2"):
        client.verdict()


def test_batch_that_is_stored_already(connect: Callable[..., Client]) -> None:
    client = connect()
    event = created(new_id())
    client.report(event)
    client.again()
    client.stream.next_sequence = 1
    client.stream.report(event)
    with pytest.raises(AssertionError, match="should begin with 2"):
        client.verdict(connections=2)


def test_resent_event_with_other_content(connect: Callable[..., Client]) -> None:
    client = connect()
    client.report(created(new_id()))
    client.again()
    client.stream.next_sequence = 1
    client.stream.report(created(new_id()), created(new_id()))
    with pytest.raises(AssertionError, match="resent with other content"):
        client.verdict(connections=2)


def test_frame_above_the_limit(connect: Callable[..., Client]) -> None:
    client = connect(welcome={"max_frame_bytes": 2048})
    run_id = new_id()
    client.report(created(run_id), log(run_id, "x" * 3000))
    with pytest.raises(AssertionError, match="2048 are allowed"):
        client.verdict()


def test_too_many_events_in_flight(connect: Callable[..., Client]) -> None:
    client = connect(welcome={"max_unacked_events": 10})
    run_id = new_id()
    client.report(created(run_id), *[log(run_id, "text")] * 10)
    with pytest.raises(AssertionError, match="11 events are in flight"):
        client.verdict()


def test_short_run_for_a_service_that_does_not_know_it(connect: Callable[..., Client]) -> None:
    client = connect(welcome={"capabilities": ()})
    client.report(short_run(new_id()))
    with pytest.raises(AssertionError, match="does not know it"):
        client.verdict()


def test_frame_behind_goodbye(connect: Callable[..., Client]) -> None:
    client = connect()
    client.stream.send(goodbye=report_pb2.Goodbye())
    client.stream.send(heartbeat=report_pb2.Heartbeat())
    with pytest.raises(AssertionError, match="2 times Goodbye"):
        client.verdict()


def test_connection_behind_goodbye(connect: Callable[..., Client]) -> None:
    client = connect()
    client.stream.send(goodbye=report_pb2.Goodbye())
    frames = client.peer.connections[0].frames
    client.peer.wait_until(lambda: frames[-1].kind == "goodbye", "Goodbye")
    client.again()
    with pytest.raises(AssertionError, match="2 times Goodbye"):
        client.verdict(connections=2)


def test_missing_goodbye(connect: Callable[..., Client]) -> None:
    client = connect()
    with pytest.raises(AssertionError, match="1 times Goodbye instead of 0"):
        client.verdict(goodbye=False)


@pytest.mark.parametrize(
    ("hello", "message"),
    [
        ({"secret": os.urandom(16)}, "the secret changed"),
        ({"session_id": "5f0c7f0e-2d0c-4d6e-9a53-0d9b9ad3a111"}, "the session id changed"),
        ({"recovering": True}, "must not be recovering"),
        ({"acked_sequence": 7}, "acked_sequence is beyond"),
        ({"client_time": None}, "no client_time"),
    ],
    ids=["secret", "session", "recovering", "acked", "time"],
)
def test_other_hello(connect: Callable[..., Client], hello: dict[str, Any], message: str) -> None:
    client = connect()
    client.again(**hello)
    with pytest.raises(AssertionError, match=message):
        client.verdict(connections=2)


def test_second_connection_at_a_time(connect: Callable[..., Client]) -> None:
    client = connect()
    first = client.stream
    client.stream = ReportStream(client.channel, session_id=first.session_id, **client.hello)
    with pytest.raises(AssertionError, match="two connections"):
        client.verdict(connections=2)
    first.break_off()


def test_number_of_connections(connect: Callable[..., Client]) -> None:
    client = connect()
    client.again()
    with pytest.raises(AssertionError, match="2 connections"):
        client.verdict()


def test_short_pause(connect: Callable[..., Client]) -> None:
    client = connect()
    client.again()
    with pytest.raises(AssertionError, match="pauses of"):
        client.verdict(connections=2, pauses_s=[[30, 60]])


def test_missing_heartbeat(connect: Callable[..., Client]) -> None:
    client = connect()
    with pytest.raises(AssertionError, match="0 heartbeats"):
        client.verdict(heartbeats=1)


def test_run_before_its_parent(connect: Callable[..., Client]) -> None:
    client = connect()
    client.report(created(new_id(), parent_run_id=new_id()))
    with pytest.raises(AssertionError, match="before its parent"):
        client.verdict()


def test_run_id_of_another_version(connect: Callable[..., Client]) -> None:
    client = connect()
    client.report(created("5f0c7f0e-2d0c-4d6e-9a53-0d9b9ad3a111"))
    with pytest.raises(AssertionError, match="no UUIDv7"):
        client.verdict()


@pytest.mark.parametrize(
    "kinds",
    [["COMPLETED", "FAILED"], ["RUNNING", "PENDING"], ["COMPLETED", "RUNNING"]],
    ids="-".join,
)
def test_illegal_history(connect: Callable[..., Client], kinds: list[str]) -> None:
    client = connect()
    run_id = new_id()
    client.report(created(run_id), *[entered(run_id, kind) for kind in kinds])
    with pytest.raises(AssertionError, match="f: "):
        client.verdict()


def test_other_history_than_expected(connect: Callable[..., Client]) -> None:
    client = connect()
    client.report(*whole_run(new_id()))
    with pytest.raises(AssertionError, match="Pending Running Completed"):
        client.verdict(histories={"f": "Pending Running Failed"})


def test_unwanted_run(connect: Callable[..., Client]) -> None:
    client = connect()
    client.report(created(new_id()))
    with pytest.raises(AssertionError, match="f was reported"):
        client.verdict(unwanted=["f"])


def test_missing_text(connect: Callable[..., Client]) -> None:
    client = connect()
    run_id = new_id()
    client.report(created(run_id), log(run_id, "tex"))
    with pytest.raises(AssertionError, match="missing or moved"):
        client.verdict(steps=LOGGED)


@pytest.mark.parametrize("indexes", [[0], [1, 0], [0, 0, 1]], ids=str)
def test_pieces_of_a_text(connect: Callable[..., Client], indexes: list[int]) -> None:
    client = connect()
    run_id = new_id()
    one = log(run_id, "te", chunk_index=0, chunk_count=2)
    pieces = []
    for index in indexes:
        piece = report_pb2.Event()
        piece.CopyFrom(one)
        piece.log.chunk_index = index
        pieces.append(piece)
    client.report(created(run_id), *pieces)
    with pytest.raises(AssertionError, match=r"complete|out of order"):
        client.verdict(steps=LOGGED)


def test_state_of_an_unknown_run(connect: Callable[..., Client]) -> None:
    client = connect()
    client.report(entered(new_id(), "RUNNING"))
    with pytest.raises(AssertionError, match="was not created"):
        client.verdict()


def test_first_state_that_is_none(connect: Callable[..., Client]) -> None:
    client = connect()
    client.report(created(new_id(), state=state("RUNNING")))
    with pytest.raises(AssertionError, match="f: "):
        client.verdict()
