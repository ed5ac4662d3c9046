"""Standard streams: replaced if closed, written for people, and found as the log file."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from flowspan_service.process.plain_text import clean

if TYPE_CHECKING:
    from typing import TextIO

LOG_NAME = "service.log"
"""The file in the home that receives the log of a service which a client starts."""


def replace_closed_streams() -> None:
    """Open the null device for each standard stream that is closed.

    Otherwise a socket or a file would get its number, and with it the output of libraries.
    """
    for stream in (0, 1, 2):
        try:
            os.fstat(stream)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    if sys.stdout is None:
        sys.stdout = _text_stream(1)
    if sys.stderr is None:
        sys.stderr = _text_stream(2)


def say(*lines: str) -> None:
    """Write lines to the standard output; the service continues if it is closed."""
    try:
        for line in lines:
            sys.stdout.write(f"{clean(line)}\n")
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError):  # the buffered text would fail again at exit
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.close(nowhere)


def complain(message: str, exit_code: int) -> int:
    """Write an error message to the standard error, and return the exit code."""
    sys.stderr.write(f"flowspan: {clean(message)}\n")
    return exit_code


def log_file(home: Path) -> str:
    """Return the file behind the standard error; empty if it is not a file or has no known name."""
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
