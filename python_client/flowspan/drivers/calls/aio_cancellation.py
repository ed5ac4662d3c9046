"""Interpretation of asyncio's cancellation: a cancelled run, a cancelled task, or Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, TypeGuard

from flowspan.core.states import COMPLETED
from flowspan.core.values.inspection import is_instance
from flowspan.drivers.cancellation import termination
from flowspan.exceptions import CancelRun, RunSignal, TerminationSignal

if TYPE_CHECKING:
    from flowspan.core.run import Run
    from flowspan.core.states import State


def as_cancel(run: Run, error: BaseException) -> BaseException:
    """Translate an error for the engine.

    Returns:
        For a CancelledError: CancelRun, TerminationSignal or KeyboardInterrupt, depending on the
        origin of the cancellation. Unless the run itself was cancelled, its cause is the
        CancelledError, for `passed_on`. Any other error is returned unchanged.
    """
    if not is_instance(error, asyncio.CancelledError):
        return error
    if run.scope.cancelled:
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()
        return CancelRun(run.scope.reason or "The run was cancelled.")
    stop: BaseException = CancelRun("The asyncio task that ran it was cancelled.")
    if termination.has_come():
        stop = TerminationSignal(signal.SIGTERM)
    elif _is_interrupted():
        stop = KeyboardInterrupt()
    stop.__cause__ = error
    return stop


def passed_on(state: State) -> State:
    """Return the state, unless the asyncio task must end as cancelled.

    Raises:
        asyncio.CancelledError: The asyncio task was cancelled, and not because the run was.
    """
    cause = None if state.type is COMPLETED else cancelled_error(state.data)
    if cause is not None:
        raise cause
    return state


def cancelled_error(stop: object) -> asyncio.CancelledError | None:
    """Return the CancelledError of the asyncio task if it is why a run ended; else None."""
    cause = stop.__cause__ if is_instance(stop, (RunSignal, KeyboardInterrupt)) else None
    return cause if is_instance(cause, asyncio.CancelledError) else None


def _is_interrupted() -> bool:
    """Return True if `asyncio.run` cancels because of Ctrl-C.

    It handles the signal itself: it cancels its task, and raises KeyboardInterrupt when the task
    has ended. Until then, only its private counter shows the signal.
    """
    handler = signal.getsignal(signal.SIGINT)
    runner = getattr(getattr(handler, "func", None), "__self__", None)
    return isinstance(runner, asyncio.Runner) and getattr(runner, "_interrupt_count", 0) > 0


def is_break_off(error: BaseException | None) -> TypeGuard[BaseException]:
    """Return True for Ctrl-C and SIGTERM, after which nothing is awaited a second time."""
    return is_instance(error, (KeyboardInterrupt, TerminationSignal))
