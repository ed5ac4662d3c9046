"""Verdicts whose ack was lost are repeated in the next Welcome."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.harness import LEASE_S, Stubs
from tests.support.report_client import ReportStream, created, entered, new_id, whole_run

from flowspan.reporter.placeholders import PLACEHOLDER
from flowspan.v1 import flow_run_service_pb2, report_pb2, report_service_pb2, verdict_pb2
from flowspan_service.api import limits
from flowspan_service.domain.verdicts import KEPT_EVENTS, KEPT_VERDICTS

if TYPE_CHECKING:
    import pytest
    from tests.support.harness import Harness


def again(harness: Harness, stream: ReportStream, *, acked: int = 0) -> ReportStream:
    """Reconnect the session."""
    stream.break_off()
    return ReportStream(harness.channel, session_id=stream.session_id, acked_sequence=acked)


def refused_events(stream: ReportStream, count: int) -> None:
    """Report states of an unknown run, and receive the verdicts."""
    run_id = new_id()
    for start in range(0, count, 500):
        size = min(500, count - start)
        stream.wait_for_ack(stream.report(*[entered(run_id, "RUNNING")] * size))


def sequences(stream: ReportStream) -> list[int]:
    return [verdict.sequence for verdict in stream.welcome.verdicts]


def test_promise_verdicts_of_a_lost_ack_are_repeated_exactly(
    harness: Harness, stubs: Stubs
) -> None:
    stream = ReportStream(harness.channel)
    run_id, deleted = new_id(), new_id()
    stream.wait_for_ack(stream.report(created(run_id), created(deleted)))
    stubs.flow_runs.DeleteFlowRun(flow_run_service_pb2.DeleteFlowRunRequest(id=deleted, force=True))
    last = stream.report(
        entered(run_id, "RUNNING"),
        created(run_id),
        entered(deleted, "RUNNING"),
        entered(run_id, "SCHEDULED", attempt=9, scheduled_time={"seconds": 9}),
        entered(run_id, "FAILED", message="m" * 5000),
        report_pb2.Event.FromString(PLACEHOLDER),
    )
    stream.wait_for_ack(last)
    given = stream.verdicts
    assert [(verdict.sequence, verdict.rule) for verdict in given] == [
        (4, "creation_agrees"),
        (5, "run_was_deleted"),
        (6, "newer_attempt_starts_fresh"),
        (8, "event_is_known"),
    ]
    assert given[1].kind == verdict_pb2.VERDICT_KIND_ABORT
    assert given[0].current_state.name == "Running"
    for acked in (0, 3, 4, 7, 8, 9, 2**62):
        stream = again(harness, stream, acked=acked)
        assert stream.welcome.resume_after == 8
        expected = [verdict for verdict in given if verdict.sequence > acked]
        assert list(stream.welcome.verdicts) == expected
    stream.goodbye()


def test_accepted_events_have_no_verdicts(harness: Harness) -> None:
    stream = ReportStream(harness.channel)
    stream.wait_for_ack(stream.report(*whole_run(new_id())))
    stream = again(harness, stream)
    assert (stream.welcome.resume_after, sequences(stream)) == (3, [])
    stream.goodbye()


def test_verdicts_belong_to_their_session_and_end_with_it(harness: Harness) -> None:
    one, other = ReportStream(harness.channel), ReportStream(harness.channel)
    refused_events(one, 2)
    refused_events(other, 1)
    other = again(harness, other)
    assert sequences(other) == [1]
    one.goodbye()
    one = ReportStream(harness.channel, session_id=one.session_id)
    assert (one.welcome.resume_after, sequences(one)) == (2, [])
    one.goodbye()
    other.goodbye()


def test_verdicts_outlive_a_lost_session(harness: Harness) -> None:
    """A client that was cut off for longer than its lease needs them most."""
    stream = ReportStream(harness.channel)
    refused_events(stream, 1)
    stream.break_off()
    assert harness.pass_time(LEASE_S + 1) == [stream.session_id]
    stream = ReportStream(harness.channel, session_id=stream.session_id)
    assert sequences(stream) == [1]
    stream.goodbye()


def test_last_verdicts_are_kept(harness: Harness) -> None:
    stream = ReportStream(harness.channel)
    refused_events(stream, KEPT_VERDICTS + 700)
    stream = again(harness, stream)
    assert sequences(stream) == list(range(701, KEPT_VERDICTS + 701))
    refused_events(stream, 10)
    stream = again(harness, stream)
    assert sequences(stream) == list(range(711, KEPT_VERDICTS + 711))
    stream.goodbye()


def test_verdicts_on_events_that_cannot_be_in_flight_are_not_repeated(harness: Harness) -> None:
    stream = ReportStream(harness.channel)
    refused_events(stream, 2)
    run_id = new_id()
    stream.report(created(run_id), entered(run_id, "RUNNING"))
    log = report_pb2.Event()
    log.log.run_id, log.log.level, log.log.message = run_id, 20, "x"
    log.log.time.GetCurrentTime()
    left = KEPT_EVENTS - 3
    while left:
        size = min(left, 4000)
        last = stream.report(*[log] * size)
        left -= size
    stream.wait_for_ack(last)
    stream = again(harness, stream)
    assert stream.welcome.resume_after == KEPT_EVENTS + 1
    assert sequences(stream) == [2]
    stream.wait_for_ack(stream.report(log))
    stream = again(harness, stream)
    assert sequences(stream) == []
    stream.goodbye()


def test_long_list_is_shortened_after_the_first_part(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_ACK_VERDICTS", 1000)
    stream = ReportStream(harness.channel)
    refused_events(stream, 50)
    stream = again(harness, stream)
    reasons = [bool(verdict.reason) for verdict in stream.welcome.verdicts]
    assert len(reasons) == 50
    assert reasons[0]
    assert not reasons[-1]
    assert all(verdict.rule == "run_is_known" for verdict in stream.welcome.verdicts)
    assert stream.welcome.ByteSize() < 8000
    stream.goodbye()


def test_stream_and_batches_share_the_verdicts(harness: Harness, stubs: Stubs) -> None:
    stream = ReportStream(harness.channel)
    refused_events(stream, 2)
    stream.break_off()
    hello = report_pb2.Hello(session_id=stream.session_id, acked_sequence=1)
    answer = stubs.reports.ReportBatch(
        report_service_pb2.ReportBatchRequest(hello=hello, goodbye=True)
    )
    assert [verdict.sequence for verdict in answer.welcome.verdicts] == [2]
