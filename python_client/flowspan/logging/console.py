"""Console output: the log records of runs on standard error."""

from __future__ import annotations

import logging
import os
import sys
import time
from typing import TYPE_CHECKING

from flowspan.logging.record_facts import AMBIENT, facts_of
from flowspan.logging.terminal import (
    DIM,
    LEVELS,
    NAME,
    STATES,
    cleaned,
    is_coloured,
    painted,
)

if TYPE_CHECKING:
    from flowspan.core.run import Run


def console_line(run: Run, record: logging.LogRecord, message: str, *, coloured: bool) -> str:
    """Format a record for the console: time | level | run - message.

    Args:
        run: The run.
        record: The record.
        message: The formatted text.
        coloured: True if the output is a terminal that supports colours.
    """
    clock = time.strftime("%H:%M:%S", time.localtime(record.created))
    kind = "Flow" if run.definition.is_flow else "Task"
    level = painted(f"{record.levelname:<8}", LEVELS.get(record.levelname), coloured=coloured)
    message = cleaned(message)
    state = (facts_of(record) or AMBIENT).state_name
    if state and message.startswith(state):
        word = painted(state, STATES.get(state), coloured=coloured)
        message = word + message[len(state) :]
    return (
        f"{painted(f'{clock}.{int(record.msecs):03d}', DIM, coloured=coloured)} | {level} | "
        f"{kind} run {painted(cleaned(repr(run.record.run_name)), NAME, coloured=coloured)}"
        f" - {message}\n"
    )


def write_line(run: Run, record: logging.LogRecord, message: str, *, colours: bool) -> None:
    """Write a record to the current standard error.

    Args:
        run: The run.
        record: The record.
        message: The formatted text.
        colours: False disables colours.
    """
    stream = sys.stderr
    if stream is None:  # a program without a console
        return
    coloured = colours and is_coloured(stream, os.environ)
    line = console_line(run, record, message, coloured=coloured)
    try:
        stream.write(line)
    except UnicodeEncodeError:  # the program replaced it with a strict stream
        encoding = getattr(stream, "encoding", None) or "ascii"
        stream.write(line.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def is_stderr(handler: logging.Handler) -> bool:
    """Return True if a handler writes to standard error."""
    stream = getattr(handler, "stream", None)
    return stream is not None and (stream is sys.stderr or stream is sys.__stderr__)


def is_on_console(handler: logging.Handler) -> bool:
    """Return True if a handler writes to standard output or standard error.

    That includes output through rich, through another handler (`MemoryHandler`), or through a queue
    whose listener the handler knows.
    """
    if _is_passed_on(handler):
        return True
    stream = getattr(handler, "stream", None)
    if stream is None:
        stream = getattr(getattr(handler, "console", None), "file", None)
    return stream is not None and any(
        stream is each for each in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    )


def _is_passed_on(handler: logging.Handler) -> bool:
    """Return True if a handler passes records on to one that writes to the console."""
    target = getattr(handler, "target", None)
    listener = getattr(handler, "listener", None)
    others = [target, *(getattr(listener, "handlers", None) or ())]
    return any(
        isinstance(each, logging.Handler) and each is not handler and is_on_console(each)
        for each in others
    )
