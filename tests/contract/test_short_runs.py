"""RunCompleted: a short run in one event, over the stream and with ReportBatch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from tests.support.harness import error_info, refused
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
from tests.support.run_queries import flow_history

from flowspan.v1 import (
    flow_run_service_pb2,
    report_pb2,
    report_service_pb2,
    state_pb2,
    verdict_pb2,
    watch_service_pb2,
)
from flowspan_service.api import limits

if TYPE_CHECKING:
    from tests.support.harness import Harness, Stubs

DUPLICATE = verdict_pb2.VERDICT_KIND_DUPLICATE
REJECTED = verdict_pb2.VERDICT_KIND_REJECTED
INVALID = grpc.StatusCode.INVALID_ARGUMENT


def answers(verdicts: Any) -> list[tuple[int, int, str]]:
    return [(verdict.sequence, verdict.kind, verdict.rule) for verdict in verdicts]


def batch(*events: report_pb2.Event, session_id: str = "", first: int = 1) -> Any:
    return report_service_pb2.ReportBatchRequest(
        hello=report_pb2.Hello(session_id=session_id or new_id()),
        batch=report_pb2.Batch(first_sequence=first, events=events),
    )


def test_it_is_announced(harness: Harness) -> None:
    stream = ReportStream(harness.channel)
    stream.goodbye()
    assert "run_completed.v1" in stream.welcome.capabilities


def test_a_short_run_has_the_history_of_three_events(harness: Harness, stubs: Stubs) -> None:
    run_id, other = new_id(), new_id()
    stream = ReportStream(harness.channel)
    last = stream.report(short_run(run_id), entered(run_id, "RUNNING"), *whole_run(other))
    assert last == 7
    stream.wait_for_ack(last)
    stream.goodbye()
    assert answers(stream.verdicts) == [(4, REJECTED, "terminal_is_final")]
    assert flow_history(harness.channel, run_id) == ["Pending", "Running", "Completed"]
    run = stubs.flow_runs.GetFlowRun(flow_run_service_pb2.GetFlowRunRequest(id=run_id)).flow_run
    assert (run.transition_count, run.attempt) == (3, 1)
    assert run.start_time.ToNanoseconds() <= run.end_time.ToNanoseconds()


def test_a_watcher_sees_each_transition(harness: Harness, stubs: Stubs) -> None:
    run_id = new_id()
    stream = ReportStream(harness.channel)
    watch = stubs.watch.Watch(watch_service_pb2.WatchRequest(changes_only=True))
    assert next(watch).HasField("snapshot_end")
    stream.report(short_run(run_id, "FAILED"))
    names = []
    while len(names) < 3:
        change = next(watch).change
        names.append((change.transition.state.name, change.transition.ordinal))
    watch.cancel()
    stream.goodbye()
    assert names == [("Pending", 1), ("Running", 2), ("Failed", 3)]


def test_a_batch_without_a_stream_counts_the_same(harness: Harness, stubs: Stubs) -> None:
    session_id, run_id = new_id(), new_id()
    first = stubs.reports.ReportBatch(batch(short_run(run_id), session_id=session_id))
    assert (first.ack.up_to_sequence, list(first.ack.verdicts)) == (3, [])
    again = stubs.reports.ReportBatch(
        batch(short_run(run_id), entered(run_id, "RUNNING"), session_id=session_id)
    )
    assert again.ack.up_to_sequence == 4
    assert answers(again.ack.verdicts) == [(4, REJECTED, "terminal_is_final")]
    assert flow_history(harness.channel, run_id) == ["Pending", "Running", "Completed"]


@pytest.mark.parametrize("stored", [1, 2, 3])
def test_it_may_be_resent_as_the_events_that_it_stands_for_and_the_reverse(
    harness: Harness, stored: int
) -> None:
    run_id, other = new_id(), new_id()
    apart = whole_run(run_id)
    joined = report_pb2.Event(
        run_completed=report_pb2.RunCompleted(
            created=apart[0].run_created,
            start_time=apart[1].state_entered.state.time,
            ended=apart[2].state_entered.state,
        )
    )
    first = ReportStream(harness.channel)
    first.report(*apart[:stored])
    first.wait_for_ack(stored)
    first.break_off()
    again = ReportStream(harness.channel, session_id=first.session_id)
    assert again.welcome.resume_after == stored
    again.next_sequence = 1
    assert again.report(joined, short_run(other)) == 6
    again.wait_for_ack(6)
    again.next_sequence = 1
    again.report(*apart, *whole_run(other), entered(other, "RUNNING"))
    again.wait_for_ack(7)
    again.goodbye()
    assert answers(again.verdicts) == [(7, REJECTED, "terminal_is_final")]
    for each in (run_id, other):
        assert flow_history(harness.channel, each) == ["Pending", "Running", "Completed"]


def test_a_gap_after_it_is_noticed(harness: Harness) -> None:
    stream = ReportStream(harness.channel)
    stream.report(short_run(new_id()))
    stream.next_sequence = 5
    stream.report(short_run(new_id()))
    with pytest.raises(grpc.RpcError) as failed:
        stream.wait_for_ack(7)
    info = error_info(failed.value)
    assert (info.reason, info.metadata["expected"]) == ("BAD_SEQUENCE", "4")


def test_the_same_run_from_another_process_gets_three_answers(harness: Harness) -> None:
    event = short_run(new_id())
    for expected in (
        [],
        [
            (1, DUPLICATE, "creation_agrees"),
            (2, REJECTED, "terminal_is_final"),
            (3, DUPLICATE, "same_again"),
        ],
    ):
        stream = ReportStream(harness.channel)
        stream.wait_for_ack(stream.report(event))
        stream.goodbye()
        assert answers(stream.verdicts) == expected


def test_a_cancel_that_came_first_meets_the_run_that_ended(harness: Harness, stubs: Stubs) -> None:
    run_id = new_id()
    start = created(run_id)
    owner = ReportStream(harness.channel)
    owner.wait_for_ack(owner.report(start, entered(run_id, "RUNNING")))
    wanted = state_pb2.State(type=state_pb2.STATE_TYPE_CANCELLING)
    stubs.flow_runs.SetFlowRunState(
        flow_run_service_pb2.SetFlowRunStateRequest(id=run_id, state=wanted)
    )
    whole = report_pb2.RunCompleted(
        created=start.run_created, start_time=now(), ended=state("COMPLETED")
    )
    other = ReportStream(harness.channel)
    other.wait_for_ack(other.report(report_pb2.Event(run_completed=whole)))
    assert answers(other.verdicts) == [
        (1, DUPLICATE, "creation_agrees"),
        (2, REJECTED, "another_session_has_it"),
        (3, REJECTED, "another_session_has_it"),
    ]
    owner.break_off()
    harness.close_without_its_runs(owner.session_id)
    other.report(report_pb2.Event(run_completed=whole))
    ack = next(frame.ack for frame in other.call if frame.HasField("ack"))
    assert answers(ack.verdicts) == [
        (4, DUPLICATE, "creation_agrees"),
        (5, REJECTED, "cancelling_only_ends"),
    ]
    assert flow_history(harness.channel, run_id) == [
        *("Pending", "Running", "Cancelling", "Completed"),
    ]
    other.break_off()


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"ended": state("RUNNING")}, "ends_in_terminal_state"),
        ({"ended": state("SCHEDULED")}, "ends_in_terminal_state"),
        ({"ended": state_pb2.State(type=1999, time=now())}, "type_is_known"),  # type: ignore[arg-type] # of a newer client
    ],
    ids=["running", "scheduled", "unknown"],
)
def test_without_a_known_end_nothing_is_applied(
    harness: Harness, stubs: Stubs, change: dict[str, Any], rule: str
) -> None:
    run_id, other = new_id(), new_id()
    event = short_run(run_id)
    event.run_completed.ended.CopyFrom(change["ended"])
    stream = ReportStream(harness.channel)
    stream.wait_for_ack(stream.report(event, short_run(other), entered(other, "RUNNING")))
    stream.goodbye()
    assert answers(stream.verdicts) == [(1, REJECTED, rule), (7, REJECTED, "terminal_is_final")]
    get = flow_run_service_pb2.GetFlowRunRequest(id=run_id)
    refused(lambda: stubs.flow_runs.GetFlowRun(get), grpc.StatusCode.NOT_FOUND, "NOT_FOUND")


def test_an_unknown_kind_of_run_takes_three_sequences(harness: Harness) -> None:
    event = short_run(new_id())
    event.run_completed.created.kind = 1999  # type: ignore[assignment] # of a newer client
    stream = ReportStream(harness.channel)
    stream.wait_for_ack(stream.report(event, entered(new_id(), "RUNNING")))
    stream.goodbye()
    assert answers(stream.verdicts) == [
        (1, REJECTED, "kind_is_known"),
        (4, REJECTED, "run_is_known"),
    ]


@pytest.mark.parametrize(
    ("field", "value", "sequence"),
    [
        ("created", report_pb2.RunCreated(), "2"),
        ("created", report_pb2.RunCreated(run_id="no id"), "2"),
        ("start_time", None, "3"),
        ("start_time", Timestamp(seconds=-5), "3"),
        ("start_time", Timestamp(seconds=5, nanos=-1), "3"),
        ("ended", None, "4"),
        ("ended", state_pb2.State(time=now()), "4"),
        ("ended", state("COMPLETED", name="n" * 1000), "4"),
        ("ended", state("COMPLETED", message="nul\0"), "4"),
    ],
    ids=[
        *("no run", "no id", "no start", "negative start", "negative nanoseconds"),
        *("no end", "no type", "long name", "nul"),
    ],
)
def test_a_malformed_part_is_named_by_its_sequence(
    harness: Harness, field: str, value: Any, sequence: str
) -> None:
    event = short_run(new_id())
    event.run_completed.ClearField(field)  # type: ignore[arg-type] # one of its fields
    if value is not None:
        getattr(event.run_completed, field).CopyFrom(value)
    stream = ReportStream(harness.channel)
    stream.report(entered(new_id(), "RUNNING"), event)
    with pytest.raises(grpc.RpcError) as failed:
        stream.wait_for_ack(4)
    assert failed.value.code() is INVALID
    info = error_info(failed.value)
    assert info.reason in {"INVALID_FIELD", "TOO_LARGE"}
    assert info.metadata["sequence"] == sequence


def test_the_limit_of_a_batch_counts_sequences(stubs: Stubs) -> None:
    count = limits.MAX_UNACKED_EVENTS // 3 + 1
    too_many = batch(*(short_run(new_id()) for _ in range(count)))
    metadata = refused(lambda: stubs.reports.ReportBatch(too_many), INVALID, "TOO_LARGE")
    assert metadata["field"] == "batch.events"


def test_a_batch_in_pieces_is_acked_whole(harness: Harness) -> None:
    stream = ReportStream(harness.channel)
    run_ids = [new_id() for _ in range(2000)]
    last = stream.report(*map(short_run, run_ids))
    assert last == 6000
    stream.wait_for_ack(last)
    stream.goodbye()
    assert stream.verdicts == []
    for run_id in run_ids[::499]:
        assert flow_history(harness.channel, run_id) == ["Pending", "Running", "Completed"]
