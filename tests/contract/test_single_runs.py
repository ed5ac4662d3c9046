"""SingleRunService: one run, reported with a few calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from tests.support.harness import refused
from tests.support.report_client import new_id
from tests.support.run_queries import logs

from flowspan.v1 import (
    failure_pb2,
    flow_run_pb2,
    flow_run_service_pb2,
    label_service_pb2,
    log_pb2,
    state_pb2,
    transition_pb2,
    watch_service_pb2,
)
from flowspan.v1 import single_run_service_pb2 as pb

if TYPE_CHECKING:
    from tests.support.harness import Harness, Stubs

from tests.support.single_runs import (
    as_json,
    cancel,
    context_of,
    delete,
    finish,
    get,
    history,
    lines_of,
    reported_run,
    start,
    touch,
)

INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
EXISTS = grpc.StatusCode.ALREADY_EXISTS
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
DENIED = grpc.StatusCode.PERMISSION_DENIED
LEASE_S = 900
HOUR_S = 3600
SPAN = f"00-{'a' * 32}-{'b' * 16}-01"


# The way of a run.


def test_run_from_start_to_end(harness: Harness, stubs: Stubs) -> None:
    began_us = harness.clock.now_us()
    started = start(
        stubs,
        run_name="tonight",
        parameters=as_json('{"path": "/größe"}'),
        tags=["db", "nächtlich"],
        version="1.4",
        description="Copies the database.",
        labels={"team": "ops"},
        code={"function": "main", "file_path": "/opt/backup.sh", "line": 3},
    )
    run = started.flow_run
    assert (run.flow_name, run.name, run.flow_version) == ("nightly", "tonight", "1.4")
    assert run.parameters.data == '{"path": "/größe"}'.encode()
    assert list(run.tags) == ["db", "nächtlich"]
    assert run.description == "Copies the database."
    assert run.code.file_path == "/opt/backup.sh"
    assert run.state.type == state_pb2.STATE_TYPE_RUNNING
    assert run.root_run_id == run.id
    assert run.create_time.ToMicroseconds() >= began_us
    assert started.run_context == context_of(run.id)
    assert started.lease.seconds == LEASE_S
    assert get(stubs, run.id) == run
    labels = stubs.labels.GetLabels(label_service_pb2.GetLabelsRequest(run_id=run.id)).labels
    assert dict(labels) == {"team": "ops"}

    touched = touch(stubs, started.token, "half of it", "zwei 🐟")
    assert (touched.cancel_requested, touched.cancel_reason) == (False, "")
    assert touched.lease.seconds == LEASE_S

    ended = finish(stubs, started.token, "done", result=as_json('{"rows": 3}')).flow_run
    assert ended.state.type == state_pb2.STATE_TYPE_COMPLETED
    assert ended.state.result.data == b'{"rows": 3}'
    assert ended.end_time.ToMicroseconds() >= ended.start_time.ToMicroseconds() >= began_us
    assert get(stubs, run.id) == ended
    assert history(harness, run.id) == ["Pending", "Running", "Completed"]
    assert lines_of(harness, run.id) == ["half of it", "zwei 🐟", "done"]


@pytest.mark.parametrize(
    ("outcome", "kind", "message"),
    [
        ({}, "COMPLETED", ""),
        ({"message": "3 rows"}, "COMPLETED", "3 rows"),
        ({"failure": failure_pb2.Failure(type="Exit", message="code 2")}, "FAILED", "Exit: code 2"),
        (
            {"failure": failure_pb2.Failure(type="Exit", message="2"), "message": "disk full"},
            "FAILED",
            "disk full",
        ),
        ({"cancelled": pb.RunCancelled()}, "CANCELLED", ""),
    ],
)
def test_outcomes(
    harness: Harness, stubs: Stubs, outcome: dict[str, Any], kind: str, message: str
) -> None:
    started = start(stubs)
    state = finish(stubs, started.token, **outcome).flow_run.state
    assert state_pb2.StateType.Name(state.type) == f"STATE_TYPE_{kind}"
    assert state.name == kind.capitalize()
    assert state.message == message
    assert state.failure.type == ("Exit" if "failure" in outcome else "")
    assert harness.session(get(stubs, started.flow_run.id).session_id).status == 2  # CLOSED


def test_creation_and_end_are_one_commit_each(harness: Harness, stubs: Stubs) -> None:
    before = harness.store.generation()
    started = start(stubs)
    assert harness.store.generation() == before + 1
    finish(stubs, started.token, "done", number=1)
    assert harness.store.generation() == before + 2
    request = flow_run_service_pb2.ListFlowRunTransitionsRequest(id=started.flow_run.id)
    found = stubs.flow_runs.ListFlowRunTransitions(request).transitions
    assert [each.cause for each in found] == [transition_pb2.TRANSITION_CAUSE_REPORTED] * 3
    assert found[0].commit_time == found[1].commit_time


def test_watch_shows_the_run(harness: Harness, stubs: Stubs) -> None:
    request = watch_service_pb2.WatchRequest(changes_only=True)
    watch = stubs.watch.Watch(request)
    assert next(watch).HasField("snapshot_end")
    started = start(stubs)
    finish(stubs, started.token)
    names = []
    while len(names) < 3:
        item = next(watch)
        if item.HasField("change"):
            assert item.change.transition.run_id == started.flow_run.id
            names.append(item.change.transition.state.name)
    watch.cancel()
    assert names == ["Pending", "Running", "Completed"]


# The same call again.


def test_same_start_again_with_an_id_returns_the_same_run(harness: Harness, stubs: Stubs) -> None:
    run_id = new_id()
    fields: dict[str, Any] = {"id": run_id, "tags": ["t"], "parameters": as_json("{}")}
    first, second = start(stubs, **fields), start(stubs, **fields, traceparent=SPAN)
    assert second == first
    assert history(harness, run_id) == ["Pending", "Running"]
    finish(stubs, second.token)
    third = start(stubs, **fields)
    assert third.token == first.token
    assert third.flow_run.state.name == "Completed"
    assert history(harness, run_id) == ["Pending", "Running", "Completed"]


def test_same_start_again_without_an_id_is_a_second_run(stubs: Stubs) -> None:
    first, second = start(stubs), start(stubs)
    assert first.flow_run.id < second.flow_run.id
    assert first.token != second.token


@pytest.mark.parametrize(
    "other",
    [
        {"flow_name": "other"},
        {"run_name": "other"},
        {"tags": ["other"]},
        {"parameters": as_json("{}")},
        {"version": "2"},
        {"run_context": context_of(new_id())},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_another_start_with_the_id_is_refused(stubs: Stubs, other: dict[str, Any]) -> None:
    run_id = new_id()
    start(stubs, id=run_id)
    told = refused(lambda: start(stubs, id=run_id, **other), EXISTS, "ALREADY_EXISTS")
    assert told["run_id"] == run_id
    assert told["advice"]


def test_id_of_a_run_that_was_created_otherwise_is_refused(harness: Harness, stubs: Stubs) -> None:
    stream, run_id = reported_run(harness, function_name="nightly")
    refused(lambda: start(stubs, id=run_id), EXISTS, "ALREADY_EXISTS")
    requested = flow_run_pb2.FlowRun(
        flow_name="nightly", state=state_pb2.State(type=state_pb2.STATE_TYPE_SCHEDULED)
    )
    answer = stubs.flow_runs.CreateFlowRun(
        flow_run_service_pb2.CreateFlowRunRequest(flow_run=requested)
    )
    refused(lambda: start(stubs, id=answer.flow_run.id), EXISTS, "ALREADY_EXISTS")
    stream.goodbye()


def test_same_end_again_returns_the_run(harness: Harness, stubs: Stubs) -> None:
    started = start(stubs)
    first = finish(stubs, started.token, "done", result=as_json("1"), message="fine")
    harness.clock.advance(60)
    second = finish(stubs, started.token, "done", result=as_json("1"), message="fine")
    assert second == first
    assert history(harness, started.flow_run.id) == ["Pending", "Running", "Completed"]
    assert lines_of(harness, started.flow_run.id) == ["done"]


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"result": as_json("2")},
        {"result": as_json("1"), "message": "m"},
        {"failure": failure_pb2.Failure(type="E")},
        {"cancelled": pb.RunCancelled()},
    ],
)
def test_another_end_is_refused(harness: Harness, stubs: Stubs, other: dict[str, Any]) -> None:
    started = start(stubs)
    finish(stubs, started.token, result=as_json("1"))
    told = refused(
        lambda: finish(stubs, started.token, "late", **other), PRECONDITION, "STATE_CONFLICT"
    )
    assert (told["state"], told["run_id"]) == ("Completed", started.flow_run.id)
    assert told["advice"]
    assert lines_of(harness, started.flow_run.id) == []


def test_logs_of_a_number_are_stored_once(harness: Harness, stubs: Stubs) -> None:
    started = start(stubs)
    for _ in range(2):
        touch(stubs, started.token, "one", "two", number=1)
    touch(stubs, started.token, number=2)  # without logs, it takes no number
    touch(stubs, started.token, "three", number=2)
    touch(stubs, started.token, "five", number=5)  # calls between may have failed
    touch(stubs, started.token, "late", number=4)
    for _ in range(2):
        finish(stubs, started.token, "six", number=6)
    finish(stubs, started.token, "seven", number=7)
    assert lines_of(harness, started.flow_run.id) == ["one", "two", "three", "five", "six", "seven"]


def test_logs_without_a_number_are_stored_each_time(harness: Harness, stubs: Stubs) -> None:
    started = start(stubs)
    for _ in range(2):
        touch(stubs, started.token, "again")
    assert lines_of(harness, started.flow_run.id) == ["again", "again"]


def test_log_records_keep_what_the_caller_says(harness: Harness, stubs: Stubs) -> None:
    started = start(stubs)
    at = Timestamp(seconds=1_000_000_000)
    said = pb.RunLog(message="a\0b", level=log_pb2.LOG_LEVEL_ERROR, time=at, logger="tar")
    stubs.single_runs.TouchRun(
        pb.TouchRunRequest(token=started.token, logs=[said, pb.RunLog(message="now")])
    )
    first, second = logs(harness.channel, started.flow_run.id)
    assert (first.message, first.logger, first.attempt) == ("a␀b", "tar", 1)
    assert (first.level, first.time) == (log_pb2.LOG_LEVEL_ERROR, at)
    assert second.level == log_pb2.LOG_LEVEL_INFO
    assert abs(second.time.ToMicroseconds() - harness.clock.now_us()) < 60_000_000


# Leases.


@pytest.mark.parametrize(
    ("asked_s", "granted_s"), [(0, LEASE_S), (0.01, 1), (90, 90), (2 * HOUR_S, HOUR_S)]
)
def test_lease_is_the_nearest_one_allowed(stubs: Stubs, asked_s: float, granted_s: int) -> None:
    lease = Duration()
    lease.FromMicroseconds(round(asked_s * 1e6))
    started = start(stubs, lease=lease)
    assert started.lease.seconds == granted_s
    assert touch(stubs, started.token).lease.seconds == granted_s


def test_each_call_renews_the_lease(harness: Harness, stubs: Stubs) -> None:
    started = start(stubs, id=new_id(), lease=Duration(seconds=5))
    for _ in range(3):
        assert harness.pass_time(4) == []
        touch(stubs, started.token)
    assert harness.pass_time(4) == []
    start(stubs, id=started.flow_run.id)
    assert harness.pass_time(4) == []
    assert history(harness, started.flow_run.id) == ["Pending", "Running"]
    assert len(harness.pass_time(3)) == 1
    assert history(harness, started.flow_run.id) == ["Pending", "Running", "Crashed"]


def test_run_that_fell_silent_ends_as_it_says(harness: Harness, stubs: Stubs) -> None:
    started = start(stubs, lease=Duration(seconds=5))
    harness.pass_time(7)
    assert history(harness, started.flow_run.id)[-1] == "Crashed"
    ended = finish(stubs, started.token, "alive", result=as_json("1")).flow_run
    assert ended.state.name == "Completed"
    assert history(harness, started.flow_run.id) == ["Pending", "Running", "Crashed", "Completed"]
    assert lines_of(harness, started.flow_run.id) == ["alive"]


def test_run_that_fell_silent_goes_on_with_its_next_call(harness: Harness, stubs: Stubs) -> None:
    started = start(stubs, lease=Duration(seconds=5))
    harness.pass_time(7)
    assert not touch(stubs, started.token, "alive").cancel_requested
    assert get(stubs, started.flow_run.id).state.name == "Running"
    assert harness.pass_time(4) == []
    touch(stubs, started.token)
    assert len(harness.pass_time(7)) == 1  # and it can fall silent again
    names = ["Pending", "Running", "Crashed", "Running", "Crashed"]
    assert history(harness, started.flow_run.id) == names


def test_session_that_was_forgotten_is_made_anew(harness: Harness, stubs: Stubs) -> None:
    started = start(stubs, lease=Duration(seconds=5))
    harness.pass_time(7)
    session_id = get(stubs, started.flow_run.id).session_id

    class Forget:
        run_ids = ()
        weight = 1

        def __call__(self, uow: Any) -> int:
            return uow.sessions.delete([session_id], ended_before_us=uow.now_us + 1)

    assert harness.store.submit(Forget()).result(60) == 1
    touch(stubs, started.token)
    assert harness.session(session_id).secret_hash is not None
    assert finish(stubs, started.token).flow_run.state.name == "Completed"


# Cancellations.


def test_cancelled_run_is_told_and_confirms(harness: Harness, stubs: Stubs) -> None:
    started = start(stubs)
    run_id = started.flow_run.id
    answer = cancel(stubs, run_id, "disk is full")
    assert answer.asked_run_count == 1
    assert answer.flow_run.state.name == "Cancelling"
    for _ in range(2):
        touched = touch(stubs, started.token, "still here")
        assert (touched.cancel_requested, touched.cancel_reason) == (True, "disk is full")
    ended = finish(stubs, started.token, cancelled=pb.RunCancelled()).flow_run
    assert ended.state.name == "Cancelled"
    assert history(harness, run_id) == ["Pending", "Running", "Cancelling", "Cancelled"]


def test_cancelled_run_may_have_completed(stubs: Stubs) -> None:
    started = start(stubs)
    cancel(stubs, started.flow_run.id)
    assert finish(stubs, started.token).flow_run.state.name == "Completed"


def test_cancellation_outlives_silence(harness: Harness, stubs: Stubs) -> None:
    started = start(stubs, lease=Duration(seconds=5))
    cancel(stubs, started.flow_run.id, "enough")
    harness.pass_time(7)
    touched = touch(stubs, started.token)
    assert (touched.cancel_requested, touched.cancel_reason) == (True, "enough")
    finish(stubs, started.token, cancelled=pb.RunCancelled())
    names = ["Pending", "Running", "Cancelling", "Crashed", "Cancelling", "Cancelled"]
    assert history(harness, started.flow_run.id) == names


def test_run_whose_caller_was_cancelled_during_its_silence_is_told(
    harness: Harness, stubs: Stubs
) -> None:
    caller = start(stubs)
    child = start(stubs, run_context=caller.run_context, lease=Duration(seconds=5))
    harness.pass_time(7)
    cancel(stubs, caller.flow_run.id)
    assert touch(stubs, child.token).cancel_requested
    finish(stubs, child.token, cancelled=pb.RunCancelled())


def test_run_that_was_cancelled_without_its_process(harness: Harness, stubs: Stubs) -> None:
    started = start(stubs)
    request = flow_run_service_pb2.SetFlowRunStateRequest(
        id=started.flow_run.id, state=state_pb2.State(type=state_pb2.STATE_TYPE_CANCELLED)
    )
    stubs.flow_runs.SetFlowRunState(request)
    told = refused(lambda: touch(stubs, started.token), PRECONDITION, "STATE_CONFLICT")
    assert told["state"] == "Cancelled"
    refused(lambda: finish(stubs, started.token), PRECONDITION, "STATE_CONFLICT")
    ended = finish(stubs, started.token, "stopped", cancelled=pb.RunCancelled()).flow_run
    assert ended.state.name == "Cancelled"
    assert lines_of(harness, started.flow_run.id) == ["stopped"]


def test_cancel_of_a_tree_reaches_single_runs_below(harness: Harness, stubs: Stubs) -> None:
    stream, parent = reported_run(harness)
    child = start(stubs, run_context=context_of(parent))
    grandchild = start(stubs, headers={"flowspan-run": child.run_context})
    assert cancel(stubs, parent).asked_run_count == 3
    for each in (child, grandchild):
        assert touch(stubs, each.token).cancel_requested
        finish(stubs, each.token, cancelled=pb.RunCancelled())
    stream.break_off()


# Deletions.


def test_deleted_run_is_gone(stubs: Stubs) -> None:
    started = start(stubs, id=new_id())
    run_id = started.flow_run.id
    delete(stubs, run_id)
    for call in (touch, finish):
        told = refused(lambda call=call: call(stubs, started.token), NOT_FOUND, "NOT_FOUND")
        assert told["advice"]
    told = refused(lambda: start(stubs, id=run_id), PRECONDITION, "STATE_CONFLICT")
    assert told["run_id"] == run_id


def test_id_of_a_run_that_ended_and_was_deleted_begins_anew(harness: Harness, stubs: Stubs) -> None:
    run_id = new_id()
    started = start(stubs, id=run_id)
    touch(stubs, started.token, "first life", number=9)
    finish(stubs, started.token)
    delete(stubs, run_id)
    again = start(stubs, id=run_id)
    touch(stubs, again.token, "second life", number=1)
    assert lines_of(harness, run_id) == ["second life"]


# Clocks.


@pytest.mark.parametrize("step_s", [-HOUR_S, HOUR_S])
def test_wall_clock_of_the_service_may_step(harness: Harness, stubs: Stubs, step_s: int) -> None:
    started = start(stubs, lease=Duration(seconds=30))
    harness.clock.step(step_s)
    assert harness.pass_time(20) == []
    touch(stubs, started.token)
    run = finish(stubs, started.token).flow_run
    start_us, end_us = run.start_time.ToMicroseconds(), run.end_time.ToMicroseconds()
    assert run.create_time.ToMicroseconds() <= start_us <= end_us
    assert run.run_duration.ToMicroseconds() == end_us - start_us
