"""What the value that a function returned means for its run.

A state is taken as it is; states in a collection fail the run if one of them failed; anything else
is a result. Futures were replaced by their states before (`flowspan.arguments`).
"""

from __future__ import annotations

from typing import Any

from flowspan.core.events import FailureInfo
from flowspan.core.failures import error_text, failure_info, summary
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
from flowspan.core.values import encodable, is_instance, shown, type_name
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
    """Return the state that a run enters whose function returned a value.

    Of the value itself nothing is asked: neither its truth nor its length, nor what it equals. If a
    state that was made by hand cannot be judged, because its name or its message raises, the run
    fails with that error.

    Args:
        value: What it returned.
        run_id: The run.
        time_ns: Now.
    """
    try:
        if is_instance(value, State):
            return _judge_state(value, run_id, time_ns)
        if is_instance(value, _CONTAINERS):
            states = find(value, (State,))
            bad = [state for state in states if state.type is not COMPLETED]
            if bad:
                return _judge_bad(bad, len(states), run_id, time_ns)
    except Exception as error:  # noqa: BLE001 - methods of users' classes may raise anything
        return judge_error(error, run_id, time_ns)
    return State(COMPLETED, "Completed", "", value, run_id, time_ns)


def judge_error(error: BaseException, run_id: str, time_ns: int) -> State:
    """Return the state that a run enters whose function raised. Never raises itself.

    Args:
        error: What it raised. RunTimeout stands for the run's own deadline only if
            `error.run_id` is this run; DeadlinePassed for the deadline of a run that called this
            one.
        run_id: The run.
        time_ns: Now.
    """
    try:
        return _judge_error(error, run_id, time_ns)
    except Exception:  # noqa: BLE001 - then with no more of the error than its type
        name = type_name(type(error))
        failure = FailureInfo(name, "", "")
        kind: StateType = FAILED if is_instance(error, Exception) else CRASHED
        return State(kind, "", name, error, run_id, time_ns, failure)


def _judge_error(error: BaseException, run_id: str, time_ns: int) -> State:
    kind: StateType = FAILED
    name = ""
    message = summary(error)
    if is_instance(error, RunTimeout) and error.run_id == run_id:
        name, message = "TimedOut", error_text(error)
    elif is_instance(error, CancelRun):
        kind, message = CANCELLED, error_text(error)
    elif is_instance(error, DeadlinePassed):
        kind, message = CANCELLED, f"Stopped: {error_text(error)}"
    elif is_instance(error, WorkerProcessDied):
        kind, message = CRASHED, error_text(error)
    elif not is_instance(error, Exception):
        kind, message = CRASHED, _broken_off(error)
    # Cancelling is not an error of the code: there is no traceback to show.
    failure = None if kind is CANCELLED else failure_info(error)
    return State(kind, name, message, error, run_id, time_ns, failure)


def _broken_off(error: BaseException) -> str:
    if is_instance(error, KeyboardInterrupt):
        return "Interrupted from the keyboard (KeyboardInterrupt)."
    if is_instance(error, TerminationSignal):
        return "Terminated from outside (SIGTERM)."
    if is_instance(error, SystemExit):
        return f"The code asked the interpreter to exit (SystemExit: {shown(error.code)})."
    if is_instance(error, GeneratorExit):
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
        and state.type in {FAILED, CRASHED}
        and is_instance(state.data, BaseException)
    ):
        failure = failure_info(state.data)
    message = state.message
    if not message and state.type is FAILED and is_instance(state.data, BaseException):
        message = summary(state.data)
    # Its texts may be anything, if it was not made by flowspan.states; what is reported is text.
    name, message = encodable(str(state.name)), encodable(str(message or ""))
    return State(state.type, name, message, state.data, run_id, time_ns, failure)


def _judge_bad(bad: list[State], count: int, run_id: str, time_ns: int) -> State:
    """The end of a run that returned states of which some did not complete."""
    if count == 1:
        error = bad[0].error()
        kind: StateType = CANCELLED if bad[0].type is CANCELLED else FAILED
        message = encodable(str(bad[0].message or summary(error)))
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
