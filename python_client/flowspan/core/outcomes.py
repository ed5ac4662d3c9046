"""What the value that a function returned means for its run.

A state is taken as it is; states in a collection fail the run if one of them failed; anything else
is a result. Futures were replaced by their states before (`flowspan.arguments`).
"""

from __future__ import annotations

from typing import Any

from flowspan.core.failures import failure_info, summary
from flowspan.core.states import (
    CANCELLED,
    COMPLETED,
    CRASHED,
    FAILED,
    PENDING,
    TERMINAL_TYPES,
    State,
    StateType,
)
from flowspan.core.traversal import find
from flowspan.exceptions import (
    CancelRun,
    DeadlinePassed,
    RunFailed,
    RunTimeout,
    TerminationSignal,
    WorkerProcessDied,
)

_CONTAINERS = (list, tuple, set, frozenset, dict)


def judge_value(value: Any, run_id: str, time_ns: int) -> State:
    """The state that a run enters whose function returned a value.

    Args:
        value: What it returned.
        run_id: The run.
        time_ns: Now.
    """
    if isinstance(value, State):
        return _judge_state(value, run_id, time_ns)
    if value and isinstance(value, _CONTAINERS):
        states = find(value, (State,))
        bad = [state for state in states if state.type is not COMPLETED]
        if bad:
            return _judge_bad(bad, len(states), run_id, time_ns)
    return State(COMPLETED, "Completed", "", value, run_id, time_ns)


def judge_error(error: BaseException, run_id: str, time_ns: int) -> State:
    """The state that a run enters whose function raised.

    Args:
        error: What it raised. RunTimeout stands for the run's own deadline only if
            `error.run_id` is this run; DeadlinePassed for the deadline of a run that called this
            one.
        run_id: The run.
        time_ns: Now.
    """
    kind: StateType = FAILED
    name = ""
    message = summary(error)
    if isinstance(error, RunTimeout) and error.run_id == run_id:
        name, message = "TimedOut", str(error)
    elif isinstance(error, CancelRun):
        kind, message = CANCELLED, str(error)
    elif isinstance(error, DeadlinePassed):
        kind, message = CANCELLED, f"Stopped: {error}"
    elif isinstance(error, WorkerProcessDied):
        kind, message = CRASHED, str(error)
    elif not isinstance(error, Exception):
        kind, message = CRASHED, _broken_off(error)
    # Cancelling is not an error of the code: there is no traceback to show.
    failure = None if kind is CANCELLED else failure_info(error)
    return State(kind, name, message, error, run_id, time_ns, failure)


def _broken_off(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "Interrupted from the keyboard (KeyboardInterrupt)."
    if isinstance(error, TerminationSignal):
        return "Terminated from outside (SIGTERM)."
    if isinstance(error, SystemExit):
        return f"The code asked the interpreter to exit (SystemExit: {error.code!r})."
    if isinstance(error, GeneratorExit):
        return "The coroutine was closed before it ended (GeneratorExit)."
    return f"Broken off by {summary(error)}"


def _judge_state(state: State, run_id: str, time_ns: int) -> State:
    if state.type not in TERMINAL_TYPES:
        if state.type is PENDING and state.name == "NotReady":
            return _judge_bad([state], 1, run_id, time_ns)
        message = f"It returned the state {state!r}, which is not one to end with."
        return _failed(message, RunFailed(message), run_id, time_ns)
    failure = state.failure
    if (
        failure is None
        and isinstance(state.data, BaseException)
        and state.type in {FAILED, CRASHED}
    ):
        failure = failure_info(state.data)
    message = state.message
    if not message and isinstance(state.data, BaseException) and state.type is FAILED:
        message = summary(state.data)
    # Its texts may be anything, if it was not made by flowspan.states; what is reported is text.
    name, message = str(state.name), str(message or "")
    return State(state.type, name, message, state.data, run_id, time_ns, failure)


def _judge_bad(bad: list[State], count: int, run_id: str, time_ns: int) -> State:
    """The end of a run that returned states of which some did not complete."""
    if count == 1:
        error = bad[0].error()
        kind: StateType = CANCELLED if bad[0].type is CANCELLED else FAILED
        message = bad[0].message or summary(error)
        if kind is CANCELLED:
            return State(kind, "", message, error, run_id, time_ns)
        return _failed(message, error, run_id, time_ns)
    if all(state.type is CANCELLED for state in bad):
        message = f"{len(bad)}/{count} states cancelled."
        return State(CANCELLED, "", message, CancelRun(message), run_id, time_ns)
    message = f"{len(bad)}/{count} states failed."
    error = RunFailed(message)
    error.__cause__ = next((state.error() for state in bad if state.type is not CANCELLED), None)
    return _failed(message, error, run_id, time_ns)


def _failed(message: str, error: BaseException, run_id: str, time_ns: int) -> State:
    return State(FAILED, "", message, error, run_id, time_ns, failure_info(error))
