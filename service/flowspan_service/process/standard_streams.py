"""Signals, standard streams and the log file of the service's process."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from flowspan_service.process.plain_text import clean

if TYPE_CHECKING:
    from types import FrameType
    from typing import TextIO

LOG_NAME = "service.log"
"""The file in the home that clients send the log of the service that they start to."""


def prepare() -> None:
    """Prepare the process before anything large is imported.

    A signal during the imports ends it at once, without a traceback; later the service stops
    cleanly. Standard streams that are closed are replaced: a socket or file would get their
    numbers, and with them what libraries write there.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end_at_once)
    for stream in (0, 1, 2):
        try:
            os.fstat(stream)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    if sys.stdout is None:
        sys.stdout = _text_stream(1)
    if sys.stderr is None:
        sys.stderr = _text_stream(2)


def keep_files_private() -> None:
    """Make what this process makes private, also what libraries make: no file is open for a moment.

    Processes that it forks inherit that; the service starts no other program.
    """
    os.umask(0o077)


def say(*lines: str) -> None:
    """Write lines to the standard output, if somebody takes them: the service goes on without."""
    try:
        for line in lines:
            sys.stdout.write(f"{clean(line)}\n")
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError):  # what it still holds would fail again at the end
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.close(nowhere)


def log_file(home: Path) -> str:
    """The file that the standard error is; empty if it is no file, or its name is not known."""
    try:
        found = os.fstat(2)
        usual = home / LOG_NAME
        with contextlib.suppress(OSError):
            if os.path.samestat(found, usual.stat()):
                return str(usual)
        link = Path("/proc/self/fd/2").readlink()
        return str(link) if os.path.samestat(found, link.stat()) and link.is_file() else ""
    except OSError:
        return ""


def _text_stream(number: int) -> TextIO:
    return open(number, "w", encoding="utf-8", closefd=False)


def _end_at_once(number: int, _: FrameType | None) -> NoReturn:
    os._exit(128 + number)
