"""ReportService.ReportBatch: reporting without a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
from tests.support.harness import LEASE_S, refused
from tests.support.report_client import ReportStream, created, entered, new_id, whole_run
from tests.support.run_queries import flow_history

from flowspan.v1 import flow_run_service_pb2, log_pb2, report_pb2, report_service_pb2, state_pb2
from flowspan_service.api import limits
from flowspan_service.app import reports, sessions
from flowspan_service.domain.sessions import SessionStatus
from flowspan_service.stores.engine.unit_of_work import SqlUnitOfWork

if TYPE_CHECKING:
    from tests.support.harness import Harness, Stubs


class ThinClient:
    """A session that reports batch by batch."""

    def __init__(self, stubs: Stubs, **hello: Any) -> None:
        self.stubs = stubs
        self.hello = report_pb2.Hello(session_id=new_id(), **hello)
        self.next_sequence = 1

    def report(
        self, *events: report_pb2.Event, at: int | None = None, goodbye: bool = False
    ) -> report_service_pb2.ReportBatchResponse:
        first = at or self.next_sequence
        request = report_service_pb2.ReportBatchRequest(
            hello=self.hello,
            batch=report_pb2.Batch(first_sequence=first, events=events) if events else None,
            goodbye=goodbye,
        )
        response = self.stubs.reports.ReportBatch(request)
        self.next_sequence = first + len(events)
        return response


@pytest.fixture
def client(stubs: Stubs) -> ThinClient:
    return ThinClient(stubs)


def test_batch_is_stored_and_acked(harness: Harness, client: ThinClient) -> None:
    run_id = new_id()
    response = client.report(*whole_run(run_id))
    assert response.ack.up_to_sequence == 3
    assert not response.ack.verdicts
    assert response.lease.seconds == LEASE_S
    assert flow_history(harness.channel, run_id) == ["Pending", "Running", "Completed"]


def test_promise_exactly_once_when_a_batch_is_sent_again(
    harness: Harness, client: ThinClient
) -> None:
    run_id = new_id()
    for _ in range(3):
        response = client.report(*whole_run(run_id), at=1)
        assert response.ack.up_to_sequence == 3
        assert not response.ack.verdicts
    assert flow_history(harness.channel, run_id) == ["Pending", "Running", "Completed"]


def test_empty_batch_is_a_heartbeat(harness: Harness, client: ThinClient) -> None:
    client.report(created(new_id()))
    for _ in range(3):
        assert harness.pass_time(LEASE_S - 1) == []
        assert client.report().ack.up_to_sequence == 1
    assert harness.pass_time(LEASE_S + 1) == [client.hello.session_id]


def test_gap_is_refused(client: ThinClient) -> None:
    client.report(created(new_id()))
    metadata = refused(
        lambda: client.report(created(new_id()), at=3),
        grpc.StatusCode.INVALID_ARGUMENT,
        "BAD_SEQUENCE",
    )
    assert metadata["expected"] == "2"


def test_the_session_of_a_refused_batch_lives(harness: Harness, client: ThinClient) -> None:
    """Its sender is alive as well: it learns where to start, and resends."""
    for at in (5, 6):
        refused(
            lambda at=at: client.report(created(new_id()), at=at),
            grpc.StatusCode.INVALID_ARGUMENT,
            "BAD_SEQUENCE",
        )
        assert harness.pass_time(LEASE_S - 1) == []
    client.report(created(new_id()), at=1)
    assert harness.pass_time(LEASE_S + 1) == [client.hello.session_id]


def test_one_batch_is_one_commit(harness: Harness, client: ThinClient) -> None:
    """A separate commit for opening the session would cost another sync to disk."""
    commits: list[int] = []
    harness.store.on_commit(lambda **commit: commits.append(commit["position"]))
    for _ in range(3):
        client.report(*whole_run(new_id()))
    harness.wait_for_store()  # An answer may arrive before the listeners are notified.
    assert len(commits) == 3


def test_goodbye_is_in_the_same_commit(harness: Harness, client: ThinClient) -> None:
    commits: list[int] = []
    harness.store.on_commit(lambda **commit: commits.append(commit["position"]))
    run_id = new_id()
    client.report(created(run_id), goodbye=True)
    harness.wait_for_store()
    assert len(commits) == 1
    assert flow_history(harness.channel, run_id) == ["Pending", "Crashed"]
    assert harness.session(client.hello.session_id).status == SessionStatus.CLOSED
    client.report(goodbye=True)  # without events, and again
    harness.wait_for_store()
    assert len(commits) == 2
    assert harness.session(client.hello.session_id).status == SessionStatus.CLOSED


@pytest.mark.parametrize("piece", [3, 100])
def test_goodbye_crashes_more_runs_than_one_transaction_takes(
    harness: Harness, client: ThinClient, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr(reports, "PIECE_EVENTS", piece)
    monkeypatch.setattr(sessions, "CRASHED_AT_ONCE", 2)
    monkeypatch.setattr(SqlUnitOfWork, "is_spent", lambda _: True)
    run_ids = [new_id() for _ in range(9)]
    assert client.report(*map(created, run_ids), goodbye=True).ack.up_to_sequence == 9
    for run_id in run_ids:
        assert flow_history(harness.channel, run_id) == ["Pending", "Crashed"]


def test_refused_batch_does_not_end_the_session(harness: Harness, client: ThinClient) -> None:
    refused(
        lambda: client.report(created(new_id()), at=5, goodbye=True),
        grpc.StatusCode.INVALID_ARGUMENT,
        "BAD_SEQUENCE",
    )
    assert harness.session(client.hello.session_id).status == SessionStatus.OPEN


def test_welcome_is_in_the_first_answer_and_where_it_is_asked_for(client: ThinClient) -> None:
    welcome = client.report(*whole_run(new_id())).welcome
    assert welcome.resume_after == 0
    assert welcome.max_frame_bytes == limits.MAX_FRAME
    assert "verdicts.v1" in welcome.capabilities
    assert welcome.server_version
    for events in ([], whole_run(new_id())):
        assert not client.report(*events).HasField("welcome")
    client.hello.acked_sequence = 6
    assert client.report().welcome.resume_after == 6


def test_resent_batch_is_answered_with_its_verdicts(client: ThinClient) -> None:
    client.report(created(new_id()), entered(new_id(), "RUNNING"))
    batch = [created(new_id()), entered(new_id(), "RUNNING"), entered(new_id(), "RUNNING")]
    first = client.report(*batch)
    again = client.report(*batch, at=3)
    assert not again.ack.verdicts
    assert [verdict.sequence for verdict in first.ack.verdicts] == [4, 5]
    assert again.welcome.verdicts == first.ack.verdicts
    client.hello.acked_sequence = 4
    assert list(client.report(*batch, at=3).welcome.verdicts) == [first.ack.verdicts[1]]


def test_session_without_commands_is_not_searched_for_them(
    harness: Harness, client: ThinClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("the commands were listed")

    monkeypatch.setattr(harness.store.commands, "list_open", fail)
    assert not client.report(*whole_run(new_id())).commands


def test_request_has_the_limit_of_a_frame(client: ThinClient) -> None:
    run_id = new_id()

    def log(size: int) -> report_pb2.Event:
        record = log_pb2.LogRecord(run_id=run_id, level=20, message="x" * size)
        record.time.GetCurrentTime()
        return report_pb2.Event(log=record)

    lines = [log(200_000)] * (limits.MAX_FRAME // 200_100)
    request = report_service_pb2.ReportBatchRequest(
        hello=client.hello, batch=report_pb2.Batch(first_sequence=1, events=lines)
    )
    left = limits.MAX_FRAME - request.ByteSize()
    lines.append(log(left - 100))
    assert client.report(*lines).ack.up_to_sequence == len(lines)
    lines.append(log(200))
    refused(lambda: client.report(*lines, at=1), grpc.StatusCode.INVALID_ARGUMENT, "TOO_LARGE")


@pytest.mark.parametrize("sequence", [-1, -(2**63)])
def test_negative_acked_sequence_is_refused(client: ThinClient, sequence: int) -> None:
    client.hello.acked_sequence = sequence
    metadata = refused(client.report, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert metadata["field"] == "hello.acked_sequence"


@pytest.mark.parametrize("count", [3, 4, 7])
def test_a_batch_of_several_pieces_is_acked_as_one(
    harness: Harness, client: ThinClient, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(reports, "PIECE_EVENTS", 3)
    events = [event for _ in range(count) for event in whole_run(new_id())]
    events.insert(4, entered(new_id(), "RUNNING"))
    response = client.report(*events)
    assert response.ack.up_to_sequence == len(events) == 3 * count + 1
    assert [verdict.sequence for verdict in response.ack.verdicts] == [5]
    assert client.report(created(new_id())).ack.up_to_sequence == len(events) + 1


def test_malformed_event_is_refused(harness: Harness, client: ThinClient) -> None:
    run_id = new_id()
    metadata = refused(
        lambda: client.report(created(run_id), entered(run_id, "RUNNING", name="n" * 200)),
        grpc.StatusCode.INVALID_ARGUMENT,
        "TOO_LARGE",
    )
    assert metadata["sequence"] == "2"
    refused(lambda: flow_history(harness.channel, run_id), grpc.StatusCode.NOT_FOUND, "NOT_FOUND")


def test_verdicts_are_in_the_answer(client: ThinClient) -> None:
    verdicts = client.report(entered(new_id(), "RUNNING")).ack.verdicts
    assert [verdict.rule for verdict in verdicts] == ["run_is_known"]


def test_goodbye_ends_the_session(harness: Harness, client: ThinClient) -> None:
    run_id = new_id()
    client.report(created(run_id), goodbye=True)
    assert flow_history(harness.channel, run_id) == ["Pending", "Crashed"]


def test_commands_are_in_the_answer_until_confirmed(stubs: Stubs, client: ThinClient) -> None:
    run_id = new_id()
    client.report(created(run_id), entered(run_id, "RUNNING"))
    wanted = state_pb2.State(type=state_pb2.STATE_TYPE_CANCELLING)
    stubs.flow_runs.SetFlowRunState(
        flow_run_service_pb2.SetFlowRunStateRequest(id=run_id, state=wanted)
    )
    for _ in range(2):
        (command,) = client.report().commands
        assert command.cancel_run.run_id == run_id
    assert not client.report(entered(run_id, "CANCELLED")).commands


def test_stream_and_batches_share_a_session(harness: Harness, client: ThinClient) -> None:
    run_id = new_id()
    client.report(created(run_id))
    stream = ReportStream(harness.channel, session_id=client.hello.session_id)
    assert stream.welcome.resume_after == 1
    stream.wait_for_ack(stream.report(entered(run_id, "RUNNING")))
    assert client.report(entered(run_id, "COMPLETED"), at=3).ack.up_to_sequence == 3
    stream.next_sequence = 4
    stream.goodbye()
    assert flow_history(harness.channel, run_id) == ["Pending", "Running", "Completed"]


def test_hello_is_required(stubs: Stubs) -> None:
    refused(
        lambda: stubs.reports.ReportBatch(report_service_pb2.ReportBatchRequest()),
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_FIELD",
    )


def test_times_that_add_up_to_more_than_64_bits_are_stored(
    harness: Harness, client: ThinClient
) -> None:
    """A batch that can never be stored would block its session permanently."""
    run_id = new_id()
    first, last = {"seconds": 1}, {"seconds": 253_402_300_799}
    client.report(created(run_id), entered(run_id, "RUNNING", time=first))
    for _ in range(20):
        paused, running = (
            entered(run_id, "PAUSED", time=last),
            entered(run_id, "RUNNING", time=first),
        )
        assert not client.report(*[paused, running] * 2).ack.verdicts
    request = flow_run_service_pb2.GetFlowRunRequest(id=run_id)
    run = client.stubs.flow_runs.GetFlowRun(request).flow_run
    assert run.run_duration.ToSeconds() == 315_576_000_000
    assert not client.report(entered(run_id, "COMPLETED", time=last)).ack.verdicts
    run = client.stubs.flow_runs.GetFlowRun(request).flow_run
    taken_us = run.end_time.ToMicroseconds() - run.start_time.ToMicroseconds()
    assert run.run_duration.ToMicroseconds() == taken_us
    client.report(goodbye=True)


@pytest.mark.parametrize("seconds", [-1, 2**62, 2**63 - 1, -(2**63)])
def test_lease_that_is_no_duration_is_refused(stubs: Stubs, seconds: int) -> None:
    client = ThinClient(stubs, lease={"seconds": seconds})
    refused(client.report, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
