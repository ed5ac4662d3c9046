"""The course of a run, as read from its history, and the spans that follow from it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import StatusCode

from flowspan.v1.failure_pb2 import Failure
from flowspan_service.api.span_facts import MessageDecoder
from flowspan_service.domain.rules.transitions import ProposedTransition, enter
from flowspan_service.domain.runs import Run, RunKind, TraceContext, Transition
from flowspan_service.domain.states import Cause, State, StateType
from flowspan_service.domain.traces import attempt_span_id
from flowspan_service.loops import span_courses
from flowspan_service.loops.span_courses import Wait, course_of, needs_history
from flowspan_service.loops.span_records import spans_of

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

S = StateType
RUN_ID = "0190a000-0000-7000-8000-000000000001"
TRACE = TraceContext(f"00-{'a' * 32}-{'b' * 16}-03", "", "", exported_by_service=True)

Step = tuple[StateType, int, int]
"""A type, an attempt, and a time in seconds."""


def course_of_steps(
    *steps: Step, cause: int = Cause.REPORTED, **fields: Any
) -> tuple[Run, list[Transition]]:
    """A run that entered these states after PENDING at 0 s; `cause` is that of the last one."""
    run = Run(
        RUN_ID, RunKind.TASK, "fetch", "fetch-1", None, RUN_ID, None, (), None, TRACE, "", 0,
        a_state(S.PENDING, 0),
    )  # fmt: skip
    history = [Transition(RUN_ID, 1, 1, run.state, Cause.REPORTED, 0, 1)]
    for number, (kind, attempt, at_s) in enumerate(steps, 2):
        state = a_state(kind, at_s)
        if kind is S.SCHEDULED:
            state.scheduled_us = state.time_us + 5_000_000
        if kind is S.FAILED:
            state.failure = Failure(type="OSError", message=f"at {at_s}").SerializeToString()
        of_step = cause if number == len(steps) + 1 else Cause.REPORTED
        enter(run, ProposedTransition(state, attempt, of_step))
        run.position = number
        history.append(Transition(RUN_ID, number, attempt, state, of_step, 0, number))
    for name, value in fields.items():
        setattr(run.state, name, value)
    return run, history


def a_state(kind: StateType, at_s: int) -> State:
    return State(kind, kind.name.capitalize(), "", at_s * 1_000_000)


def spans(run: Run, history: list[Transition]) -> list[ReadableSpan]:
    return spans_of(run, course_of(run, history), Resource({}), decoder=MessageDecoder())


def seconds(span: ReadableSpan) -> tuple[float, float]:
    return span.start_time / 1e9, span.end_time / 1e9


def events(span: ReadableSpan) -> list[tuple[str, float, dict[str, Any]]]:
    return [(each.name, each.timestamp / 1e9, dict(each.attributes or {})) for each in span.events]


def test_a_run_with_one_attempt_is_one_span() -> None:
    run, history = course_of_steps((S.RUNNING, 1, 0), (S.COMPLETED, 1, 2))
    assert not needs_history(run)
    for known in ([], history):
        (span,) = spans(run, known)
        assert (span.name, *seconds(span)) == ("fetch", 0, 2)
        assert span.attributes["flowspan.attempts"] == 1


def test_attempts_are_children_of_the_run() -> None:
    run, history = course_of_steps(
        (S.RUNNING, 1, 0), (S.SCHEDULED, 1, 3), (S.RUNNING, 2, 8), (S.COMPLETED, 2, 9)
    )
    history[2].state.message = "OSError: no"
    span, waiting, first, second = spans(run, history)
    assert span.attributes["flowspan.attempts"] == 2
    assert (span.attributes["flowspan.queued_s"], span.attributes["flowspan.run_s"]) == (5, 4)
    assert (waiting.name, *seconds(waiting)) == ("waiting", 3, 8)
    assert dict(waiting.attributes) == {"flowspan.wait.reason": "retry"}
    assert waiting.parent == span.context
    expected = hashlib.sha256(UUID(RUN_ID).bytes + bytes([128, 0, 0, 2])).hexdigest()[:16]
    assert f"{waiting.context.span_id:016x}" == expected
    assert span.status.status_code is StatusCode.UNSET
    assert events(span) == [
        ("flowspan.awaiting_retry", 3, {"flowspan.delay_s": 5.0, "flowspan.attempt": 2}),
        ("flowspan.retrying", 8, {"flowspan.attempt": 2}),
    ]
    assert [(each.name, *seconds(each)) for each in (first, second)] == [
        ("fetch attempt", 0, 3),
        ("fetch attempt", 8, 9),
    ]
    assert first.parent == second.parent == span.context
    for number, each in enumerate((first, second), 1):
        assert f"{each.context.span_id:016x}" == attempt_span_id(RUN_ID, number)
        assert each.context.trace_id == span.context.trace_id
        assert each.attributes["flowspan.attempt"] == number
    assert (first.status.description, first.attributes["error.type"]) == ("OSError: no", "Failed")
    assert second.status.status_code is StatusCode.UNSET
    assert "error.type" not in second.attributes


def test_an_attempt_that_failed_before_the_next_one_shows_its_error() -> None:
    run, history = course_of_steps(
        (S.RUNNING, 1, 0), (S.FAILED, 1, 1), (S.RUNNING, 2, 4), (S.FAILED, 2, 6)
    )
    span, waiting, first, second = spans(run, history)
    assert dict(waiting.attributes) == {}, "no delay was reported"
    assert [events(each)[-1][2]["exception.message"] for each in (span, first, second)] == [
        "at 6",
        "at 1",
        "at 6",
    ]
    assert {each.attributes["error.type"] for each in (span, first, second)} == {"OSError"}
    assert [seconds(each) for each in (first, second)] == [(0, 1), (4, 6)]


def test_the_last_attempt_that_failed_is_not_listed_alone() -> None:
    run, history = course_of_steps((S.SCHEDULED, 1, 1), (S.RUNNING, 1, 2), (S.FAILED, 1, 3))
    span, waiting = spans(run, history)
    assert (waiting.name, *seconds(waiting)) == ("waiting", 0, 2)
    assert dict(waiting.attributes) == {"flowspan.wait.reason": "schedule"}
    assert [name for name, _, _ in events(span)] == ["flowspan.running", "exception"]
    assert not course_of(run, history).waits, "no attempt failed before that wait"


def test_a_pause_is_part_of_its_attempt() -> None:
    run, history = course_of_steps(
        (S.RUNNING, 1, 0), (S.PAUSED, 1, 1), (S.RUNNING, 1, 5), (S.COMPLETED, 1, 6)
    )
    (span,) = spans(run, history)
    assert span.attributes["flowspan.attempts"] == 1


def test_silence_that_was_overruled_does_not_end_an_attempt() -> None:
    run, history = course_of_steps((S.RUNNING, 1, 0), (S.CRASHED, 1, 9), (S.COMPLETED, 1, 20))
    history[2].cause = Cause.SESSION_LOST
    (span,) = spans(run, history)
    assert seconds(span) == (0, 20)
    run, history = course_of_steps(
        (S.RUNNING, 1, 0), (S.CRASHED, 1, 9), (S.RUNNING, 1, 10), (S.COMPLETED, 1, 20)
    )
    history[2].cause = Cause.SESSION_LOST
    assert course_of(run, history).attempt_count == 1


def test_the_attempt_of_a_process_that_died() -> None:
    run, history = course_of_steps(
        (S.RUNNING, 1, 0),
        (S.SCHEDULED, 1, 1),
        (S.RUNNING, 2, 2),
        (S.CRASHED, 2, 30),
        cause=Cause.SESSION_LOST,
    )
    span, _, _, second = spans(run, history)
    for each in (span, second):
        assert each.attributes["error.type"] == "flowspan.crashed"
        assert each.end_time == 30 * 10**9
    run.trace = TraceContext(TRACE.traceparent)
    (span,) = spans(run, history)
    assert span.attributes["flowspan.attempts"] == 2, "a client with an SDK sent the attempts"


def test_a_run_whose_process_fell_silent_ends_with_its_last_sign_of_life() -> None:
    run, history = course_of_steps(
        (S.RUNNING, 1, 1),
        (S.SCHEDULED, 1, 2),
        (S.RUNNING, 2, 4),
        (S.CRASHED, 2, 30),
        cause=Cause.SESSION_LOST,
    )
    course = course_of(run, history, last_sign_us=6_000_000)
    made = spans_of(run, course, Resource({}), decoder=MessageDecoder())
    span, *_, second = made
    assert [each.name for each in made] == [
        *("fetch", "waiting", "waiting", "fetch attempt", "fetch attempt")
    ]
    assert seconds(span) == (0, 6)
    assert seconds(second) == (4, 6)
    assert (span.attributes["flowspan.queued_s"], span.attributes["flowspan.run_s"]) == (3, 3)
    assert events(span)[-1] == ("flowspan.declared_crashed", 30, {})
    for sign_us, end_s in ((-1, 0), (None, 30), (99_000_000, 30)):
        course = course_of(run, history, last_sign_us=sign_us)
        span, *_ = spans_of(run, course, Resource({}), decoder=MessageDecoder())
        assert span.end_time == end_s * 10**9


@pytest.mark.parametrize("at", [S.SCHEDULED, S.RUNNING])
def test_a_run_that_ended_while_it_waited(at: StateType) -> None:
    steps: list[Step] = [(S.RUNNING, 1, 0), (S.SCHEDULED, 1, 3), (S.CANCELLED, 1, 5)]
    if at is S.RUNNING:
        steps[1:1] = [(S.SCHEDULED, 1, 1), (S.RUNNING, 2, 2)]
        steps[3:] = [(S.CANCELLED, 2, 5)]
    run, history = course_of_steps(*steps)
    waits = [seconds(each) for each in spans(run, history) if each.name == "waiting"]
    assert waits == ([(3, 5)] if at is S.SCHEDULED else [(1, 2)])


def test_a_short_wait_has_no_span() -> None:
    run, history = course_of_steps((S.RUNNING, 1, 0), (S.COMPLETED, 1, 2))
    run.started_us = history[1].state.time_us = 9_999
    assert len(spans(run, history)) == len(spans(run, [])) == 1
    run.started_us = history[1].state.time_us = 10_000
    for known in ([], history):
        span, waiting = spans(run, known)
        assert waiting.end_time - waiting.start_time == 10_000_000
        assert span.attributes["flowspan.queued_s"] == 0.01
        assert span.attributes["flowspan.run_s"] == 1.99


def test_a_long_wait_before_a_short_history_is_worth_a_read() -> None:
    run, _ = course_of_steps((S.RUNNING, 1, 1), (S.COMPLETED, 1, 2))
    assert needs_history(run)
    run, _ = course_of_steps((S.COMPLETED, 1, 1), name="Cached")
    assert needs_history(run)


def test_a_run_that_was_rolled_back_shows_both() -> None:
    run, history = course_of_steps(
        (S.RUNNING, 1, 0), (S.COMPLETED, 1, 2), (S.COMPLETED, 1, 7), name="RolledBack", message="no"
    )
    span, rollback = spans(run, history)
    assert (span.attributes["flowspan.state.name"], *seconds(span)) == ("Completed", 0, 2)
    assert (rollback.name, *seconds(rollback)) == ("fetch rollback", 7, 7)
    assert dict(rollback.attributes) == {"flowspan.state.name": "RolledBack"}
    assert events(rollback) == [
        ("flowspan.rolled_back", 7, {"flowspan.state.message": "no"}),
    ]


def test_a_cached_run_has_no_attempt() -> None:
    run, history = course_of_steps((S.COMPLETED, 1, 1), name="Cached", message="from r2")
    (span,) = spans(run, history)
    assert span.attributes["flowspan.attempts"] == 0
    assert events(span) == [("flowspan.cached", 1, {"flowspan.state.message": "from r2"})]


def test_transitions_after_the_runs_last_one_are_ignored() -> None:
    run, history = course_of_steps((S.RUNNING, 1, 0), (S.FAILED, 1, 1))
    before = [each.to_json() for each in spans(run, history)]
    later = Transition(RUN_ID, 4, 2, a_state(S.RUNNING, 9), Cause.REPORTED, 0, 4)
    assert [each.to_json() for each in spans(run, [*history, later])] == before


def test_many_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(span_courses, "MAX_ATTEMPTS", 3)
    steps: list[Step] = []
    for number in range(1, 8):
        steps += [(S.RUNNING, number, number), (S.SCHEDULED, number, number)]
    run, history = course_of_steps(*steps, (S.FAILED, 7, 9))
    course = course_of(run, history)
    assert (len(course.attempts), course.attempt_count) == (3, 7)
    assert len(course.waits) <= 7
    assert course.waits[0] == Wait(1_000_000, 5_000_000, 2)
    assert course.run_us() == 0, "each attempt takes no time here"
