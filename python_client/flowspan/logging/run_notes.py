"""Flowspan's own log lines about runs: their end, retries, and problems.

The service stores each line with the full traceback. The console output is short: the traceback of
an exception that ends several runs is shown once (`shown_tracebacks`), and similar lines are folded
(`repeated_lines`).
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from flowspan import clock
from flowspan.core.failures import failure_info, summary, whole_trace
from flowspan.core.states import CANCELLED, TERMINAL_TYPES, State
from flowspan.core.trace_urls import url_of_trace
from flowspan.core.values.inspection import encodable, is_instance
from flowspan.exceptions import TerminationSignal
from flowspan.logging.loggers import extra_of, logger_of
from flowspan.logging.record_facts import Facts
from flowspan.logging.repeated_lines import Folding, Line, cancelled_words
from flowspan.logging.shown_tracebacks import first_line, last_line, trace_to_show
from flowspan.logging.user_code import user_callers
from flowspan.own_threads import own_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.core.run import Run

_TICK_S = 0.25
_KIND_LENGTH = 24
_BAR = " | "
_QUIET = (KeyboardInterrupt, SystemExit, GeneratorExit, TerminationSignal)
"""Exceptions that end the program, or work at its request: their origin is known. Python
shows the traceback of Ctrl-C itself."""


class Notes:
    """The log of lines about runs.

    Args:
        is_on_stderr: Returns True if a logger's records of a level appear on standard error.
        report_text: Reports a text of a run: (run, level, logger, message, ids).

    Attributes:
        trace_url: Returns the address of a trace, with ``{trace_id}`` in place of the id; empty if
            it is not known.
    """

    def __init__(
        self,
        is_on_stderr: Callable[[logging.Logger, int], bool],
        report_text: Callable[..., None],
    ) -> None:
        self._is_on_stderr = is_on_stderr
        self._report_text = report_text
        self.trace_url: Callable[[], str] = str
        self.reset()

    def reset(self) -> None:
        """Discard the counts, for a forked child and for tests."""
        self._folding = Folding(self._show, _start_ticking)

    def flush(self) -> None:
        """Show the lines that were only counted so far."""
        self._folding.flush()

    def note(
        self, run: Run, level: int, message: str, cause: BaseException | State | None = None
    ) -> None:
        """Log a line about a run. Never raises.

        Args:
            run: The run.
            level: The level, as in `logging`.
            message: The text; if the cause is a state, its message is appended.
            cause: The exception that the line is about, or the state that ends the run.
        """
        logger = logger_of(run)
        if not logger.isEnabledFor(level):
            return
        # Not the current span, which may still be, or be again, the caller's.
        ids = ("", "") if run.span is None else run.span.own_ids()
        state = cause if is_instance(cause, State) else None
        details = f"{_details(state)}{_whole(cause)}" if cause is not None else ""
        stored = encodable(f"{message}{details}")
        shown = message
        if state is not None:
            shown = f"{message}{_details(state, is_short=state.failure is not None)}"
            if run.definition.is_flow and state.type in TERMINAL_TYPES:
                shown += cancelled_words(self._folding.close(run))
        if level >= logging.WARNING and self._folding.hold(
            _line(run, level, shown, message, cause)
        ):
            self._report_text(run, level, logger.name, stored, ids)
            return
        trace = self._trace(run, logger, level, cause)
        extra = extra_of(run, Facts(run, stored, "" if state is None else state.name, is_note=True))
        if not _log(logger, level, f"{shown}\n{trace}" if trace else shown, extra):
            self._report_text(run, level, logger.name, stored, ids)
        if run.span is not None and state is not None and state.type in TERMINAL_TYPES:
            self._show_trace(run)

    def _trace(
        self, run: Run, logger: logging.Logger, level: int, cause: BaseException | State | None
    ) -> str:
        error = cause.data if is_instance(cause, State) else cause
        if is_instance(cause, State) and cause.failure is None:
            return ""
        if not is_instance(error, BaseException):
            return "" if not is_instance(cause, State) else _whole(cause).lstrip("\n")
        if is_instance(error, _QUIET):
            return ""
        on_stderr = self._is_on_stderr(logger, level)
        try:
            root_id = run.record.root_run_id
            trace = trace_to_show(error, root_id, user_callers(), on_stderr=on_stderr)
            return trace if trace or is_instance(cause, State) else last_line(error)
        except Exception:  # noqa: BLE001 - the exception is user code, in all its methods
            return _whole(cause).lstrip("\n")

    def _show_trace(self, run: Run) -> None:
        """Show the address of the trace of a flow run that no other run called."""
        record = run.record
        if not run.definition.is_flow or record.parent_run_id:
            return
        url = url_of_trace(self.trace_url(), record.traceparent)
        if url:
            self._show(run, logging.INFO, f"Trace: {url}")

    def _show(self, run: Run, level: int, message: str) -> None:
        logger = logger_of(run)
        if logger.isEnabledFor(level):
            _log(
                logger, level, message, extra_of(run, Facts(run, is_note=True, is_shown_only=True))
            )


def _log(logger: logging.Logger, level: int, message: str, extra: dict[str, Any]) -> bool:
    """Log a line; return False if a test's frozen clock made that impossible."""
    try:
        logger.log(level, encodable(message), extra=extra)
    except Exception:  # noqa: BLE001 - the program's filters and handlers may raise anything
        # The run continues. As `logging` does, show the error on standard error if possible.
        if logging.raiseExceptions and sys.stderr is not None:
            with suppress(Exception):
                traceback.print_exc(file=sys.stderr)
        return not clock.is_patched()
    return True


def _details(state: State | None, *, is_short: bool = False) -> str:
    if state is None:
        return ""
    if not state.message:
        return "."
    return f": {first_line(state.message) if is_short else state.message}"


def _whole(cause: BaseException | State | None) -> str:
    """Return the full traceback of a cause, for storing."""
    if cause is None:
        return ""
    if is_instance(cause, State):
        failure = cause.failure
    else:
        failure = failure_info(cast("BaseException", cause))
    return "" if failure is None else f"\n{whole_trace(failure)}"


def _line(
    run: Run, level: int, shown: str, message: str, cause: BaseException | State | None
) -> Line:
    """Return the line in the form in which it is folded."""
    if is_instance(cause, State):
        name = "Cancelled" if cause.type is CANCELLED else cause.name
        return Line(run, level, shown, name, _without_name(run, first_line(cause.message)), name)
    kind, reason = message, first_line(message)
    text, bar, outcome = message.rpartition(_BAR)
    if bar and outcome.startswith("Retry "):
        # The error's own text comes first: it may be long, and different in each run.
        kind = outcome.partition(" begins ")[0]
        reason = f"{first_line(text)}{bar}{first_line(outcome)}"
    if cause is not None:
        error = cast("BaseException", cause)
        reason = f"{reason} {first_line(summary(error))}"
    return Line(run, level, shown, kind[:_KIND_LENGTH], _without_name(run, reason))


def _without_name(run: Run, reason: str) -> str:
    """Return a reason without the name of the run, which would make each reason unique."""
    return reason.replace(repr(run.record.run_name), "'…'")


def _start_ticking(tick: Callable[[], bool]) -> None:
    pause = threading.Event()

    def work() -> None:
        while not pause.wait(_TICK_S):
            if not tick():
                return

    own_thread("flowspan-console", work).start()
