"""Capturing the log records of runs, and showing them on the console.

Two handlers on the root logger, put there at the first run: `ReportHandler` reports the records of
runs to the service; `ConsoleHandler` shows them on standard error, unless the program has logging
of its own that shows them. Extra loggers, which do not reach the root logger or have a higher
level, get the former handler themselves.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from flowspan import clock
from flowspan.core.events import LOG
from flowspan.core.runs import current_run
from flowspan.logging.loggers import FLOW_RUNS, TASK_RUNS, enable, extra_of, logger_of

if TYPE_CHECKING:
    from flowspan.core.events import Emit
    from flowspan.core.runs import Run

_USERS = ("flowspan.flow_runs", "flowspan.task_runs", "flowspan.user")
_INTERNAL = ("flowspan.", "grpc.", "opentelemetry.")
"""Loggers of what reports the logs: reporting theirs would make more of them."""

_INTERNAL_NAMES = frozenset(name.rstrip(".") for name in _INTERNAL)
_NS_PER_S = 1_000_000_000
_REPORTED = "flowspan_reported"
_IDS = "flowspan_ids"


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
        if run is None or self.emit_event is None or hasattr(record, _REPORTED):
            return
        setattr(record, _REPORTED, True)  # an extra logger may pass it on to the root logger
        try:
            message = self.format(record)
        except Exception:  # noqa: BLE001 - the record's arguments are user code
            self.handleError(record)
            return
        report(
            self.emit_event,
            run,
            record.levelno,
            clock.now_ns() if clock.is_patched() else int(record.created * _NS_PER_S),
            record.name,
            message,
            getattr(record, _IDS, None),
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
_extra_loggers: tuple[str, ...] = ()
_lowered_from: int | None = None
"""The level that the root logger had before it was lowered; None if it was not."""
_basic_config = logging.basicConfig
_levels: dict[logging.Logger, tuple[int, int]] = {}
"""What `install` did to the levels of extra loggers: the one before, and the one that it set."""


def install(emit: Emit, level: str, *, console: bool, extra_loggers: tuple[str, ...] = ()) -> None:
    """Begins to capture; may be called again, for example after a fork.

    The root logger's level is lowered to `level` only where nobody has set logging up: else the
    program's own handlers would suddenly show more than they were meant to.

    Args:
        emit: Takes the events.
        level: From which level records of runs are reported.
        console: Whether they are shown on standard error.
        extra_loggers: Names of loggers whose records are reported from that level on whatever the
            program says of them: their level is lowered, and they need not reach the root logger.
    """
    global _extra_loggers, _lowered_from  # noqa: PLW0603 - one per process
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
            _lowered_from = root.level
            root.setLevel(number)
        for name in extra_loggers:
            logger = logging.getLogger(name)
            if logger.getEffectiveLevel() > number:
                _levels[logger] = logger.level, number
                logger.setLevel(number)
        _extra_loggers = extra_loggers
        logging.basicConfig = _basic_config_beside
        ensure_installed()
    # Warnings outside of runs are shown as before, whatever the level for runs is.
    _console_handler.setLevel(min(number, logging.WARNING))


def ensure_installed() -> None:
    """Puts the handlers back if something took them off, such as `logging.config.dictConfig`."""
    if _report_handler.emit_event is None:
        return
    root = logging.getLogger()
    for handler in _own:
        if handler not in root.handlers:
            root.addHandler(handler)
    for name in _extra_loggers:
        logger = logging.getLogger(name)
        if _report_handler not in logger.handlers:
            logger.addHandler(_report_handler)
    enable()


def uninstall() -> None:
    """Stop capturing, and leave the loggers as they were."""
    global _extra_loggers, _lowered_from
    root = logging.getLogger()
    if _lowered_from is not None and root.level == _report_handler.level:
        root.setLevel(_lowered_from)
    for logger, (before, lowered) in _levels.items():
        if logger.level == lowered:
            logger.setLevel(before)
    _levels.clear()
    for handler in _own:
        root.removeHandler(handler)
    for name in _extra_loggers:
        logging.getLogger(name).removeHandler(_report_handler)
    _extra_loggers, _lowered_from = (), None
    _report_handler.emit_event = None
    logging.basicConfig = _basic_config


def _basic_config_beside(**options: Any) -> None:
    """`logging.basicConfig`, which does nothing where the root logger has handlers: not for ours.

    So a program may set its logging up after its first run, as it could without flowspan.
    """
    global _lowered_from  # noqa: PLW0603 - one per process
    root = logging.getLogger()
    own = [handler for handler in root.handlers if handler in _own]
    for handler in own:
        root.removeHandler(handler)
    if not root.handlers and _lowered_from is not None:
        root.setLevel(_lowered_from)
        _lowered_from = None
    try:
        _basic_config(**options)
    finally:
        for handler in own:
            root.addHandler(handler)


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
        # Not of the span in which the line is made: that may still be, or be again, the caller's.
        ids = ("", "") if run.span is None else run.span.own_ids()
        try:
            logger.log(level, message, exc_info=error, extra={**extra_of(run), _IDS: ids})
        except Exception:  # noqa: BLE001 - a filter, a handler or a clock of the program's raises
            report_text(run, level, logger.name, message)


def report(
    emit: Emit,
    run: Run,
    level: int,
    time_ns: int,
    logger: str,
    message: str,
    ids: tuple[str, str] | None = None,
) -> None:
    """Reports one log record of a run.

    Args:
        emit: Takes the event.
        run: The run.
        level: How grave it is, as in `logging`.
        time_ns: When it was made, in nanoseconds since 1970 UTC.
        logger: The name of the logger.
        message: The text.
        ids: Its trace id and span id; those of the innermost span here if None.
    """
    if ids is None:
        ids = ("", "") if run.span is None else run.span.current_ids()
    trace_id, span_id = ids
    emit((LOG, run.record.id, run.attempt, level, time_ns, logger, message, trace_id, span_id))


def report_text(run: Run, level: int, logger: str, message: str) -> None:
    """Reports a text that did not come through `logging`, such as a print."""
    if _report_handler.emit_event is not None:
        report(_report_handler.emit_event, run, level, clock.now_ns(), logger, message)


def run_of(record: logging.LogRecord) -> Run | None:
    """The run that a record belongs to; None outside of runs and for flowspan's own workings."""
    name = record.name
    is_internal = name.startswith(_INTERNAL) or name in _INTERNAL_NAMES
    if is_internal and not name.startswith(_USERS):
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
    at = time.strftime("%H:%M:%S", time.localtime(record.created))
    kind = "Flow" if run.definition.is_flow else "Task"
    return (
        f"{at}.{int(record.msecs):03d} | {record.levelname:<8} | "
        f"{kind} run {run.record.run_name!r} - {message}\n"
    )
