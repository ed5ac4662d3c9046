"""Capture of the log records of runs, for the service and the console.

The first run adds two handlers to the root logger: `ReportHandler` reports the records of runs to
the service; `ConsoleHandler` shows them on standard error, unless the program's own logging does.
Extra loggers, and the loggers of runs if they do not propagate to the root logger, get the
`ReportHandler` directly.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from typing import TYPE_CHECKING, Protocol

from flowspan import clock
from flowspan.core.events import LOG
from flowspan.core.held_events import current_hold
from flowspan.core.run import current_run
from flowspan.core.values.inspection import exact_text
from flowspan.logging import uncaught
from flowspan.logging.console import is_stderr, write_line
from flowspan.logging.loggers import (
    FLOW_RUNS,
    TASK_RUNS,
    enable,
    name_runs_in_records,
    stop_naming_runs,
)
from flowspan.logging.record_facts import AMBIENT, facts_of, is_copy, names_of, report_once
from flowspan.logging.root_level import RootLevel
from flowspan.logging.run_notes import Notes
from flowspan.logging.user_code import is_of_library

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from flowspan.core.events import Emit
    from flowspan.core.run import Run

_USERS = ("flowspan.flow_runs", "flowspan.task_runs", "flowspan.user")
_INTERNAL = ("flowspan.", "grpc.", "opentelemetry.")
"""Internal loggers of the reporting path: reporting their records would create more of them."""

_INTERNAL_NAMES = frozenset(name.rstrip(".") for name in _INTERNAL)
_PACKAGE = logging.getLogger("flowspan")
_NS_PER_S = 1_000_000_000


class LineExport(Protocol):
    """An export of the lines that are reported, such as `flowspan.telemetry.logs.LogExport`."""

    def __call__(
        self,
        run: Run,
        level: int,
        time_ns: int,
        logger_name: str,
        text: str,
        ids: tuple[str, str],
        attributes: Mapping[str, str | int],
        record: logging.LogRecord | None,
        /,
    ) -> bool:
        """Export a line; return False if nothing is exported, which is final."""
        ...

    def close(self) -> None:
        """End the export."""
        ...


class ReportHandler(logging.Handler):
    """The handler that reports the log records of runs.

    Attributes:
        emit_event: Accepts the events; None until the first run.
        export: Sends the same lines elsewhere; None if they are not exported.
    """

    def __init__(self) -> None:
        super().__init__()
        self.emit_event: Emit | None = None
        self.export: LineExport | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Report a record if it comes from a run and not from a library."""
        facts = facts_of(record) or AMBIENT
        if self.emit_event is None or facts.is_shown_only or facts.is_printed:
            return
        run = captured_run_of(record)
        # An extra logger may pass it on to the root logger.
        if run is None or not report_once(record):
            return
        try:
            message = facts.stored or exact_text(self.format(record))
        except Exception:  # noqa: BLE001 - the record's arguments are user code
            self.handleError(record)
            return
        report(
            self.emit_event,
            run,
            record.levelno,
            clock.now_ns()
            if clock.is_patched()
            else clock.of_wall_ns(int(record.created * _NS_PER_S)),
            record.name,
            message,
            # The place of flowspan's own lines is inside flowspan, and tells a user nothing.
            record=None if facts.is_note else record,
        )


