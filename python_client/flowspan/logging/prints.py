"""Prints inside runs with `log_prints`: printed, stored, and passed to the program's handlers.

A print is shown once: if a handler of the program shows log records on the console, the print
becomes a record in the program's format; otherwise it is printed as usual.
"""

from __future__ import annotations

import builtins
import logging
import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from flowspan.core.run import current_run
from flowspan.logging.capture import other_handlers, report_text
from flowspan.logging.console import is_on_console
from flowspan.logging.loggers import extra_of, logger_of
from flowspan.logging.record_facts import Facts

if TYPE_CHECKING:
    from flowspan.core.run import Run

LOGGER_NAME = "print"
"""The logger name of stored prints, which distinguishes them from other lines."""

_original = builtins.print
_installed = False
_is_logging: ContextVar[bool] = ContextVar("flowspan_is_logging_a_print", default=False)
"""True while handlers process a print: if one of them prints, that is not logged again."""


def install() -> None:
    """Patch `builtins.print` on the first run with `log_prints`. The patch is permanent."""
    global _installed, _original  # noqa: PLW0603 - one per process
    if not _installed:
        _original, builtins.print = builtins.print, _print
        _print.__name__ = _print.__qualname__ = "print"
        _installed = True


def _print(*args: Any, **kwargs: Any) -> None:
    run = current_run.get()
    file = kwargs.get("file")
    is_elsewhere = file is not None and file is not sys.stdout and file is not sys.stderr
    if run is None or not run.log_prints or is_elsewhere or _is_logging.get():
        _original(*args, **kwargs)
        return
    # The text is computed once: `str` may be costly, or return something else the second time.
    # Joined to get a plain str: `print` would ask an instance of a subclass for its text again.
    texts = ["".join((str(arg),)) for arg in args]
    handlers = _handlers_of(run)
    if not any(map(is_on_console, handlers)):
        _original(*texts, **kwargs)
    separator, end = kwargs.get("sep"), kwargs.get("end")
    text = (" " if separator is None else separator).join(texts)
    if end is not None:
        text += end
    text = text.rstrip("\n")
    if not text:
        return
    report_text(run, logging.INFO, LOGGER_NAME, text)
    if handlers:
        token = _is_logging.set(True)
        try:
            extra = extra_of(run, Facts(run, is_printed=True))
            logger_of(run).info(text, extra=extra, stacklevel=2)
        finally:
            _is_logging.reset(token)


def _handlers_of(run: Run) -> list[logging.Handler]:
    """Return the program's handlers that receive a run's prints."""
    logger = logger_of(run)
    if not logger.isEnabledFor(logging.INFO):
        return []
    return [each for each in other_handlers(logger.name) if each.level <= logging.INFO]
