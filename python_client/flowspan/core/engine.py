"""The engine, which takes a run from its creation to its terminal state.

It is a generator that never waits and never calls user code. It yields steps
(`flowspan.core.steps`), which the drivers (`flowspan.drivers`) perform, each in its own way. A
driver sends back what a step returned, or throws what it raised.

The generator returns the terminal state. It reports each state on the way with `emit`::

    PENDING ──> RUNNING ──> COMPLETED | FAILED | CANCELLED | CRASHED
                  │  ^
                  v  │ Retrying (the next attempt)
               AwaitingRetry

This is the hot path of every task. An ordinary task costs three events and one terminal State. The
behaviours around a run that not every task needs (results, hooks, retries) are stages
(`flowspan.core.stages`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from flowspan.core.classification import judge_error, judge_value
from flowspan.core.durations import duration, wait_matters
from flowspan.core.events import CREATED, STATE
from flowspan.core.failures import error_text
from flowspan.core.hooks import run_hooks
from flowspan.core.provenance import UNKNOWABLE_IDS, remember
from flowspan.core.run import is_outermost
from flowspan.core.stages import (
    Retry,
    after_failed_attempt,
    before_attempt,
    before_end,
    before_run,
    broken_off,
    tell,
)
from flowspan.core.states import CANCELLED, COMPLETED, PENDING, RUNNING, State
from flowspan.core.steps import RUN_FUNCTION
from flowspan.core.values.inspection import is_instance
from flowspan.core.values.traversal import ATOMIC_IDS
from flowspan.exceptions import UpstreamFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.core.events import Emit, Event
    from flowspan.core.retries import Uniform
    from flowspan.core.run import Run
    from flowspan.core.steps import Steps

_NS_PER_S = 1_000_000_000

_INFO = 20
_WARNING = 30
_ERROR = 40
_LEVELS = {COMPLETED: _INFO, CANCELLED: _WARNING}

# States are reported as numbers. A global name is faster than an attribute of the member.
_RUNNING = RUNNING.number
_PENDING = PENDING.number
_CANCELLED = CANCELLED.number


class EngineIO:
    """The functions through which the engine reaches the outside world.

    Attributes:
        emit: Emits an event.
        emit_start: Called with a CREATED event that was emitted, and with the event Running of the
            same run, which it emits. It returns once a trace of the run outlives the process.
        now_ns: Returns the time, in nanoseconds since 1970 UTC.
        uniform: Returns a random number between two.
        note: Logs a line about a run: (run, level, message, subject). The subject is an error, the
            state that the run ends in, or None.
        skip: In tests that skip time: called with a run and its retry delay, returns the part of
            the delay that must still be waited. None elsewhere.
    """

    __slots__ = ("emit", "emit_start", "note", "now_ns", "skip", "uniform")

    emit_start: Callable[[Event, Event], None]
    skip: Callable[[Run, float], float] | None

    def __init__(
        self,
        emit: Emit,
        now_ns: Callable[[], int],
        uniform: Uniform,
        note: Callable[[Run, int, str, BaseException | State | None], None],
    ) -> None:
        self.emit = emit
        self.emit_start = lambda _created, running: self.emit(running)
        self.now_ns = now_ns
        self.uniform = uniform
        self.note = note
        self.skip = None


def execute(run: Run, io: EngineIO) -> Steps[State]:  # noqa: C901 - the hot path, in one piece
    """Drive an announced run through all its attempts to its terminal state.

    Args:
        run: The run; `announce` was called for it.
        io: The outside world.

    Yields:
        The steps to perform; see the module.

    Returns:
        The terminal state. `data` is the result, or the exception that the caller should see.
    """
    emit, now_ns = io.emit, io.now_ns
    run_id, span, definition = run.record.id, run.span, run.definition
    name, message = "Running", ""
    has_ended = False
    try:
        if run.stages.before_run:
            found = yield from before_run(run, io)
            if found is not None:
                _end(run, io, found)
                has_ended = True
                yield from tell(run.stages.after_end, run, io, found)
                return found
        if definition.is_flow:
            io.note(run, _INFO, f"Begins (flow {definition.name!r}).", None)
            if is_outermost(run.parent):
                created = (CREATED, run.record, "Pending", run.created_ns)
                emit = partial(io.emit_start, created)
        while True:
            now = now_ns()
            if not run.running_since_ns:
                run.running_since_ns = now
            emit((STATE, run_id, run.attempt, _RUNNING, name, message, now, None, None))
            if span is not None:
                span.attempt(run.attempt, now)
            try:
                if run.stages.before_attempt:
                    yield from before_attempt(run, io, name, message, now)
                value = yield RUN_FUNCTION
            except BaseException as error:  # noqa: BLE001 - whatever ends the run must be reported
                if type(error) is TypeError and not definition.is_flow:
                    state = judge_error(_error_of_call(run, error), run_id, now_ns())
                else:
                    state = judge_error(error, run_id, now_ns())
            else:
                if id(type(value)) in ATOMIC_IDS:
                    state = State(COMPLETED, "Completed", "", value, run_id, now_ns())
                else:
                    state = judge_value(value, run_id, now_ns(), is_flow=definition.is_flow)
            if run.stages.after_attempt:
                yield from tell(run.stages.after_attempt, run, io, state)
            if run.stages.after_failed_attempt and state.type is not COMPLETED:
                answer = yield from after_failed_attempt(run, io, state)
                if isinstance(answer, Retry):
                    name, message = "Retrying", state.message
                    run.attempt += 1
                    # If the function forked and this is the child, `io.emit` was replaced.
                    emit = io.emit
                    continue
                state = answer
            if run.stages.before_end:
                state = yield from before_end(run, io, state)
            _end(run, io, state)
            has_ended = True
            if run.stages.after_end:
                yield from tell(run.stages.after_end, run, io, state)
            return state
    except BaseException as error:
        if has_ended:
            raise
        # No error may leave a run open.
        broken_off(run)
        return never_run(run, io, error)


def _error_of_call(run: Run, error: TypeError) -> BaseException:
    """Return the ParameterError of a task whose arguments do not fit; else the error itself.

    The arguments of a task are not bound before its call, which is faster. A call that cannot
    succeed is not retried.
    """
    try:
        misfit = run.definition.binding.misfit(run.args, run.kwargs or {})
    except (TypeError, ValueError):  # a function in C without a signature
        misfit = None
    if misfit is None:
        return error
    run.may_retry = False
    return misfit


def announce(run: Run, io: EngineIO) -> None:
    """Report a new run, in the state Pending."""
    io.emit((CREATED, run.record, "Pending", run.created_ns))


def not_ready(run: Run, io: EngineIO, message: str, error: BaseException) -> State:
    """End a run that never begins, because an upstream run did not complete.

    The state for the caller is Pending, named NotReady. The service gets the same state, followed
    by CANCELLED under the same name, because the run has ended.
    """
    run_id, now = run.record.id, io.now_ns()
    io.emit((STATE, run_id, run.attempt, _PENDING, "NotReady", message, now, None, None))
    io.emit((STATE, run_id, run.attempt, _CANCELLED, "NotReady", message, now, None, None))
    state = State(PENDING, "NotReady", message, error, run_id, now)
    state.flow_run_id = run.record.flow_run_id
    if run.span is not None:
        run.span.end(_CANCELLED, "NotReady", message, None, now)
        state.trace_ids = run.record.trace_ids
    return state


def end_unstarted(run: Run, io: EngineIO, error: BaseException) -> Steps[State]:
    """End a run whose function is never called, and call its hooks.

    Args:
        run: The run; `announce` was called for it.
        io: The outside world.
        error: The reason: wrong arguments, a cancellation, or UpstreamFailed if an upstream run did
            not complete. A run with UpstreamFailed ends as NotReady, which has no hooks.

    Yields:
        As `execute`.

    Returns:
        As `execute`.
    """
    if is_instance(error, UpstreamFailed):
        return not_ready(run, io, error_text(error), error)
    state = never_run(run, io, error)
    yield from run_hooks(run, io, state)
    return state


def never_run(run: Run, io: EngineIO, error: BaseException) -> State:
    """End a run whose function is never called, where hooks cannot be called either."""
    state = judge_error(error, run.record.id, io.now_ns())
    _end(run, io, state)
    return state


def end_undriven(run: Run, io: EngineIO, error: BaseException) -> None:
    """End a run that an error ended before a driver took it over; otherwise do nothing.

    Args:
        run: The run; `announce` was called for it.
        io: The outside world.
        error: The error that was raised between the announcement and the driver.
    """
    if not hasattr(run, "kwargs"):  # a driver sets them
        never_run(run, io, error)


def _end(run: Run, io: EngineIO, state: State) -> None:
    if run.definition.is_flow or state.type is not COMPLETED:
        words = f"{state.name} {_time_words(run, state.time_ns or 0)}"
        io.note(run, _LEVELS.get(state.type, _ERROR), words, state)
        run.entered = state
    kind, name, message, now = state.type.number, state.name, state.message, state.time_ns
    detail = (
        state.failure
        if run.result_handler is None
        else state.failure or run.result_handler.reference
    )
    io.emit((STATE, run.record.id, run.attempt, kind, name, message, now, detail, None))
    state.flow_run_id = run.record.flow_run_id
    if run.span is not None:
        # `own_error` of a completed run might read its result from the store needlessly.
        error = state.own_error() if state.type is not COMPLETED else None
        run.span.end(kind, name, message, error, now or 0)
        state.trace_ids = run.record.trace_ids
    if type(state) is not State or id(type(state.data)) not in UNKNOWABLE_IDS:
        remember(state)


def _time_words(run: Run, ended_ns: int) -> str:
    """Return the running time of a run in words, with its waiting time if that matters.

    Time spent waiting for a thread, for the service or for a retry is not running time.
    """
    if not run.running_since_ns and not run.ran_ns:
        return "without running"
    ran_ns = run.ran_ns + (ended_ns - run.running_since_ns if run.running_since_ns else 0)
    ran_s, waited_s = ran_ns / _NS_PER_S, (ended_ns - run.created_ns - ran_ns) / _NS_PER_S
    words = f"after {duration(ran_s)}"
    return f"{words}, waited {duration(waited_s)}" if wait_matters(waited_s, ran_s) else words