class ConsoleHandler(logging.Handler):
    """The handler that shows the log records of runs: time | level | run - message.

    It writes to standard error, and does nothing if another handler than OpenTelemetry's gets the
    record too, because then the program shows its logs itself. For records outside of runs and of
    libraries, it only replaces Python's `logging.lastResort`, which shows warnings but is bypassed
    once the root logger has a handler.

    Attributes:
        enabled: False disables the lines of runs.
        colours: False disables colours.
    """

    def __init__(self) -> None:
        super().__init__()
        self.enabled = True
        self.colours = True

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record."""
        if (facts_of(record) or AMBIENT).is_printed:
            return
        others = list(other_handlers(record.name))
        if any(map(_may_show, others)):
            return
        run = captured_run_of(record)
        if run is None:
            last_resort = None if others else logging.lastResort
            if last_resort is not None and record.levelno >= last_resort.level:
                last_resort.handle(record)
            return
        if not self.enabled:
            return
        try:
            write_line(run, record, self.format(record), colours=self.colours)
        except Exception:  # noqa: BLE001 - as logging.StreamHandler does
            self.handleError(record)


_report_handler = ReportHandler()
_console_handler = ConsoleHandler()
_own = (_report_handler, _console_handler)
_lock = threading.Lock()
_extra_loggers: tuple[str, ...] = ()
_root_level = RootLevel(_own)
_levels: dict[logging.Logger, tuple[int, int]] = {}
"""Levels of extra loggers: the original one, and the one set by `install`."""


def install(
    emit: Emit,
    level: str,
    *,
    console: bool,
    extra_loggers: tuple[str, ...] = (),
    colours: bool = True,
    trace_url: Callable[[], str] = str,
    export: LineExport | None = None,
) -> None:
    """Start capturing. May be called again, for example after a fork.

    The root logger's level is lowered to `level` only if the program has not configured logging;
    otherwise the program's own handlers would suddenly show more than intended.

    Args:
        emit: Accepts the events.
        level: The minimum level at which records of runs are reported.
        console: True to show the records on standard error.
        extra_loggers: Names of loggers whose records are reported from that level on, whatever the
            program configures: their level is lowered, and they need not propagate to the root.
        colours: True to use colours on a terminal.
        trace_url: Returns the address of a trace, with ``{trace_id}`` in place of the id; empty if
            it is not known.
        export: Accepts the same lines for an export (`flowspan.telemetry.logs`); None for none.
    """
    global _extra_loggers  # noqa: PLW0603 - one per process
    number = logging.getLevelName(level)
    with _lock:
        _report_handler.emit_event, _report_handler.export = emit, export
        _console_handler.enabled = console
        _console_handler.colours = colours
        _notes.trace_url = trace_url
        for handler in _own:
            handler.setLevel(number)
        FLOW_RUNS.setLevel(number)
        TASK_RUNS.setLevel(number)
        _root_level.lower(number)
        name_runs_in_records()
        uncaught.watch()
        for name in extra_loggers:
            logger = logging.getLogger(name)
            if logger.getEffectiveLevel() > number:
                _levels[logger] = logger.level, number
                logger.setLevel(number)
        _extra_loggers = extra_loggers
        ensure_installed()
    # Warnings outside of runs are shown as before, whatever the level for runs.
    _console_handler.setLevel(min(number, logging.WARNING))


def ensure_installed() -> None:
    """Restore the handlers if something removed them, such as `logging.config.dictConfig`."""
    if _report_handler.emit_event is None:
        return
    root = logging.getLogger()
    for handler in _own:
        if handler not in root.handlers:
            root.addHandler(handler)
    for name in _extra_loggers:
        _add_report_handler(logging.getLogger(name))
    if not (FLOW_RUNS.propagate and TASK_RUNS.propagate and _PACKAGE.propagate):
        _add_report_handler(FLOW_RUNS)
        _add_report_handler(TASK_RUNS)
    enable()


def _add_report_handler(logger: logging.Logger) -> None:
    if _report_handler not in logger.handlers:
        logger.addHandler(_report_handler)


def uninstall() -> None:
    """Stop capturing, and restore the loggers."""
    global _extra_loggers  # noqa: PLW0603 - one per process
    root = logging.getLogger()
    for logger, (before, lowered) in _levels.items():
        if logger.level == lowered:
            logger.setLevel(before)
    _levels.clear()
    for handler in _own:
        root.removeHandler(handler)
    for logger in (FLOW_RUNS, TASK_RUNS, *map(logging.getLogger, _extra_loggers)):
        logger.removeHandler(_report_handler)
    _extra_loggers = ()
    export = _report_handler.export
    _report_handler.emit_event = _report_handler.export = None
    if export is not None:
        export.close()
    _root_level.restore()
    _root_level.forget()
    _notes.reset()
    stop_naming_runs()
    uncaught.unwatch()


def set_console(enabled: bool) -> bool:  # noqa: FBT001 - a setter
    """Enable or disable the console lines of runs, for a program that draws on the terminal.

    Returns:
        The previous setting.
    """
    before, _console_handler.enabled = _console_handler.enabled, enabled
    return before


def report(
    emit: Emit,
    run: Run,
    level: int,
    time_ns: int,
    logger: str,
    message: str,
    ids: tuple[str, str] | None = None,
    record: logging.LogRecord | None = None,
) -> None:
    """Report one log record of a run.

    Args:
        emit: Accepts the event.
        run: The run.
        level: The level, as in `logging`.
        time_ns: The time of the record, in nanoseconds since 1970 UTC.
        logger: The name of the logger.
        message: The text.
        ids: The trace id and span id; None for those of the current span.
        record: The record, if the text came through `logging` from the program's own code.
    """
    if ids is None:
        ids = ("", "") if run.span is None else run.span.current_ids()
    trace_id, span_id = ids
    hold = current_hold.get()
    if hold is not None:
        emit = hold.emit
    emit((LOG, run.record.id, run.attempt, level, time_ns, logger, message, trace_id, span_id))
    export = _report_handler.export
    if export is not None and not export(
        run, level, time_ns, logger, message, ids, names_of(run), record
    ):
        _report_handler.export = None


def report_text(
    run: Run, level: int, logger: str, message: str, ids: tuple[str, str] | None = None
) -> None:
    """Report text that did not come through `logging`, such as a print."""
    if _report_handler.emit_event is not None:
        report(_report_handler.emit_event, run, level, clock.now_ns(), logger, message, ids)


def run_of(record: logging.LogRecord) -> Run | None:
    """Return the run of a record; None outside of runs and for flowspan's internal loggers."""
    name = record.name
    is_internal = name.startswith(_INTERNAL) or name in _INTERNAL_NAMES
    if is_internal and not name.startswith(_USERS):
        return None
    facts = facts_of(record)
    if facts is not None and facts.run is not None:
        return facts.run
    return None if is_copy(record) else current_run.get()


