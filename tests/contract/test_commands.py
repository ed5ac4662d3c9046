"""Commands are rows of a session and are sent until they are confirmed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.support.harness import LEASE_S, Stubs
from tests.support.report_client import ReportStream, created, entered, new_id
from tests.support.run_queries import flow_history, wait_until

from flowspan.v1 import (
    flow_run_service_pb2,
    payload_pb2,
    report_pb2,
    report_service_pb2,
    state_pb2,
)
from flowspan_service.api import limits
from flowspan_service.app.runs import SetState
from flowspan_service.app.sessions import CrashOpenRuns
from flowspan_service.domain.runs import RunKind
from flowspan_service.domain.states import State, StateType

if TYPE_CHECKING:
    from tests.support.harness import Harness

LARGE = b'{"x": "' + b"x" * 500_000 + b'"}'
CANCELLING = state_pb2.STATE_TYPE_CANCELLING


def cancel(harness: Harness, run_id: str, message: str = "enough") -> None:
    wanted = state_pb2.State(type=CANCELLING, message=message)
    request = flow_run_service_pb2.SetFlowRunStateRequest(id=run_id, state=wanted)
    Stubs(harness.channel).flow_runs.SetFlowRunState(request)


def cancel_many(harness: Harness, run_ids: list[str]) -> None:
    """Cancel runs as SetFlowRunState does, without one call per run."""
    state = State(StateType.CANCELLING, "Cancelling", "enough", 0)
    futures = [harness.store.submit(SetState(RunKind.FLOW, each, state)) for each in run_ids]
    assert all(future.result(60).command for future in futures)


def running(stream: ReportStream, count: int = 1, **fields: Any) -> list[str]:
    """Start runs of the session."""
    run_ids = [new_id() for _ in range(count)]
    for run_id in run_ids:
        stream.report(created(run_id, **fields), entered(run_id, "RUNNING"))
    stream.wait_for_ack(stream.next_sequence - 1)
    return run_ids


def again(harness: Harness, stream: ReportStream) -> ReportStream:
    """Reconnect the session."""
    stream.break_off()
    return ReportStream(harness.channel, session_id=stream.session_id)


def told(stream: ReportStream, count: int = 1) -> list[str]:
    """Return the `count` runs that the session is asked to stop."""
    return [stream.receive("command").cancel_run.run_id for _ in range(count)]


def is_told_nothing(stream: ReportStream) -> None:
    """Check that no command precedes the ack of a new report."""
    stream.wait_for_ack(stream.report(created(new_id())))


def test_promise_cancel_is_told_until_it_is_confirmed(harness: Harness) -> None:
    stream = ReportStream(harness.channel)
    (run_id,) = running(stream)
    stream.break_off()
    wait_until(lambda: not harness.connected(), "the end of the connection to be seen")
    cancel(harness, run_id, "far too slow")
    for _ in range(3):
        stream = again(harness, stream)
        command = stream.receive("command")
        assert (command.cancel_run.run_id, command.cancel_run.reason) == (run_id, "far too slow")
        assert command.id
    stream.wait_for_ack(stream.report(entered(run_id, "CANCELLED")))
    stream = again(harness, stream)
    is_told_nothing(stream)
    stream.goodbye()
    assert flow_history(harness.channel, run_id) == [
        "Pending",
        "Running",
        "Cancelling",
        "Cancelled",
    ]


@pytest.mark.parametrize(
    ("count", "parameters"), [(2000, None), (8, LARGE)], ids=["many", "large parameters"]
)
@pytest.mark.parametrize("younger", [True, False])
def test_promise_cancel_is_told_beside_others(
    harness: Harness, count: int, parameters: bytes | None, younger: bool
) -> None:
    fields = {}
    if parameters is not None:
        fields["parameters"] = payload_pb2.Payload(encoding="json", data=parameters)
    other, stream = ReportStream(harness.channel), ReportStream(harness.channel)
    run_ids = [] if younger else running(stream)
    others = running(other, count, **fields)
    cancel_many(harness, others)
    run_ids += running(stream) if younger else []
    cancel(harness, *run_ids)
    assert told(stream) == run_ids
    for _ in range(2):
        stream = again(harness, stream)
        assert told(stream) == run_ids
        is_told_nothing(stream)
    hello = report_pb2.Hello(session_id=other.session_id)
    answer = Stubs(harness.channel).reports.ReportBatch(
        report_service_pb2.ReportBatchRequest(hello=hello)
    )
    in_answer = [each.cancel_run.run_id for each in answer.commands]
    assert in_answer == others[: limits.MAX_COMMANDS]
    other = again(harness, other)
    assert told(other, count) == others
    for each in (stream, other):
        each.break_off()


def test_batches_are_answered_with_what_is_not_confirmed(harness: Harness) -> None:
    stub = Stubs(harness.channel).reports
    hello = report_pb2.Hello(session_id=new_id())
    run_ids = [new_id() for _ in range(3)]
    events = [event for each in run_ids for event in (created(each), entered(each, "RUNNING"))]

    def report(first: int, *events: report_pb2.Event) -> list[str]:
        batch = report_pb2.Batch(first_sequence=first, events=events)
        request = report_service_pb2.ReportBatchRequest(hello=hello, batch=batch)
        return [each.cancel_run.run_id for each in stub.ReportBatch(request).commands]

    assert report(1, *events) == []
    for run_id in run_ids:
        cancel(harness, run_id)
    assert report(7) == run_ids
    assert report(7) == run_ids
    assert report(7, entered(run_ids[1], "CANCELLED")) == [run_ids[0], run_ids[2]]
    assert report(8, entered(run_ids[0], "COMPLETED"), entered(run_ids[2], "FAILED")) == []


def test_command_stays_with_the_owner_of_its_run(harness: Harness) -> None:
    first, second = ReportStream(harness.channel), ReportStream(harness.channel)
    run_id = new_id()
    event = created(run_id)
    first.wait_for_ack(first.report(event, entered(run_id, "RUNNING")))
    cancel(harness, run_id)
    assert told(first) == [run_id]
    second.wait_for_ack(second.report(event))
    assert [each.rule for each in second.verdicts] == ["creation_agrees"]
    first, second = again(harness, first), again(harness, second)
    assert told(first) == [run_id]
    is_told_nothing(second)
    first.wait_for_ack(first.report(entered(run_id, "CANCELLED")))
    for each in (first, second):
        each.goodbye()


def test_command_follows_its_run_to_another_session(harness: Harness) -> None:
    """The session of a run may have ended before its many runs have."""
    first, second = ReportStream(harness.channel), ReportStream(harness.channel)
    run_id = new_id()
    event = created(run_id)
    first.wait_for_ack(first.report(event, entered(run_id, "RUNNING")))
    cancel(harness, run_id)
    assert told(first) == [run_id]
    first.break_off()
    harness.close_without_its_runs(first.session_id)
    second.report(event)
    frames = {next(second.call).WhichOneof("frame") for _ in range(2)}
    assert frames == {"ack", "command"}
    second = again(harness, second)
    assert told(second) == [run_id]
    harness.store.submit(CrashOpenRuns(first.session_id)).result(60)
    second.wait_for_ack(second.report(entered(run_id, "CANCELLED")))
    assert not second.verdicts
    second.goodbye()
    assert flow_history(harness.channel, run_id)[-1] == "Cancelled"


def test_run_that_came_back_to_life_can_be_cancelled_again(harness: Harness) -> None:
    stream = ReportStream(harness.channel)
    (run_id,) = running(stream)
    cancel(harness, run_id)
    first = stream.receive("command")
    assert harness.pass_time(LEASE_S + 1) == [stream.session_id]
    stream.wait_for_ack(stream.report(entered(run_id, "RUNNING")))
    assert not stream.verdicts
    cancel(harness, run_id)
    second = stream.receive("command")
    assert second.cancel_run.run_id == run_id
    assert first.id != second.id
    stream.wait_for_ack(stream.report(entered(run_id, "CANCELLED")))
    stream.goodbye()


def test_cancel_asked_twice_is_one_command(harness: Harness) -> None:
    stream = ReportStream(harness.channel)
    (run_id,) = running(stream)
    cancel(harness, run_id)
    cancel(harness, run_id)
    assert told(stream) == [run_id]
    is_told_nothing(stream)
    stream = again(harness, stream)
    assert told(stream) == [run_id]
    is_told_nothing(stream)
    stream.break_off()


def test_cancel_that_a_client_began_itself_can_be_asked_for(harness: Harness) -> None:
    stream = ReportStream(harness.channel)
    (run_id,) = running(stream)
    stream.wait_for_ack(stream.report(entered(run_id, "CANCELLING")))
    stream = again(harness, stream)
    is_told_nothing(stream)
    cancel(harness, run_id)
    assert told(stream) == [run_id]
    stream.break_off()


def test_goodbye_and_deletion_end_commands(harness: Harness) -> None:
    stream = ReportStream(harness.channel)
    kept, deleted = running(stream, 2)
    for run_id in (kept, deleted):
        cancel(harness, run_id)
    assert told(stream, 2) == [kept, deleted]
    request = flow_run_service_pb2.DeleteFlowRunRequest(id=deleted, force=True)
    Stubs(harness.channel).flow_runs.DeleteFlowRun(request)
    stream = again(harness, stream)
    assert told(stream) == [kept]
    is_told_nothing(stream)
    stream.goodbye()
    assert harness.store.commands.list_open(stream.session_id, limit=10).items == []
