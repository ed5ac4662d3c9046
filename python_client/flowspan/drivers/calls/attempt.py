"""The parts of an attempt that sync and async drivers share: scopes, deadlines, submitted tasks."""

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
    from collections.abc import Iterator

    from flowspan.core.run import Run
    from flowspan.drivers.process import ProcessContext


BREAK_OFF_WAIT_S = 5.0
"""The longest wait of an interrupted flow (Ctrl-C) for its running tasks."""

_CAUSES: dict[type, str] = {KeyboardInterrupt: "Interrupted", TerminationSignal: "SIGTERM"}
_MAX_NAMES = 5


@contextmanager
def taking_commands(process: ProcessContext, run: Run) -> Iterator[None]:
    """Let a run take the service's commands while the block runs."""
    process.watch_commands(run.record.id, RunControl(run).take)
    try:
        yield
    finally:
        process.forget(run.record.id)


def begin_attempt(run: Run) -> Run:
    """Return the run as the code of its next attempt sees it.

    If the attempt can be stopped without its run (at its deadline, or after a crash that is
    retried), the returned copy has a child scope, which cancels only the calls of the attempt.
    """
    definition = run.definition
    may_crash = definition.retry is not None and definition.retry.condition is not None
    if definition.timeout_s is None and not (may_crash and definition.is_flow):
        return run
    return run.copy_for_attempt(run.scope.child())


def stop_attempt(run: Run, attempt: Run, error: BaseException | None) -> float | None:
    """Cancel the submitted tasks of an attempt, if its error requires it.

    Submitted tasks continue even if the function raised an exception. If the run was cancelled or
    interrupted, no new task begins; after a timeout, running tasks are not waited for.

    Args:
        run: The run.
        attempt: The run as the code of this attempt saw it.
        error: The error of the function; None if it returned.

    Returns:
        The longest wait for the submitted tasks, in seconds; None for no limit.
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
    """Log the tasks that an interrupted flow waits for, before the wait.

    Args:
        run: The run.
        attempt: The run as the code of this attempt saw it.
        error: The interrupt.
        patience_s: The longest wait, in seconds.
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
    """Log the tasks that an interrupted flow leaves running after its wait."""
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
    """Close the task runner and the scope of an attempt.

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
    """Return the error of a run that passed its deadline."""
    definition = run.definition
    who = f"{definition.kind} run {run.record.run_name!r}"
    message = f"{who} exceeded its timeout of {definition.timeout_s:g} s."
    return RunTimeout(message, run.record.id)
