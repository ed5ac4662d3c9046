"""What both drivers do around the call of a function: cancelling, deadlines, the end of a flow."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from flowspan.exceptions import RunTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flowspan.core.runs import Run
    from flowspan.drivers.host import Host


_BREAK_OFF_WAIT_S = 5.0
"""How long a flow that is broken off (Ctrl-C) waits for the tasks that are running."""


@contextmanager
def cancel_with(
    host: Host, run: Run, key: object = None, interrupt: Callable[[], object] | None = None
) -> Iterator[None]:
    """Lets the service cancel a run while the block runs.

    Args:
        host: The process.
        run: The run.
        key: See `CancelScope.add_interrupt`.
        interrupt: What breaks off what the run waits for; None if nothing is needed.
    """
    scope = run.scope
    if interrupt is not None:
        scope.add_interrupt(key, interrupt)
    host.on_cancel(run.record.id, scope.cancel)
    try:
        yield
    finally:
        host.forget(run.record.id)
        if interrupt is not None:
            scope.remove_interrupt(key)


def close_attempt(run: Run, attempt: Run, error: BaseException | None) -> None:
    """Waits for the tasks that a run submitted, and lets their threads go.

    Tasks that were submitted go on even if the function raised an exception. But where the run was
    cancelled or broken off nothing new begins, and where it is over time they are not waited for.

    Args:
        run: The run.
        attempt: The run as the code of this attempt saw it.
        error: What the function raised; None if it returned.
    """
    is_timeout = isinstance(error, RunTimeout) and error.run_id == run.record.id
    is_broken_off = error is not None and not isinstance(error, Exception)
    if is_timeout:
        attempt.scope.cancel(str(error), run.record.id)
    elif is_broken_off and run.definition.is_flow:
        attempt.scope.cancel(f"{run.definition.kind} run {run.record.run_name!r} was broken off.")
    runner, attempt.task_runner = attempt.task_runner, None
    if runner is not None:
        if attempt.scope.cancelled:
            runner.cancel()
        if not is_timeout and not isinstance(error, GeneratorExit):
            runner.wait(_BREAK_OFF_WAIT_S if is_broken_off else None)
        runner.close()
    if attempt is not run:
        attempt.scope.close()


def timed_out(run: Run) -> RunTimeout:
    """The error of a run that passed its deadline."""
    definition = run.definition
    who = f"{definition.kind} run {run.record.run_name!r}"
    message = f"{who} exceeded its timeout of {definition.timeout_s:g} s."
    return RunTimeout(message, run.record.id)
