"""Promise 11: a client that is one minor version older or newer works.

A newer client is simulated with fields and enum values that this service's protos do not have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.report_client import ReportStream, created, entered, new_id, whole_run
from tests.support.run_queries import flow_history

from flowspan.v1 import (
    flow_run_service_pb2,
    log_pb2,
    log_service_pb2,
    report_pb2,
    report_service_pb2,
    verdict_pb2,
    watch_service_pb2,
)

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from tests.support.harness import Harness, Stubs

# Field 1000, a string: "new".
UNKNOWN_FIELD = b"\xc2\x3e\x03new"
REJECTED = verdict_pb2.VERDICT_KIND_REJECTED


def from_the_future(message: Message) -> None:
    """Add an unknown field."""
    message.MergeFromString(UNKNOWN_FIELD)


def test_promise_old_and_new_fields_are_ignored(harness: Harness, stubs: Stubs) -> None:
    run_id = new_id()
    events = whole_run(run_id)
    for event in events:
        from_the_future(event)
        which = getattr(event, str(event.WhichOneof("event")))
        from_the_future(which)
        from_the_future(which.state)
        from_the_future(which.state.time)
    stream = ReportStream(harness.channel, capabilities=["teleport"])
    stream.wait_for_ack(stream.report(*events))
    stream.goodbye()
    assert stream.verdicts == []
    assert flow_history(harness.channel, run_id) == ["Pending", "Running", "Completed"]

    request = flow_run_service_pb2.GetFlowRunRequest(id=run_id)
    from_the_future(request)
    assert stubs.flow_runs.GetFlowRun(request).flow_run.id == run_id
    watch = watch_service_pb2.WatchRequest(run_id=run_id)
    from_the_future(watch)
    assert list(stubs.watch.Watch(watch))


def test_promise_old_and_new_events_are_answered_one_by_one(harness: Harness) -> None:
    """Unknown events are rejected individually: the stream and its other runs continue."""
    run_id, paused, odd = new_id(), new_id(), new_id()
    custom = report_pb2.Event.FromString(UNKNOWN_FIELD)
    assert custom.WhichOneof("event") is None
    asleep = entered(paused, "RUNNING")
    asleep.state_entered.state.type = 42  # type: ignore[assignment] # a newer state
    workflow = created(odd)
    workflow.run_created.kind = 9  # type: ignore[assignment] # a newer kind of run
    newborn = created(new_id())
    newborn.run_created.state.type = 42  # type: ignore[assignment] # a newer state
    stream = ReportStream(harness.channel)
    last = stream.report(
        custom, created(run_id), created(paused), asleep, workflow, newborn,
        entered(run_id, "RUNNING"), entered(run_id, "COMPLETED"), entered(paused, "COMPLETED"),
    )  # fmt: skip
    stream.wait_for_ack(last)
    stream.goodbye()
    assert [(each.sequence, each.kind, each.rule) for each in stream.verdicts] == [
        (1, REJECTED, "event_is_known"),
        (4, REJECTED, "type_is_known"),
        (5, REJECTED, "kind_is_known"),
        (6, REJECTED, "type_is_known"),
    ]
    assert flow_history(harness.channel, run_id) == ["Pending", "Running", "Completed"]
    assert flow_history(harness.channel, paused) == ["Pending", "Completed"]


def test_promise_old_and_new_log_levels_are_kept(harness: Harness, stubs: Stubs) -> None:
    run_id = new_id()
    record = log_pb2.LogRecord(run_id=run_id, message="m", level=25)  # type: ignore[arg-type] # newer
    record.time.GetCurrentTime()
    stream = ReportStream(harness.channel)
    stream.wait_for_ack(stream.report(created(run_id), report_pb2.Event(log=record)))
    stream.goodbye()
    (found,) = stubs.logs.ListLogs(log_service_pb2.ListLogsRequest(run_id=run_id)).logs
    assert found.level == 25


def test_promise_old_and_new_frames_are_passed_over(harness: Harness) -> None:
    """A client can do without a frame that this service does not know."""
    run_id = new_id()
    # An unknown field 15.
    unknown = report_service_pb2.ReportRequest.FromString(b"\x7a\x02\x08\x01")
    assert unknown.WhichOneof("frame") is None
    stream = ReportStream(harness.channel)
    stream._requests.put(unknown)
    stream.wait_for_ack(stream.report(*whole_run(run_id)))
    stream.goodbye()
    assert flow_history(harness.channel, run_id) == ["Pending", "Running", "Completed"]


def test_promise_old_and_new_the_least_that_a_client_may_send(harness: Harness) -> None:
    """Only the fields that the protos call required."""
    run_id = new_id()
    stream = ReportStream(harness.channel)
    first = created(run_id)
    first.run_created.state.ClearField("name")
    entered_plainly = entered(run_id, "RUNNING")
    entered_plainly.state_entered.ClearField("attempt")
    stream.wait_for_ack(stream.report(first, entered_plainly, entered(run_id, "COMPLETED")))
    stream.goodbye()
    assert stream.verdicts == []
