"""SingleRunService: one run, reported with a few calls."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from tests.support.harness import refused
from tests.support.report_client import ReportStream, created, entered, new_id
from tests.support.run_queries import flow_history, logs

from flowspan.v1 import (
    failure_pb2,
    flow_run_pb2,
    flow_run_service_pb2,
    label_service_pb2,
    log_pb2,
    payload_pb2,
    report_pb2,
    report_service_pb2,
    state_pb2,
    transition_pb2,
    watch_service_pb2,
)
from flowspan.v1 import single_run_service_pb2 as pb
from flowspan_service.api import limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.harness import Harness, Stubs

INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
EXISTS = grpc.StatusCode.ALREADY_EXISTS
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
DENIED = grpc.StatusCode.PERMISSION_DENIED
LEASE_S = 900
HOUR_S = 3600
SPAN = f"00-{'a' * 32}-{'b' * 16}-01"


def start(stubs: Stubs, *, headers: dict[str, str] | None = None, **fields: Any) -> Any:
    request = pb.StartRunRequest(**{"flow_name": "nightly", **fields})
    return stubs.single_runs.StartRun(request, metadata=tuple((headers or {}).items()))


def touch(stubs: Stubs, token: str, *lines: str, **fields: Any) -> Any:
    records = [pb.RunLog(message=line) for line in lines]
    return stubs.single_runs.TouchRun(pb.TouchRunRequest(token=token, logs=records, **fields))


def finish(stubs: Stubs, token: str, *lines: str, **fields: Any) -> Any:
    records = [pb.RunLog(message=line) for line in lines]
    return stubs.single_runs.FinishRun(pb.FinishRunRequest(token=token, logs=records, **fields))


def get(stubs: Stubs, run_id: str) -> flow_run_pb2.FlowRun:
    return stubs.flow_runs.GetFlowRun(flow_run_service_pb2.GetFlowRunRequest(id=run_id)).flow_run


def cancel(stubs: Stubs, run_id: str, reason: str = "enough") -> Any:
    request = flow_run_service_pb2.CancelFlowRunRequest(id=run_id, reason=reason)
    return stubs.flow_runs.CancelFlowRun(request)


def delete(stubs: Stubs, run_id: str) -> None:
    request = flow_run_service_pb2.DeleteFlowRunRequest(id=run_id, force=True)
    stubs.flow_runs.DeleteFlowRun(request)


def lines_of(harness: Harness, run_id: str) -> list[str]:
    return [record.message for record in logs(harness.channel, run_id)]


def history(harness: Harness, run_id: str) -> list[str]:
    return flow_history(harness.channel, run_id)


def as_json(text: str) -> payload_pb2.Payload:
    return payload_pb2.Payload(encoding="json", text=text)


def context_of(run_id: str) -> str:
    return f"r:{run_id.replace('-', '')}"


def reported_run(harness: Harness, **fields: Any) -> tuple[ReportStream, str]:
    """Return a connected session, and its running flow run."""
    stream, run_id = ReportStream(harness.channel), new_id()
    stream.wait_for_ack(stream.report(created(run_id, **fields), entered(run_id, "RUNNING")))
    return stream, run_id


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


# The caller.


def test_caller_in_the_request_or_a_header(harness: Harness, stubs: Stubs) -> None:
    stream, root = reported_run(harness)
    named = context_of(root)
    for fields in (
        {"run_context": named},
        {"headers": {"flowspan-run": named}},
        {"headers": {"tracestate": f"vendor=x, flowspan={named}"}},
        {"run_context": named, "headers": {"flowspan-run": context_of(new_id())}},
        {"headers": {"flowspan-run": named, "tracestate": f"flowspan={context_of(new_id())}"}},
    ):
        started = start(stubs, **fields)
        run = started.flow_run
        assert (run.parent_run_id, run.root_run_id) == (root, root)
        assert started.run_context == f"{context_of(run.id)};t:{root.replace('-', '')}"
        finish(stubs, started.token)
    stream.break_off()


def test_caller_that_arrives_later(harness: Harness, stubs: Stubs) -> None:
    root, parent = new_id(), new_id()
    context = f"{context_of(parent)};t:{root.replace('-', '')}"
    started = start(stubs, run_context=context)
    assert started.flow_run.root_run_id == root
    stream, known = reported_run(harness)
    stream.wait_for_ack(stream.report(created(parent, parent_run_id=known)))
    run = get(stubs, started.flow_run.id)
    assert (run.parent_run_id, run.root_run_id) == (parent, known)
    finish(stubs, started.token)
    stream.break_off()


def test_caller_that_is_cancelled_or_deleted_is_refused(harness: Harness, stubs: Stubs) -> None:
    stream, parent = reported_run(harness)
    cancel(stubs, parent)

    def below() -> None:
        start(stubs, run_context=context_of(parent))

    told = refused(below, PRECONDITION, "STATE_CONFLICT")
    assert told["run_id"] == parent
    assert "FLOWSPAN_RUN" in told["advice"]
    delete(stubs, parent)
    told = refused(below, PRECONDITION, "STATE_CONFLICT")
    assert told["run_id"] == parent
    stream.break_off()


@pytest.mark.parametrize("text", ["x", "r:12", "r:" + "0" * 32, "r:" + "z" * 600])
def test_malformed_run_context_is_refused(stubs: Stubs, text: str) -> None:
    told = refused(lambda: start(stubs, run_context=text), INVALID, "INVALID_FIELD")
    assert told["field"] == "run_context"
    told = refused(lambda: start(stubs, headers={"flowspan-run": text}), INVALID, "INVALID_FIELD")
    assert told["field"] == "flowspan-run"


def test_run_context_of_the_run_itself_is_refused(stubs: Stubs) -> None:
    run_id = new_id()
    refused(
        lambda: start(stubs, id=run_id, run_context=context_of(run_id)), INVALID, "INVALID_FIELD"
    )


# Traces.


def test_run_without_a_caller_begins_a_trace(stubs: Stubs) -> None:
    started = start(stubs)
    digits = started.flow_run.id.replace("-", "")
    assert started.traceparent == f"00-{digits}-{digits[16:]}-03"
    assert started.flow_run.trace.traceparent == started.traceparent
    assert started.flow_run.trace.exported_by_service
    assert started.flow_run.trace.parent_span_id == ""


@pytest.mark.parametrize("carrier", ["field", "header"])
def test_run_below_a_span(stubs: Stubs, carrier: str) -> None:
    headers = {"traceparent": SPAN, "tracestate": "a=b,flowspan=r:0199c0de000070008000000000000001"}
    by_field = carrier == "field"
    started = start(stubs, traceparent=SPAN) if by_field else start(stubs, headers=headers)
    trace = started.flow_run.trace
    span_id = started.flow_run.id.replace("-", "")[16:]
    assert started.traceparent == trace.traceparent == f"00-{'a' * 32}-{span_id}-01"
    assert trace.parent_span_id == "b" * 16
    assert trace.tracestate == ("" if by_field else "a=b")
    assert trace.exported_by_service
    assert get(stubs, started.flow_run.id).trace == trace


def test_traceparent_in_the_request_comes_first(stubs: Stubs) -> None:
    started = start(stubs, traceparent=SPAN, headers={"traceparent": SPAN.replace("a", "c")})
    assert started.traceparent.startswith(f"00-{'a' * 32}-")


def test_run_joins_the_trace_of_its_caller(harness: Harness, stubs: Stubs) -> None:
    stream, parent = reported_run(harness, trace={"traceparent": SPAN, "tracestate": "v=1"})
    started = start(stubs, run_context=context_of(parent))
    trace = started.flow_run.trace
    assert trace.traceparent.startswith(f"00-{'a' * 32}-")
    assert (trace.parent_span_id, trace.tracestate) == ("b" * 16, "v=1")
    # A span between the two is the parent.
    between = SPAN.replace("b", "d")
    started = start(stubs, run_context=context_of(parent), traceparent=between)
    assert started.flow_run.trace.parent_span_id == "d" * 16
    stream.break_off()


BAD_SPANS = [
    "x",
    f"00-{'0' * 32}-{'b' * 16}-01",
    f"00-{'a' * 32}-{'0' * 16}-01",
    f"ff-{'a' * 32}-{'b' * 16}-01",
    f"00-{'A' * 32}-{'b' * 16}-01",
    f"{SPAN}-more",
]


@pytest.mark.parametrize("text", BAD_SPANS)
def test_malformed_traceparent(stubs: Stubs, text: str) -> None:
    told = refused(lambda: start(stubs, traceparent=text), INVALID, "INVALID_FIELD")
    assert told["field"] == "traceparent"
    # That of a header is ignored, as the standard says.
    started = start(stubs, headers={"traceparent": text})
    assert started.flow_run.trace.parent_span_id == ""


def test_traceparent_of_a_later_version(stubs: Stubs) -> None:
    started = start(stubs, traceparent=SPAN.replace("00-", "01-", 1) + "-more")
    assert started.traceparent.startswith(f"00-{'a' * 32}-")


# Tokens.


def test_token_of_another_run_says_nothing_about_this_one(harness: Harness, stubs: Stubs) -> None:
    one, two = start(stubs), start(stubs)
    touch(stubs, two.token, "mine")
    finish(stubs, two.token)
    assert history(harness, one.flow_run.id) == ["Pending", "Running"]
    assert lines_of(harness, one.flow_run.id) == []
    # The token of one run with the id of the other is no token.
    mixed = bytearray(base64.urlsafe_b64decode(one.token + "=" * (-len(one.token) % 4)))
    other = base64.urlsafe_b64decode(two.token + "=" * (-len(two.token) % 4))
    mixed[7:23] = other[7:23]
    forged = base64.urlsafe_b64encode(bytes(mixed)).decode().rstrip("=")
    for call in (touch, finish):
        refused(lambda call=call: call(stubs, forged), DENIED, "WRONG_SECRET")


GARBAGE: dict[str, Callable[[str], str]] = {
    "cut": lambda token: token[:-1],
    "longer": lambda token: token + "A",
    "changed": lambda token: token.swapcase(),
    "zeros": lambda token: "A" * len(token),
    "with a line feed": lambda token: token + "\n",
    "with a space": lambda token: f" {token}",
    "Unicode": lambda _: "ü🐟",
    "long": lambda _: "-" * 5000,
    "NUL": lambda _: "\0",
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_is_no_token(harness: Harness, stubs: Stubs, kind: str) -> None:
    started = start(stubs)
    garbage = GARBAGE[kind](started.token)
    for call in (touch, finish):
        told = refused(lambda call=call: call(stubs, garbage, "x"), DENIED, "WRONG_SECRET")
        assert told["advice"]
        assert garbage not in str(dict(told))
    assert history(harness, started.flow_run.id) == ["Pending", "Running"]


def test_nobody_else_can_speak_for_the_session(harness: Harness, stubs: Stubs) -> None:
    started = start(stubs)
    session_id = started.flow_run.session_id
    for secret in (b"", b"s" * 16):
        hello = report_pb2.Hello(session_id=session_id, secret=secret)
        request = report_service_pb2.ReportBatchRequest(hello=hello, goodbye=True)
        refused(lambda request=request: stubs.reports.ReportBatch(request), DENIED, "WRONG_SECRET")
    assert history(harness, started.flow_run.id) == ["Pending", "Running"]


def test_another_session_cannot_report_the_run_but_a_later_one_can(
    harness: Harness, stubs: Stubs
) -> None:
    started = start(stubs, lease=Duration(seconds=5))
    run_id = started.flow_run.id
    stream = ReportStream(harness.channel)
    stream.wait_for_ack(stream.report(entered(run_id, "FAILED")))
    assert [each.rule for each in stream.verdicts] == ["another_session_has_it"]
    harness.pass_time(7)
    stream = ReportStream(harness.channel)
    stream.wait_for_ack(stream.report(entered(run_id, "RUNNING")))
    for call in (touch, finish):
        told = refused(lambda call=call: call(stubs, started.token), PRECONDITION, "STATE_CONFLICT")
        assert told["run_id"] == run_id
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


# Limits.


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"flow_name": ""}, "flow_name"),
        ({"flow_name": "a\0"}, "flow_name"),
        ({"id": "7"}, "id"),
        ({"id": "0f8fad5b-d9cb-469f-a165-70867728950e"}, "id"),
        ({"run_name": "a\0"}, "run_name"),
        ({"parameters": as_json("[1]")}, "parameters"),
        ({"parameters": as_json("{")}, "parameters.text"),
        ({"parameters": payload_pb2.Payload(encoding="json")}, "parameters.data"),
        ({"parameters": payload_pb2.Payload(encoding="pickle", data=b"{}")}, "parameters.encoding"),
        ({"tags": [""]}, "tags"),
        ({"lease": Duration(seconds=-1)}, "lease"),
        ({"version": "\0"}, "version"),
        ({"description": "\0"}, "description"),
        ({"labels": {"NOT A KEY": "x"}}, "labels"),
        ({"code": {"line": -1}}, "code.line"),
        ({"resource": {"": "x"}}, "resource (a key)"),
    ],
)
def test_invalid_start(stubs: Stubs, fields: dict[str, Any], field: str) -> None:
    told = refused(lambda: start(stubs, **fields), INVALID, "INVALID_FIELD")
    assert told["field"] == field
    assert stubs.flow_runs.ListFlowRuns(flow_run_service_pb2.ListFlowRunsRequest()).flow_runs == []


@pytest.mark.parametrize(
    "fields",
    [
        {"flow_name": "ü" * 129},
        {"run_name": "x" * 257},
        {"parameters": as_json('{"x": "' + "y" * limits.PARAMETERS + '"}')},
        {"tags": ["t"] * 65},
        {"version": "x" * 257},
        {"description": "x" * 4097},
        {"labels": {f"key{number}": "x" for number in range(65)}},
        {"resource": {f"key{number}": "x" for number in range(65)}},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_start_that_is_too_large(stubs: Stubs, fields: dict[str, Any]) -> None:
    told = refused(lambda: start(stubs, **fields), INVALID, "TOO_LARGE")
    assert told["field"].startswith(next(iter(fields)))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"number": -1}, "number"),
        ({"logs": [pb.RunLog()]}, "logs[0].message"),
        ({"logs": [pb.RunLog(message="x"), pb.RunLog(message="x", logger="\0")]}, "logs[1].logger"),
        ({"logs": [pb.RunLog(message="x", level=-1)]}, "logs[0].level"),  # type: ignore[arg-type] # any number
        ({"logs": [pb.RunLog(message="x", time=Timestamp(seconds=-1))]}, "logs[0].time"),
    ],
)
def test_invalid_touch(harness: Harness, stubs: Stubs, fields: dict[str, Any], field: str) -> None:
    started = start(stubs)
    for request, call in (
        (pb.TouchRunRequest, stubs.single_runs.TouchRun),
        (pb.FinishRunRequest, stubs.single_runs.FinishRun),
    ):
        made = request(token=started.token, **fields)
        told = refused(lambda call=call, made=made: call(made), INVALID, "INVALID_FIELD")
        assert told["field"] == field
    assert refused(lambda: touch(stubs, ""), INVALID, "INVALID_FIELD")["field"] == "token"
    assert history(harness, started.flow_run.id) == ["Pending", "Running"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"message": "a\0"}, "message"),
        ({"result": as_json("NaN")}, "result.text"),
        ({"failure": failure_pb2.Failure(type="E", message="\0")}, "failure.message"),
    ],
)
def test_invalid_finish(stubs: Stubs, fields: dict[str, Any], field: str) -> None:
    started = start(stubs)
    told = refused(lambda: finish(stubs, started.token, **fields), INVALID, "INVALID_FIELD")
    assert told["field"] == field
    assert get(stubs, started.flow_run.id).state.name == "Running"


@pytest.mark.parametrize(
    "lines",
    [
        ["x" * 1_000_000],  # one line: its caller divides it
        ["x" * (limits.LOG_MESSAGE + 1)],
        ["ü" * limits.LOG_MESSAGE],
        ["x"] * (limits.RUN_LOGS + 1),
        ["x" * limits.LOG_MESSAGE] * 4 + ["x"],
    ],
    ids=["a line of 1 MB", "a byte too much", "bytes and not characters", "lines", "all together"],
)
def test_logs_that_are_too_large(harness: Harness, stubs: Stubs, lines: list[str]) -> None:
    started = start(stubs)
    for call in (touch, finish):
        told = refused(lambda call=call: call(stubs, started.token, *lines), INVALID, "TOO_LARGE")
        assert told["field"].startswith("logs")
        assert "several" in told["advice"]
    assert lines_of(harness, started.flow_run.id) == []


def test_largest_calls_are_accepted(harness: Harness, stubs: Stubs) -> None:
    started = start(
        stubs,
        parameters=as_json('{"x":"' + "y" * (limits.PARAMETERS - 8) + '"}'),
        description="d" * limits.RUN_DESCRIPTION,
        tags=[f"{number:0256}" for number in range(limits.TAG_COUNT)],
        labels={f"{number:064}": "x" * 256 for number in range(limits.LABEL_COUNT)},
        resource={f"{number:0256}": "x" * 1024 for number in range(limits.RESOURCE_COUNT)},
    )
    line = "x" * (limits.RUN_LOGS_BYTES // limits.RUN_LOGS)
    records = [pb.RunLog(message=line, logger="l" * 256)] * limits.RUN_LOGS
    stubs.single_runs.TouchRun(pb.TouchRunRequest(token=started.token, logs=records))
    result = as_json('"' + "y" * (limits.PAYLOAD - 2) + '"')
    request = pb.FinishRunRequest(token=started.token, logs=records, result=result)
    assert stubs.single_runs.FinishRun(request).flow_run.state.name == "Completed"
    assert lines_of(harness, started.flow_run.id) == [line] * 2 * limits.RUN_LOGS
