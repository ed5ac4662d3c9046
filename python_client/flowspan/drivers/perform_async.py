"""The performer of the engine's steps for coroutines; `perform` is its counterpart for plain code.

It is a separate module because asyncio takes a while to import, and plain programs do not need it.
Deadlines interrupt coroutines through asyncio, so nothing here needs `@calls_user_code`.
"""

from __future__ import annotations

import asyncio
import logging
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from flowspan.clock import aio as aio_clock
from flowspan.core.functions import called_name
from flowspan.core.steps import CallBlocking, CallUser, Sleep
from flowspan.logging.capture import note

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import TypeAlias

    from flowspan.core.run import Run
    from flowspan.core.span import RunSpan
    from flowspan.core.steps import Step, Steps

    Perform: TypeAlias = Callable[[Any, Run | None, RunSpan | None], Awaitable[Any]]


async def perform(step: Step, run: Run | None, span: RunSpan | None) -> Any:
    """Perform a step without blocking the loop.

    Args:
        step: The step; not `RUN_FUNCTION`.
        run: The run that it belongs to; None if only its asyncio task may interrupt a wait.
        span: The span that user code is called in; None leaves the current one.

    Returns:
        The value to send to the engine.

    Raises:
        BaseException: The error to throw into the engine.
    """
    return await PERFORMERS[type(step)](step, run, span)


async def perform_all(steps: Steps[Any]) -> Any:
    """Perform steps outside of a driver, until their generator returns.

    Args:
        steps: The generator; it does not yield `RUN_FUNCTION`.

    Returns:
        The generator's return value.

    Raises:
        BaseException: An error of the generator.
    """
    try:
        step = next(steps)
        while True:
            try:
                outcome = await perform(step, None, None)
            except BaseException as error:  # noqa: BLE001 - the generator decides what it means
                step = steps.throw(error)
            else:
                step = steps.send(outcome)
    except StopIteration as stop:
        return stop.value


def perform_closed(step: Step, run: Run) -> Any:
    """Perform a step in a coroutine that was closed, and must not await any more.

    Only plain user code is called. Any other step is skipped.

    Args:
        step: The step.
        run: The run that it belongs to.

    Returns:
        The value to send to the engine.
    """
    if type(step) is not CallUser:
        return None
    value = step.fn(*step.args)
    if type(value) is CoroutineType:
        value.close()
        name = called_name(step.fn)
        note(run, logging.WARNING, f"{name!r} was not awaited: the coroutine of the run is closed.")
        return None
    return value


async def _sleep(step: Sleep, run: Run | None, _span: RunSpan | None) -> None:
    await aio_clock.sleep(step.seconds)
    if run is not None:
        run.scope.check()


async def _call_user(step: CallUser, _run: Run | None, span: RunSpan | None) -> Any:
    token = span.enter() if span is not None else None
    try:
        value = step.fn(*step.args)
        return await value if type(value) is CoroutineType else value
    finally:
        if span is not None:
            span.leave(token)


async def _call_blocking(step: CallBlocking, _run: Run | None, _span: RunSpan | None) -> Any:
    return await asyncio.to_thread(step.fn, *step.args)


PERFORMERS: dict[type[Step], Perform] = {
    Sleep: _sleep,
    CallUser: _call_user,
    CallBlocking: _call_blocking,
}
"""The function that performs a step, by the step's class."""
