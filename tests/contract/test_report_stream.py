"""ReportService.Report, frame by frame."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import grpc
import pytest
from tests.support.harness import GRACE_S, LEASE_S, Stubs, error_info, refused
from tests.support.report_client import ReportStream, created, entered, new_id, state, whole_run
from tests.support.run_queries import flow_history

from flowspan.v1 import (
    flow_run_service_pb2,
    log_pb2,
    report_pb2,
    report_service_pb2,
    state_pb2,
    trace_pb2,
    verdict_pb2,
)
from flowspan_service.api import limits

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.support.harness import Harness

ABORT = verdict_pb2.VERDICT_KIND_ABORT
DUPLICATE = verdict_pb2.VERDICT_KIND_DUPLICATE
REJECTED = verdict_pb2.VERDICT_KIND_REJECTED


def log(run_id: str, message: str) -> report_pb2.Event:
    record = log_pb2.LogRecord(run_id=run_id, message=message, time=state("RUNNING").time)
    return report_pb2.Event(log=record)


def exchange(stubs: Stubs, *frames: report_service_pb2.ReportRequest) -> list[object]:
    """Send frames and half-close; return the responses."""
    return list(stubs.reports.Report(iter(frames)))


def hello(session_id: str) -> report_service_pb2.ReportRequest:
    return report_service_pb2.ReportRequest(hello=report_pb2.Hello(session_id=session_id))


def cancel(stubs: Stubs, run_id: str) -> verdict_pb2.Verdict:
    wanted = state_pb2.State(type=state_pb2.STATE_TYPE_CANCELLING, message="enough")
    request = flow_run_service_pb2.SetFlowRunStateRequest(id=run_id, state=wanted)
    return stubs.flow_runs.SetFlowRunState(request).verdict


def disconnected(harness: Harness, *, left: int = 0) -> None:
    """Wait until only `left` sessions are connected and the consequences are stored."""
    deadline = time.monotonic() + 60
    while harness.connected() > left:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    harness.wait_for_store()


def rules_of(verdicts: Iterable[verdict_pb2.Verdict]) -> list[tuple[int, str]]:
    return [(verdict.kind, verdict.rule) for verdict in verdicts]


def test_welcome_says_what_the_client_needs(harness: Harness) -> None:
    stream = ReportStream(harness.channel)
    welcome = stream.welcome
    stream.goodbye()
    assert welcome.resume_after == 0
    assert welcome.max_batch_bytes == 4 << 20
    assert welcome.max_unacked_events == limits.MAX_UNACKED_EVENTS
    assert welcome.lease.seconds == LEASE_S
    assert welcome.reconnect_grace.seconds == GRACE_S
    assert welcome.otlp_endpoint == "http://spans:4317"
    assert welcome.trace_url == "http://viewer/{trace_id}"
    assert welcome.otlp_target == trace_pb2.OtlpTarget(
        protocol="grpc", traces_url="http://spans:4317", logs_url="http://logs:4317"
    )
    assert welcome.server_version == "1.2.3"
    assert abs(welcome.server_time.seconds - time.time()) < 600


@pytest.mark.parametrize(("asked_s", "granted_s"), [(0, 30), (60, 60), (10_000_000, 3600)])
def test_lease_is_granted_within_bounds(harness: Harness, asked_s: int, granted_s: int) -> None:
    stream = ReportStream(harness.channel, lease={"seconds": asked_s})
    stream.goodbye()
    assert stream.welcome.lease.seconds == granted_s


def test_batches_are_acked_in_order_and_all_of_them(harness: Harness) -> None:
    stream = ReportStream(harness.channel)
    run_ids = [new_id() for _ in range(100)]
    for run_id in run_ids:
        stream.report(*whole_run(run_id))
    stream.wait_for_ack(300)
    stream.goodbye()
    assert stream.verdicts == []
    for run_id in run_ids[::33]:
        assert flow_history(harness.channel, run_id) == ["Pending", "Running", "Completed"]


def test_ack_comes_after_its_point(harness: Harness) -> None:
    stream = ReportStream(harness.channel)
    stream.wait_for_ack(stream.report(*whole_run(new_id())))
    stream.goodbye()
    assert "before_ack" in harness.points


def test_promise_exactly_once_when_batches_overlap(harness: Harness) -> None:
    run_id = new_id()
    events = whole_run(run_id)
    stream = ReportStream(harness.channel)
    stream.wait_for_ack(stream.report(*events[:2]))
    stream.break_off()
    again = ReportStream(harness.channel, session_id=stream.session_id)
    assert again.welcome.resume_after == 2
    again.next_sequence = 1
    again.wait_for_ack(again.report(*events))
    again.goodbye()
    assert again.verdicts == []
    assert flow_history(harness.channel, run_id) == ["Pending", "Running", "Completed"]


def test_gap_ends_the_stream_and_applies_nothing(harness: Harness, stubs: Stubs) -> None:
    run_id = new_id()
    stream = ReportStream(harness.channel)
    stream.next_sequence = 2
    stream.report(*whole_run(run_id))
    metadata = refused(
        lambda: stream.receive("ack"), grpc.StatusCode.INVALID_ARGUMENT, "BAD_SEQUENCE"
    )
    assert metadata["expected"] == "1"
    assert metadata["advice"]
    assert not stubs.flow_runs.ListFlowRuns(flow_run_service_pb2.ListFlowRunsRequest()).flow_runs


def test_malformed_event_names_its_sequence_and_applies_nothing(
    harness: Harness, stubs: Stubs
) -> None:
    stream = ReportStream(harness.channel)
    stream.wait_for_ack(stream.report(*whole_run(new_id())))
    bad = entered("NOT-AN-ID", "RUNNING")
    stream.report(created(new_id()), bad)
    metadata = refused(
        lambda: stream.receive("ack"), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"
    )
    assert metadata["sequence"] == "5"
    assert metadata["field"] == "run_id"
    listed = stubs.flow_runs.ListFlowRuns(flow_run_service_pb2.ListFlowRunsRequest())
    assert len(listed.flow_runs) == 1


def test_what_came_before_a_malformed_batch_is_acked(harness: Harness) -> None:
    stream = ReportStream(harness.channel)
    stream.report(*whole_run(new_id()))
    stream.report(entered("", "RUNNING"))
    stream.wait_for_ack(3)
    refused(lambda: stream.receive("ack"), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")


def test_first_frame_must_be_hello(stubs: Stubs) -> None:
    frame = report_service_pb2.ReportRequest(heartbeat=report_pb2.Heartbeat())
    refused(lambda: exchange(stubs, frame), grpc.StatusCode.INVALID_ARGUMENT, "BAD_SEQUENCE")
    refused(lambda: exchange(stubs), grpc.StatusCode.INVALID_ARGUMENT, "BAD_SEQUENCE")


def test_second_hello_is_refused(stubs: Stubs) -> None:
    frame = hello(new_id())
    refused(lambda: exchange(stubs, frame, frame), grpc.StatusCode.INVALID_ARGUMENT, "BAD_SEQUENCE")


def test_empty_frame_is_refused(stubs: Stubs) -> None:
    frames = hello(new_id()), report_service_pb2.ReportRequest()
    refused(lambda: exchange(stubs, *frames), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")


def test_oversized_batch_is_refused(stubs: Stubs) -> None:
    events = [log(new_id(), "x" * 200_000) for _ in range(25)]
    batch = report_pb2.Batch(first_sequence=1, events=events)
    frames = hello(new_id()), report_service_pb2.ReportRequest(batch=batch)
    refused(lambda: exchange(stubs, *frames), grpc.StatusCode.INVALID_ARGUMENT, "TOO_LARGE")


def test_batch_of_too_many_events_is_refused(stubs: Stubs) -> None:
    events = [report_pb2.Event()] * (limits.MAX_UNACKED_EVENTS + 1)
    batch = report_pb2.Batch(first_sequence=1, events=events)
    frames = hello(new_id()), report_service_pb2.ReportRequest(batch=batch)
    refused(lambda: exchange(stubs, *frames), grpc.StatusCode.INVALID_ARGUMENT, "TOO_LARGE")


def test_more_than_the_window_is_taken_slowly_but_wholly(harness: Harness) -> None:
    stream = ReportStream(harness.channel)
    run_id = new_id()
    stream.report(created(run_id), entered(run_id, "RUNNING"))
    line = log(run_id, "x")
    for _ in range(5):
        last = stream.report(*[line] * (limits.MAX_UNACKED_EVENTS // 2))
    last = stream.report(entered(run_id, "COMPLETED"))
    stream.wait_for_ack(last)
    stream.goodbye()
    assert stream.verdicts == []


def test_verdicts_name_what_was_not_accepted(harness: Harness) -> None:
    run_id, unknown, other = new_id(), new_id(), new_id()
    stream = ReportStream(harness.channel)
    last = stream.report(
        created(run_id),
        created(run_id),
        created(other, parent_run_id=run_id, function_name="another", kind="TASK"),
        entered(unknown, "RUNNING"),
        log(unknown, "nobody's"),
        created(new_id(), state=state("RUNNING")),
        entered(run_id, "COMPLETED"),
        entered(run_id, "RUNNING"),
        entered(run_id, "RUNNING", attempt=3),
    )
    stream.wait_for_ack(last)
    stream.goodbye()
    assert rules_of(stream.verdicts) == [
        (DUPLICATE, "creation_agrees"),
        (REJECTED, "run_is_known"),
        (REJECTED, "run_is_known"),
        (REJECTED, "starts_scheduled_or_pending"),
        (REJECTED, "terminal_is_final"),
        (REJECTED, "newer_attempt_starts_fresh"),
    ]
    assert [verdict.sequence for verdict in stream.verdicts] == [2, 4, 5, 6, 8, 9]
    final = stream.verdicts[4]
    assert final.run_id == run_id
    assert final.reason
    assert final.current_state.name == "Completed"
    assert final.current_attempt == 1
    assert not stream.verdicts[1].HasField("current_state")


def test_many_verdicts_come_in_several_acks(harness: Harness) -> None:
    stream = ReportStream(harness.channel)
    run_id = new_id()
    stream.report(created(run_id), entered(run_id, "FAILED", message="m" * 30_000))
    stream.wait_for_ack(stream.report(*[entered(run_id, "RUNNING")] * 200))
    stream.goodbye()
    assert len(stream.verdicts) == 200
    assert [verdict.sequence for verdict in stream.verdicts] == list(range(3, 203))


def test_goodbye_crashes_what_was_left_open(harness: Harness) -> None:
    parent, child = new_id(), new_id()
    stream = ReportStream(harness.channel, hostname="box", process_id=77)
    stream.report(
        created(parent),
        entered(parent, "RUNNING"),
        created(child, parent_run_id=parent, root_run_id=parent),
    )
    stream.goodbye()
    assert flow_history(harness.channel, parent) == ["Pending", "Running", "Crashed"]
    assert flow_history(harness.channel, child) == ["Pending", "Crashed"]


def test_goodbye_comes_after_all_acks(harness: Harness) -> None:
    stream = ReportStream(harness.channel)
    last = stream.report(*whole_run(new_id()))
    stream.send(goodbye=report_pb2.Goodbye())
    stream.wait_for_ack(last)
    assert list(stream.call) == []
    assert stream.call.code() is grpc.StatusCode.OK


def test_second_connection_takes_the_session_over(harness: Harness) -> None:
    run_id = new_id()
    first = ReportStream(harness.channel)
    first.wait_for_ack(first.report(created(run_id)))
    second = ReportStream(harness.new_channel(), session_id=first.session_id)
    assert second.welcome.resume_after == 1
    refused(lambda: first.receive("ack"), grpc.StatusCode.ABORTED, "SESSION_TAKEN_OVER")
    second.report(entered(run_id, "RUNNING"), entered(run_id, "COMPLETED"))
    second.goodbye()
    assert flow_history(harness.channel, run_id) == ["Pending", "Running", "Completed"]


def test_taken_over_connection_does_not_shorten_the_lease(harness: Harness) -> None:
    first = ReportStream(harness.channel)
    second = ReportStream(harness.new_channel(), session_id=first.session_id)
    refused(lambda: first.receive("ack"), grpc.StatusCode.ABORTED, "SESSION_TAKEN_OVER")
    assert harness.pass_time(GRACE_S + 1) == []
    second.goodbye()


def test_broken_connection_has_the_grace(harness: Harness) -> None:
    run_id = new_id()
    stream = ReportStream(harness.channel)
    stream.wait_for_ack(stream.report(created(run_id)))
    stream.break_off()
    disconnected(harness)
    assert harness.pass_time(GRACE_S - 2) == []
    assert harness.pass_time(3) == [stream.session_id]
    assert flow_history(harness.channel, run_id) == ["Pending", "Crashed"]


def test_reconnecting_within_the_grace_goes_on(harness: Harness) -> None:
    run_id = new_id()
    stream = ReportStream(harness.channel)
    stream.wait_for_ack(stream.report(created(run_id)))
    stream.break_off()
    disconnected(harness)
    assert harness.pass_time(GRACE_S - 2) == []
    again = ReportStream(harness.channel, session_id=stream.session_id)
    assert harness.pass_time(LEASE_S - 2) == []
    again.report(entered(run_id, "RUNNING"), entered(run_id, "COMPLETED"))
    again.goodbye()


def test_silence_runs_out_the_lease_and_is_overruled(harness: Harness) -> None:
    run_id = new_id()
    stream = ReportStream(harness.channel)
    stream.wait_for_ack(stream.report(created(run_id), entered(run_id, "RUNNING")))
    assert harness.pass_time(LEASE_S + 1) == [stream.session_id]
    assert flow_history(harness.channel, run_id) == ["Pending", "Running", "Crashed"]
    stream.wait_for_ack(stream.report(entered(run_id, "COMPLETED")))
    assert stream.verdicts == []
    assert harness.pass_time(LEASE_S - 1) == []
    stream.goodbye()
    assert flow_history(harness.channel, run_id) == [
        "Pending",
        "Running",
        "Crashed",
        "Completed",
    ]


def test_heartbeat_renews_the_lease(harness: Harness) -> None:
    stream = ReportStream(harness.channel)
    for _ in range(4):
        assert harness.pass_time(LEASE_S / 3) == []
        stream.send(heartbeat=report_pb2.Heartbeat())
        # An ack of a batch shows that the heartbeat before it was processed.
        stream.wait_for_ack(stream.report(created(new_id())))
    stream.goodbye()


def test_restarted_service_gives_all_sessions_a_lease(harness: Harness) -> None:
    stream = ReportStream(harness.channel)
    stream.wait_for_ack(stream.report(created(new_id())))
    stream.break_off()
    disconnected(harness)
    assert harness.pass_time(GRACE_S / 2) == []
    harness.clock.advance(100 * LEASE_S)
    harness.restart_reaper()
    assert harness.pass_time(LEASE_S - 2) == []
    assert harness.pass_time(3) == [stream.session_id]


@pytest.mark.parametrize("hours", [-5, 5])
def test_step_of_the_wall_clock_does_not_matter(harness: Harness, hours: int) -> None:
    alive, dead = ReportStream(harness.channel), ReportStream(harness.channel)
    dead.break_off()
    disconnected(harness, left=1)
    thin = report_pb2.Hello(session_id=new_id())
    batch = report_service_pb2.ReportBatchRequest(hello=thin)
    Stubs(harness.channel).reports.ReportBatch(batch)
    assert harness.pass_time(GRACE_S / 2) == []
    harness.clock.step(hours * 3600)
    assert harness.pass_time(GRACE_S / 2 - 1) == []
    assert harness.pass_time(2) == [dead.session_id]
    alive.send(heartbeat=report_pb2.Heartbeat())
    alive.wait_for_ack(alive.report(created(new_id())))
    harness.clock.step(-hours * 3600)
    assert harness.pass_time(LEASE_S - GRACE_S - 2) == []
    assert harness.pass_time(2) == [thin.session_id]
    alive.goodbye()


def test_cancel_reaches_the_session(harness: Harness, stubs: Stubs) -> None:
    run_id = new_id()
    stream = ReportStream(harness.channel)
    stream.wait_for_ack(stream.report(created(run_id), entered(run_id, "RUNNING")))
    verdict = cancel(stubs, run_id)
    assert verdict.kind == verdict_pb2.VERDICT_KIND_ACCEPTED
    assert verdict.current_state.name == "Cancelling"
    command = stream.receive("command")
    assert command.id
    assert command.cancel_run.run_id == run_id
    assert command.cancel_run.reason == "enough"
    # Further progress reports are rejected; only its end counts.
    last = stream.report(entered(run_id, "RUNNING"), entered(run_id, "CANCELLED"))
    stream.wait_for_ack(last)
    stream.goodbye()
    assert rules_of(stream.verdicts) == [(REJECTED, "cancelling_only_ends")]
    assert flow_history(harness.channel, run_id) == [
        "Pending",
        "Running",
        "Cancelling",
        "Cancelled",
    ]


def test_cancel_is_repeated_after_a_reconnect_until_confirmed(
    harness: Harness, stubs: Stubs
) -> None:
    run_id = new_id()
    stream = ReportStream(harness.channel)
    stream.wait_for_ack(stream.report(created(run_id), entered(run_id, "RUNNING")))
    stream.break_off()
    disconnected(harness)
    assert cancel(stubs, run_id).current_state.name == "Cancelling"
    for _ in range(2):
        again = ReportStream(harness.channel, session_id=stream.session_id)
        assert again.receive("command").cancel_run.run_id == run_id
        again.break_off()
        disconnected(harness)
    again = ReportStream(harness.channel, session_id=stream.session_id)
    again.receive("command")
    again.wait_for_ack(again.report(entered(run_id, "CANCELLED")))
    again.break_off()
    disconnected(harness)
    last = ReportStream(harness.channel, session_id=stream.session_id)
    last.goodbye()  # This asserts that no command arrives.


def test_deleted_run_is_aborted(harness: Harness, stubs: Stubs) -> None:
    run_id, child = new_id(), new_id()
    stream = ReportStream(harness.channel)
    stream.wait_for_ack(stream.report(created(run_id), entered(run_id, "RUNNING")))
    request = flow_run_service_pb2.DeleteFlowRunRequest(id=run_id)
    metadata = refused(
        lambda: stubs.flow_runs.DeleteFlowRun(request),
        grpc.StatusCode.FAILED_PRECONDITION,
        "STATE_CONFLICT",
    )
    assert metadata["run_id"] == run_id
    request.force = True
    assert stubs.flow_runs.DeleteFlowRun(request).deleted_run_count == 1
    last = stream.report(
        entered(run_id, "COMPLETED"),
        log(run_id, "still here"),
        created(child, parent_run_id=run_id, root_run_id=run_id),
    )
    stream.wait_for_ack(last)
    stream.goodbye()
    assert rules_of(stream.verdicts) == [(ABORT, "run_was_deleted")] * 3


def test_stopping_acks_what_was_taken_and_says_so(harness: Harness) -> None:
    stream = ReportStream(harness.channel)
    last = stream.report(*whole_run(new_id()))
    stream.wait_for_ack(last)
    stopping = threading.Thread(target=harness.stop_server)
    stopping.start()
    assert stream.receive("command").HasField("drain")
    refused(lambda: stream.receive("ack"), grpc.StatusCode.UNAVAILABLE, "STOPPING")
    stopping.join()
    # The service's shutdown does not count as a broken connection.
    assert harness.session(stream.session_id).silence_us == LEASE_S * 1e6


def test_session_of_another_service_process_takes_over(harness: Harness) -> None:
    """Another process on the same database cannot abort this stream; its next frame does."""
    stream = ReportStream(harness.channel)
    stream.wait_for_ack(stream.report(created(new_id())))
    harness.open_session(stream.session_id, connection_id="elsewhere")
    stream.report(created(new_id()))
    with pytest.raises(grpc.RpcError) as caught:
        stream.receive("ack")
    assert caught.value.code() is grpc.StatusCode.ABORTED
    assert error_info(caught.value).reason == "SESSION_TAKEN_OVER"


def test_flood_of_logs_is_held_back_and_taken_wholly(harness: Harness) -> None:
    """The bytes of pending commits are bounded as well."""
    run_id = new_id()
    stream = ReportStream(harness.channel)
    stream.report(created(run_id), entered(run_id, "RUNNING"))
    line = log(run_id, "x" * (256 << 10))
    most = 0
    for _ in range(20):
        last = stream.report(*[line] * 15)
        most = max(most, harness.backend.activity.queued_bytes)
    last = stream.report(entered(run_id, "COMPLETED"))
    stream.wait_for_ack(last)
    stream.goodbye()
    assert stream.verdicts == []
    assert most <= limits.MAX_UNACKED
    assert harness.backend.activity.queued_bytes == 0


def test_overload_holds_streams_and_refuses_batches(harness: Harness, stubs: Stubs) -> None:
    stream = ReportStream(harness.channel)
    harness.backend.activity.queued_bytes = limits.MAX_QUEUED + 1
    last = stream.report(*whole_run(new_id()))
    batch = report_service_pb2.ReportBatchRequest(hello=report_pb2.Hello(session_id=new_id()))
    refused(
        lambda: stubs.reports.ReportBatch(batch),
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "OVERLOADED",
    )
    assert harness.session(stream.session_id).last_sequence == 0
    harness.backend.activity.queued_bytes = 0
    stream.wait_for_ack(last)
    stream.goodbye()
