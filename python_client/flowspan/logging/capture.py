"""Capturing the log records of runs, and showing them on the console.

Two handlers on the root logger, put there at the first run: `ReportHandler` reports the records of
runs to the service; `ConsoleHandler` shows them on standard error, unless the program has logging
of its own that shows them.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from typing import TYPE_CHECKING

from flowspan.core.events import LOG
from flowspan.core.runs import current_run
from flowspan.logging.run_logger import FLOW_RUNS, TASK_RUNS, extra_of, logger_of

if TYPE_CHECKING:
    from flowspan.core.events import Emit
    from flowspan.core.runs import Run

_RUN_LOGGERS = frozenset({FLOW_RUNS.name, TASK_RUNS.name})
_INTERNAL = ("flowspan.", "grpc.", "opentelemetry.")
"""Loggers of what reports the logs: reporting theirs would make more of them."""

_INTERNAL_NAMES = frozenset(name.rstrip(".") for name in _INTERNAL)
_NS_PER_S = 1_000_000_000


class ReportHandler(logging.Handler):
    """Reports the log records of runs.

    Attributes:
        emit_event: Takes the events; None until the first run.
    """

    def __init__(self) -> None:
        super().__init__()
        self.emit_event: Emit | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Reports a record, if it was made inside a run."""
        run = run_of(record)
        if run is None or self.emit_event is None:
            return
        try:
            message = self.format(record)
        except Exception:  # noqa: BLE001 - the record's arguments are user code
            self.handleError(record)
            return
        report(
            self.emit_event,
            run,
            record.levelno,
            int(record.created * _NS_PER_S),
            record.name,
            message,
        )


class ConsoleHandler(logging.Handler):
    """Shows the log records of runs on standard error: time | level | run - message.

    It keeps still where another handler gets the record too, for then the program shows its logs
    itself. Outside of runs it only stands in for the `logging.lastResort` of Python, which shows
    warnings and is no longer asked once the root logger has a handler.

    Attributes:
        enabled: False switches the lines of runs off.
    """

    def __init__(self) -> None:
        super().__init__()
        self.enabled = True

    def emit(self, record: logging.LogRecord) -> None:
        """Shows a record."""
        if _others_handle(record.name):
            return
        run = run_of(record)
        if run is None:
            last_resort = logging.lastResort
            if last_resort is not None and record.levelno >= last_resort.level:
                last_resort.handle(record)
            return
        if not self.enabled:
            return
        try:
            sys.stderr.write(_console_line(run, record, self.format(record)))
            sys.stderr.flush()
        except Exception:  # noqa: BLE001 - as logging.StreamHandler does
            self.handleError(record)


_report_handler = ReportHandler()
_console_handler = ConsoleHandler()
_own = (_report_handler, _console_handler)
_lock = threading.Lock()


def install(emit: Emit, level: str, *, console: bool) -> None:
    """Begins to capture; may be called again, for example after a fork.

    The root logger's level is lowered to `level` only where nobody has set logging up: else the
    program's own handlers would suddenly show more than they were meant to.

    Args:
        emit: Takes the events.
        level: From which level records of runs are reported.
        console: Whether they are shown on standard error.
    """
    number = logging.getLevelName(level)
    with _lock:
        _report_handler.emit_event = emit
        _console_handler.enabled = console
        for handler in _own:
            handler.setLevel(number)
        FLOW_RUNS.setLevel(number)
        TASK_RUNS.setLevel(number)
        root = logging.getLogger()
        untouched = not [handler for handler in root.handlers if handler not in _own]
        if untouched and root.level == logging.WARNING and number < root.level:
            root.setLevel(number)
        ensure_installed()
    # Warnings outside of runs are shown as before, whatever the level for runs is.
    _console_handler.setLevel(min(number, logging.WARNING))


def ensure_installed() -> None:
    """Puts the handlers back if something took them off (`logging.basicConfig(force=True)`)."""
    root = logging.getLogger()
    for handler in _own:
        if handler not in root.handlers and _report_handler.emit_event is not None:
            root.addHandler(handler)


def uninstall() -> None:
    """Stops capturing, for tests."""
    root = logging.getLogger()
    for handler in _own:
        root.removeHandler(handler)
    _report_handler.emit_event = None


def set_console(enabled: bool) -> bool:  # noqa: FBT001 - a setter
    """Switches the console lines of runs on or off, for a program that draws on the terminal.

    Returns:
        How it was before.
    """
    before, _console_handler.enabled = _console_handler.enabled, enabled
    return before


def note(run: Run, level: int, message: str, error: BaseException | None = None) -> None:
    """Logs a line of flowspan's about a run."""
    logger = logger_of(run)
    if logger.isEnabledFor(level):
        logger.log(level, message, exc_info=error, extra=extra_of(run))


def report(emit: Emit, run: Run, level: int, time_ns: int, logger: str, message: str) -> None:
    """Reports one log record of a run."""
    trace_id, span_id = ("", "") if run.span is None else run.span.current_ids()
    emit((LOG, run.record.id, run.attempt, level, time_ns, logger, message, trace_id, span_id))


def report_text(run: Run, level: int, logger: str, message: str) -> None:
    """Reports a text that did not come through `logging`, such as a print."""
    if _report_handler.emit_event is not None:
        report(_report_handler.emit_event, run, level, time.time_ns(), logger, message)


def run_of(record: logging.LogRecord) -> Run | None:
    """The run that a record belongs to; None outside of runs and for flowspan's own workings."""
    name = record.name
    if name not in _RUN_LOGGERS and (name.startswith(_INTERNAL) or name in _INTERNAL_NAMES):
        return None
    run: Run | None = getattr(record, "flowspan_run", None)
    return run if run is not None else current_run.get()


def _others_handle(name: str) -> bool:
    """Whether a handler that is not flowspan's gets the records of a logger."""
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None:
        if any(handler not in _own for handler in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False


def _console_line(run: Run, record: logging.LogRecord, message: str) -> str:
    clock = time.strftime("%H:%M:%S", time.localtime(record.created))
    kind = "Flow" if run.definition.is_flow else "Task"
    return (
        f"{clock}.{int(record.msecs):03d} | {record.levelname:<8} | "
        f"{kind} run {run.record.run_name!r} - {message}\n"
    )
