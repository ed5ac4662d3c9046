"""Classification: the terminal state that follows from a returned value or an exception.

A handmade state is used unchanged. A state of another run, or a list, tuple or set that holds only
states, decides how the run ends and becomes its data. Any other value is a result, even if it
contains states. The futures of a flow have been replaced by their states before.
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
    PAUSED,
    PENDING,
    TERMINAL_TYPES,
    ReturnedState,
    State,
    StateType,
    first_bad,
    states_in,
)
from flowspan.core.values.inspection import encodable, is_instance, shown, type_name
from flowspan.exceptions import (
    CancelRun,
    DeadlinePassed,
    RunFailed,
    RunTimeout,
    TerminationSignal,
    WorkerProcessDied,
)


def judge_value(value: Any, run_id: str, time_ns: int, *, is_flow: bool) -> State:
    """Return the terminal state of a run whose function returned a value.

    No code of the value itself runs: its truth value, length and equality are never evaluated. If a
    handmade state cannot be classified, because its name or message raises, the run fails with that
    error.

    Args:
        value: The returned value.
        run_id: The run.
        time_ns: The current time, in nanoseconds since 1970 UTC.
        is_flow: True for a flow. The caller of a task gets returned states themselves, the caller
            of a flow their results.
    """
    try:
        if is_instance(value, State):
            if value.run_id is None:
                return _judge_made(value, run_id, time_ns, is_flow=is_flow)
            return _judge_states([value], value, run_id, time_ns, gives_data=not is_flow)
        states = states_in(value)
        if states:
            return _judge_states(states, value, run_id, time_ns, gives_data=True)
    except Exception as error:  # noqa: BLE001 - methods of users' classes may raise anything
        return judge_error(error, run_id, time_ns)
    return State(COMPLETED, "Completed", "", value, run_id, time_ns)


def judge_error(error: BaseException, run_id: str, time_ns: int) -> State:
    """Return the terminal state of a run whose function raised. Never raises itself.

    Args:
        error: The exception. A RunTimeout counts as the run's own timeout only if `error.run_id` is
            this run; a DeadlinePassed is the deadline of a run that called this one.
        run_id: The run.
        time_ns: The current time, in nanoseconds since 1970 UTC.
    """
    try:
        return _judge_error(error, run_id, time_ns)
    except Exception:  # noqa: BLE001 - fall back to the type of the error alone
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
    # Cancellation is not an error in the code: there is no traceback to show.
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
        return "The coroutine was closed before it finished (GeneratorExit)."
    return f"Interrupted by {summary(error)}"


def _judge_made(state: State, run_id: str, time_ns: int, *, is_flow: bool) -> State:
    """Return the terminal state of a run that returned a handmade state."""
    if state.type is PENDING and state.name == "NotReady":
        return _judge_states([state], state, run_id, time_ns, gives_data=not is_flow)
    if state.type not in TERMINAL_TYPES:
        message = f"It returned the state {state!r}, which is not a terminal state."
        refused = RunFailed(message)
        return State(FAILED, "", message, refused, run_id, time_ns, failure_info(refused))
    failure = state.failure
    error = state.own_error() if state.type in {FAILED, CRASHED} else None
    if failure is None and error is not None:
        failure = failure_info(error)
    message = state.message
    if not message and error is not None and state.type is FAILED:
        message = summary(error)
    # Its fields may have any type if flowspan.states did not create it; reports need strings.
    name, message = encodable(str(state.name)), encodable(str(message or ""))
    if is_flow:
        return State(state.type, name, message, state.data, run_id, time_ns, failure)
    ended = ReturnedState(state.type, name, message, state.data, run_id, time_ns, failure)
    ended.is_returned = True
    return ended


def _judge_states(
    states: list[State], value: Any, run_id: str, time_ns: int, *, gives_data: bool
) -> State:
    """Return the terminal state of a run that returned only states.

    Args:
        states: The states.
        value: The state or the collection as it was returned.
        run_id: The run.
        time_ns: The current time, in nanoseconds since 1970 UTC.
        gives_data: True if the caller gets the value even if it makes the run fail.
    """
    bad = first_bad(value)
    if bad is None:
        return State(COMPLETED, "Completed", "All states completed.", value, run_id, time_ns)
    kind: StateType = FAILED
    if any(state.type is CANCELLED for state in states):
        kind = CANCELLED
    message = _message_of(states, kind) if not is_instance(value, State) else ""
    message = message or encodable(str(bad.message or summary(bad.error())))
    failure = None
    if kind is FAILED:
        error = RunFailed(message)
        error.__cause__ = bad.error()
        failure = failure_info(error if not is_instance(value, State) else bad.error())
    if not gives_data:
        return State(kind, "", message, value, run_id, time_ns, failure)
    ended = ReturnedState(kind, "", message, value, run_id, time_ns, failure)
    ended.is_returned = False
    return ended


def _message_of(states: list[State], kind: StateType) -> str:
    """Return a phrase for the number of states with a problem, in Prefect's words."""
    if kind is CANCELLED:
        count, what = sum(state.type is CANCELLED for state in states), "cancelled"
    elif paused := sum(state.type is PAUSED for state in states):
        count, what = paused, "paused"
    elif failed := sum(state.type in {FAILED, CRASHED} for state in states):
        count, what = failed, "failed"
    else:
        count, what = sum(state.type not in TERMINAL_TYPES for state in states), "not final"
    return f"{count}/{len(states)} states {'are ' if what == 'not final' else ''}{what}."
