"""What it means that asyncio cancels: the run was cancelled, the asyncio task was, or Ctrl-C."""

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
    """What the engine is told of an error.

    Returns:
        For a CancelledError, CancelRun, or KeyboardInterrupt where it is Ctrl-C; unless it was the
        run that was cancelled, its cause is the CancelledError, for `passed_on`. Else the error.
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
    """The state; but an asyncio task that was cancelled must end so.

    Raises:
        asyncio.CancelledError: It was cancelled, and not because the run was.
    """
    cause = None if state.type is COMPLETED else cancelled_error(state.data)
    if cause is not None:
        raise cause
    return state


def cancelled_error(stop: object) -> asyncio.CancelledError | None:
    """What cancelled the asyncio task, where that is why a run was broken off."""
    cause = stop.__cause__ if is_instance(stop, (RunSignal, KeyboardInterrupt)) else None
    return cause if is_instance(cause, asyncio.CancelledError) else None


def _is_interrupted() -> bool:
    """Whether `asyncio.run` cancels because of Ctrl-C.

    It handles the signal itself, cancels its task and raises KeyboardInterrupt when that has ended.
    Meanwhile only the count of its handler tells.
    """
    handler = signal.getsignal(signal.SIGINT)
    runner = getattr(getattr(handler, "func", None), "__self__", None)
    return isinstance(runner, asyncio.Runner) and getattr(runner, "_interrupt_count", 0) > 0


def is_break_off(error: BaseException | None) -> TypeGuard[BaseException]:
    """True for Ctrl-C and SIGTERM, after which nothing is waited for a second time."""
    return is_instance(error, (KeyboardInterrupt, TerminationSignal))
