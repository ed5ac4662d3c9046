"""The course of a run, as its spans show it: attempts, waits, the end, and a rollback.

Built from the history alone, so that two exports of one run show the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from flowspan_service.domain.states import ROLLED_BACK, TERMINAL_TYPES, Cause, State, StateType

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from flowspan_service.domain.runs import Run, Transition

SHORT_HISTORY = 3
"""Created, running, ended: a history of this length follows from the run itself."""
LONG_WAIT_US = 1_000_000
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


class Pause(NamedTuple):
    """A time in which the code of the run did not run: before an attempt, or a planned one."""

    began_us: int
    ended_us: int
    attempt: int
    """The attempt that followed, or was to follow."""
    reason: str
    """The reason as in the attribute of its span; empty if unknown."""


class Wait(NamedTuple):
    """A planned wait before the next attempt."""

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
    """The end. For a run whose process fell silent, its last sign of life."""
    cause: int
    """The cause of the terminal state."""
    declared_us: int | None = None
    """The time at which a silent process was declared dead; None for other ends."""
    is_scheduled: bool = False
    """True if the run was to begin at a later time."""
    unlisted_us: int = 0
    """The time of the attempts that are not listed."""
    attempts: list[Attempt] = field(default_factory=list)
    """The attempts that began, in order; empty if the history was not needed."""
    attempt_count: int = 0
    waits: list[Wait] = field(default_factory=list)
    rollback: State | None = None
    """The state that reports the rollback."""

    def run_us(self) -> int:
        """Return the time of the attempts together, in microseconds."""
        listed = (
            (self.ended_us if each.ended_us is None else each.ended_us) - each.started_us
            for each in self.attempts
        )
        return self.unlisted_us + sum(max(0, each) for each in listed)

    def pauses(self, created_us: int) -> Iterator[Pause]:
        """Yield the times between creation and end in which the code did not run, in order.

        Args:
            created_us: The creation of the run.
        """
        planned = {wait.attempt for wait in self.waits}
        begun_us: int | None = created_us
        number = 0
        for attempt in self.attempts:
            if begun_us is not None:
                yield Pause(
                    begun_us, attempt.started_us, attempt.number, self._reason(attempt, planned)
                )
            begun_us, number = attempt.ended_us, attempt.number
        if begun_us is not None and self.attempt_count == len(self.attempts):
            # Without a plan, it did not wait: a cached result was looked up, for example.
            is_planned = number + 1 in planned if number else self.is_scheduled
            if is_planned:
                reason = "retry" if number else "schedule"
                yield Pause(begun_us, self.ended_us, number + 1, reason)

    def _reason(self, attempt: Attempt, planned: Container[int]) -> str:
        if attempt is self.attempts[0] and attempt.number == 1:
            return "schedule" if self.is_scheduled else ""
        return "retry" if attempt.number in planned else ""

    @property
    def was_retried(self) -> bool:
        """True if an attempt failed and another one followed, or was to follow."""
        return any(each.ended_us is not None or each.number > 1 for each in self.attempts)


def needs_history(run: Run) -> bool:
    """Return True if the course of a run does not follow from the run itself.

    A short history tells nothing but the reason of a wait, which is worth a read if it was long.
    """
    begun_us = run.ended_us if run.started_us is None else run.started_us
    is_long = begun_us is not None and begun_us - run.created_us >= LONG_WAIT_US
    return run.transition_count > SHORT_HISTORY or is_long


def course_of(
    run: Run, history: Iterable[Transition] = (), *, last_sign_us: int | None = None
) -> Course:
    """Return the course of a run that has ended.

    Args:
        run: The run.
        history: All its transitions, by ordinal; none if `needs_history` is false. Those after the
            run's last one are ignored.
        last_sign_us: The last sign of life of its process, if it fell silent; None if unknown.
    """
    ended_us = run.state.time_us if run.ended_us is None else run.ended_us
    course = Course(run.state, ended_us, run.cause)
    if is_lost(course):
        course.declared_us = ended_us
        if last_sign_us is not None:
            course.ended_us = max(run.created_us, min(last_sign_us, ended_us))
    reader = _Reader(course)
    for transition in history:
        if transition.position > run.position:
            break
        reader.read(transition)
    reader.finish()
    if not reader.has_read and run.started_us is not None:
        course.attempt_count = run.attempt
        course.attempts.append(Attempt(1, run.started_us))
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
        if state.scheduled_us is not None and not self._course.attempt_count:
            self._course.is_scheduled = True
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
        if self._course.attempt_count > MAX_ATTEMPTS:
            self._course.unlisted_us += attempt.ended_us - attempt.started_us
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