def captured_run_of(record: logging.LogRecord) -> Run | None:
    """Return the run that captures a record; None for libraries, except extra loggers."""
    run = run_of(record)
    if run is None or record.name.startswith(_USERS):
        return run
    if (facts_of(record) or AMBIENT).run is not None:
        return run
    if is_of_library(record, run) and not _is_extra(record.name):
        return None
    return run


def other_handlers(name: str) -> Iterator[logging.Handler]:
    """Yield the handlers other than flowspan's that receive the records of a logger."""
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None:
        for handler in logger.handlers:
            if handler not in _own:
                yield handler
        logger = logger.parent if logger.propagate else None


def _may_show(handler: logging.Handler) -> bool:
    """Return True if a handler may show records to people; OpenTelemetry's only sends them."""
    return not type(handler).__module__.startswith("opentelemetry.")


def _is_on_stderr(logger: logging.Logger, level: int) -> bool:
    """Return True if records of a logger are known to appear on standard error."""
    others = list(filter(_may_show, other_handlers(logger.name)))
    if not others:
        return _console_handler.enabled and level >= _console_handler.level
    return any(is_stderr(handler) and level >= handler.level for handler in others)


_notes = Notes(_is_on_stderr, report_text)
note = _notes.note


def _is_extra(name: str) -> bool:
    return any(
        name == extra or extra == "root" or name.startswith(f"{extra}.") for extra in _extra_loggers
    )


def _after_fork() -> None:
    """Replace the locks in a forked child: a thread that holds one does not exist there."""
    global _lock  # noqa: PLW0603 - one per process
    _lock = threading.Lock()
    _notes.reset()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_notes.flush)
