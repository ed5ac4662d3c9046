"""The course of a run, as its spans show it: attempts, waits, the end, and a rollback.

Built from the history alone, so that two exports of one run show the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from flowspan_service.domain.states import ROLLED_BACK, TERMINAL_TYPES, Cause, State, StateType

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowspan_service.domain.runs import Run, Transition

SHORT_HISTORY = 3
"""Created, running, ended: a history of this length follows from the run itself."""
MAX_ATTEMPTS = 1_000
"""The maximum number of attempts that a course lists; later ones are only counted."""

_FAILURES = frozenset({StateType.FAILED, StateType.CRASHED})


@dataclass(slots=True)
class Attempt:
    """An attempt whose code began."""

    number: int
    started_us: int
    ended_us: int | None = None
    """None if it lasted until the end of the run."""
    failed: State | None = None
    """The state that tells why it failed; None if it did not fail, or lasted until the end."""


class Wait(NamedTuple):
    """A wait before the next attempt."""

    began_us: int
    delay_us: int
    """The planned length."""
    attempt: int
    """The attempt that follows."""


@dataclass(slots=True)
class Course:
    """The course of a run that has ended."""

    end: State
    """The terminal state; of a run that was rolled back, the one before the rollback."""
    ended_us: int
    cause: int
    """The cause of the terminal state."""
    attempts: list[Attempt] = field(default_factory=list)
    """The attempts that began, in order; empty if the history was not needed."""
    attempt_count: int = 0
    waits: list[Wait] = field(default_factory=list)
    rollback: State | None = None
    """The state that reports the rollback."""

    @property
    def was_retried(self) -> bool:
        """True if an attempt failed and another one followed, or was to follow."""
        return any(each.ended_us is not None or each.number > 1 for each in self.attempts)


def needs_history(run: Run) -> bool:
    """Return True if the course of a run does not follow from the run itself."""
    return run.transition_count > SHORT_HISTORY


def course_of(run: Run, history: Iterable[Transition] = ()) -> Course:
    """Return the course of a run that has ended.

    Args:
        run: The run.
        history: All its transitions, by ordinal; none if `needs_history` is false. Those after the
            run's last one are ignored.
    """
    ended_us = run.state.time_us if run.ended_us is None else run.ended_us
    course = Course(run.state, ended_us, run.cause)
    reader = _Reader(course)
    for transition in history:
        if transition.position > run.position:
            break
        reader.read(transition)
    reader.finish()
    if not reader.has_read and run.started_us is not None:
        course.attempt_count = run.attempt
    return course


class _Reader:
    """Reads a history, transition by transition."""

    def __init__(self, course: Course) -> None:
        self.has_read = False
        self._course = course
        self._current: Attempt | None = None
        """The attempt that is under way."""
        self._ended: Attempt | None = None
        """The attempt that the last terminal state ended, which silence may have entered."""
        self._completed: Transition | None = None

    def read(self, transition: Transition) -> None:
        """Read the next transition."""
        self.has_read = True
        state = transition.state
        if state.type in TERMINAL_TYPES:
            self._read_end(transition)
            return
        self._settle(transition)
        current = self._current
        if current is not None and (
            transition.attempt > current.number or state.type == StateType.SCHEDULED
        ):
            self._fail(current, state)
        if current is not None and state.scheduled_us is not None:
            delay_us = max(0, state.scheduled_us - state.time_us)
            self._course.waits.append(Wait(state.time_us, delay_us, current.number + 1))
        if state.type == StateType.RUNNING and self._current is None:
            self._begin(transition)

    def _begin(self, transition: Transition) -> None:
        self._current = Attempt(transition.attempt, transition.state.time_us)
        self._course.attempt_count += 1
        if len(self._course.attempts) < MAX_ATTEMPTS:
            self._course.attempts.append(self._current)

    def _fail(self, attempt: Attempt, state: State) -> None:
        attempt.ended_us = max(attempt.started_us, state.time_us)
        attempt.failed = state
        self._current = None

    def _settle(self, transition: Transition) -> None:
        """Note that a terminal state was not the end of the run."""
        ended, self._ended = self._ended, None
        if ended is None:
            return
        if transition.attempt == ended.number:  # silence was overruled
            ended.ended_us = ended.failed = None
            self._current = ended

    def _read_end(self, transition: Transition) -> None:
        state = transition.state
        before = self._completed
        if before is not None and state.name == ROLLED_BACK:
            course = self._course
            course.end, course.cause, course.rollback = before.state, before.cause, state
            begun_us = course.attempts[0].started_us if course.attempts else 0
            course.ended_us = max(before.state.time_us, begun_us)
            return
        self._completed = transition if state.type == StateType.COMPLETED else None
        self._settle(transition)
        current, self._current = self._current, None
        if current is not None and state.type in _FAILURES:
            # Only if another attempt follows: `finish` drops it for the last one.
            current.ended_us = max(current.started_us, state.time_us)
            current.failed = state
        self._ended = current

    def finish(self) -> None:
        """Note that the last terminal state was the end of the run."""
        if self._ended is not None:
            self._ended.ended_us = self._ended.failed = None


def is_lost(course: Course) -> bool:
    """Return True if the service ended the run because its process fell silent."""
    return course.cause == Cause.SESSION_LOST
