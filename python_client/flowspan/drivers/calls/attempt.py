"""What both drivers do around the call of a function: cancelling, deadlines, the end of a flow."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flowspan.core.failures import error_text
from flowspan.core.values.inspection import is_instance
from flowspan.drivers.cancellation.control import RunControl
from flowspan.exceptions import RunTimeout, TerminationSignal
from flowspan.logging.capture import note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flowspan.core.run import Run
    from flowspan.drivers.process import ProcessContext


BREAK_OFF_WAIT_S = 5.0
"""How long a flow that is broken off (Ctrl-C) waits for the tasks that are running."""

_CAUSES: dict[type, str] = {KeyboardInterrupt: "Interrupted", TerminationSignal: "SIGTERM"}
_MAX_NAMES = 5


@contextmanager
def cancel_with(
    process: ProcessContext,
    run: Run,
    key: object = None,
    interrupt: Callable[[], object] | None = None,
) -> Iterator[None]:
    """Let a run take the service's commands while the block runs.

    Args:
        process: The process.
        run: The run.
        key: See `CancelScope.add_interrupt`.
        interrupt: What breaks off what the run waits for; None if nothing is needed.
    """
    scope = run.scope
    if interrupt is not None:
        scope.add_interrupt(key, interrupt)
    process.watch_commands(run.record.id, RunControl(run).take)
    try:
        yield
    finally:
        process.forget(run.record.id)
        if interrupt is not None:
            scope.remove_interrupt(key)


def begin_attempt(run: Run) -> Run:
    """The run as the code of its next attempt sees it.

    Where the attempt may be stopped apart from the run, at its deadline or because it crashed and
    is to be tried again, what it calls hangs on a scope of its own.
    """
    definition = run.definition
    may_crash = definition.retry is not None and definition.retry.condition is not None
    if definition.timeout_s is None and not (may_crash and definition.is_flow):
        return run
    return run.copy_for_attempt(run.scope.child())


def stop_attempt(run: Run, attempt: Run, error: BaseException | None) -> float | None:
    """Stops what an attempt leaves behind, as far as that is right.

    Tasks that were submitted go on even if the function raised an exception. But where the run was
    cancelled or broken off nothing new begins, and where it is over time they are not waited for.

    Args:
        run: The run.
        attempt: The run as the code of this attempt saw it.
        error: What the function raised; None if it returned.

    Returns:
        How long to wait for the tasks that it submitted, in seconds; None is as long as it takes.
    """
    patience_s: float | None = None
    if is_instance(error, RunTimeout) and error.run_id == run.record.id:
        attempt.scope.cancel(error_text(error), run.record.id)
        patience_s = 0
    elif error is not None and not is_instance(error, Exception):
        if run.definition.is_flow:
            who = f"{run.definition.kind} run {run.record.run_name!r}"
            attempt.scope.cancel(f"{who} was broken off.")
        patience_s = 0 if is_instance(error, GeneratorExit) else BREAK_OFF_WAIT_S
    return patience_s


def say_waiting(run: Run, attempt: Run, error: BaseException | None, patience_s: float) -> None:
    """Say what a flow that is broken off waits for, before it does.

    Args:
        run: The run.
        attempt: The run as the code of this attempt saw it.
        error: What breaks it off.
        patience_s: How long it waits at most, in seconds.
    """
    running = _still_running(attempt)
    if not running:
        return
    again = ""
    if is_instance(error, KeyboardInterrupt):
        again = " Press Ctrl-C again to end at once."
    elif is_instance(error, TerminationSignal):
        again = " Another SIGTERM ends the process at once."
    cause = _CAUSES.get(type(error), "Stopped")
    message = f"{cause}: waits up to {patience_s:g} s for {_named(running)}.{again}"
    note(run, logging.WARNING, message)


def say_left(run: Run, attempt: Run) -> None:
    """Say what a flow that was broken off has not waited for any longer."""
    running = _still_running(attempt)
    if running:
        note(run, logging.WARNING, f"Ends without {_named(running)}.")


def _still_running(attempt: Run) -> list[str]:
    """Return the names of the submitted runs that have begun and have not ended."""
    pending = [getattr(interrupt, "__self__", None) for interrupt in attempt.scope.interrupted_by()]
    return sorted(each.run.record.run_name for each in pending if each is not None)


def _named(names: list[str]) -> str:
    count = len(names)
    some = ", ".join(map(repr, names[:_MAX_NAMES]))
    more = f" and {count - _MAX_NAMES:,} more" if count > _MAX_NAMES else ""
    runs = "task run that is" if count == 1 else "task runs that are"
    return f"{count:,} {runs} still running: {some}{more}"


def close_attempt(run: Run, attempt: Run) -> None:
    """Lets the threads of an attempt's task runner go, and its scope.

    Args:
        run: The run.
        attempt: The run as the code of this attempt saw it.
    """
    if attempt.task_runner is not None:
        attempt.task_runner.close()
        attempt.task_runner = None
    if attempt is not run:
        attempt.scope.close()


def timed_out(run: Run) -> RunTimeout:
    """The error of a run that passed its deadline."""
    definition = run.definition
    who = f"{definition.kind} run {run.record.run_name!r}"
    message = f"{who} exceeded its timeout of {definition.timeout_s:g} s."
    return RunTimeout(message, run.record.id)
