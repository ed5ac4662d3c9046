"""The performer of the engine's steps for plain code; `perform_async` is its counterpart.

No other module interprets steps, except for `RUN_FUNCTION`: each driver calls the function of its
run in its own way. A new step needs one entry in `PERFORMERS` here and one in `perform_async`.

A deadline may interrupt user code that a performer calls, so the functions on that path are marked
with `@calls_user_code`.
"""

from __future__ import annotations

from types import CoroutineType
from typing import TYPE_CHECKING, Any

from flowspan import clock
from flowspan.core.steps import CallBlocking, CallUser, Sleep
from flowspan.drivers.cancellation.safe_points import calls_user_code
from flowspan.drivers.cancellation.scope import sleep_in
from flowspan.drivers.sync_async_bridge import run_coroutine

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from flowspan.core.run import Run
    from flowspan.core.span import RunSpan
    from flowspan.core.steps import Step, Steps

    Perform: TypeAlias = Callable[[Any, Run | None, RunSpan | None], Any]


@calls_user_code
def perform(step: Step, run: Run | None, span: RunSpan | None) -> Any:
    """Perform a step in this thread.

    Args:
        step: The step; not `RUN_FUNCTION`.
        run: The run that it belongs to; None outside of runs.
        span: The span that user code is called in; None leaves the current one.

    Returns:
        The value to send to the engine.

    Raises:
        BaseException: The error to throw into the engine.
    """
    return PERFORMERS[type(step)](step, run, span)


@calls_user_code
def perform_all(steps: Steps[Any], run: Run | None) -> Any:
    """Perform steps outside of a driver, until their generator returns.

    Args:
        steps: The generator; it does not yield `RUN_FUNCTION`.
        run: The run whose code calls this; None outside of runs.

    Returns:
        The generator's return value.

    Raises:
        BaseException: An error of the generator.
    """
    try:
        step = next(steps)
        while True:
            try:
                outcome = perform(step, run, None)
            except BaseException as error:  # noqa: BLE001 - the generator decides what it means
                step = steps.throw(error)
            else:
                step = steps.send(outcome)
    except StopIteration as stop:
        return stop.value


def _sleep(step: Sleep, run: Run | None, _span: RunSpan | None) -> None:
    if run is None:
        clock.sleep(step.seconds)
    else:
        sleep_in(run, step.seconds)


@calls_user_code
def _call_user(step: CallUser, _run: Run | None, span: RunSpan | None) -> Any:
    if span is None:
        value = step.fn(*step.args)
        return run_coroutine(value) if type(value) is CoroutineType else value
    token = span.enter()
    try:
        value = step.fn(*step.args)
        return run_coroutine(value) if type(value) is CoroutineType else value
    finally:
        span.leave(token)


@calls_user_code
def _call_blocking(step: CallBlocking, _run: Run | None, _span: RunSpan | None) -> Any:
    return step.fn(*step.args)


PERFORMERS: dict[type[Step], Perform] = {
    Sleep: _sleep,
    CallUser: _call_user,
    CallBlocking: _call_blocking,
}
"""The function that performs a step, by the step's class."""
