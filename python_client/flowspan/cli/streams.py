"""The standard streams of the program: closed, full, or with nobody who reads them."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO


def prepare() -> None:
    """Make the standard streams safe to use.

    A stream that is closed is replaced, for otherwise the next file or socket that is opened would
    get its number, and with it all that a library writes there. A closed standard output refuses
    what is written to it; what goes to a closed standard error is lost. Characters that the
    terminal cannot show become "?".
    """
    for number, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # takes the lowest free number, which is this one
            os.set_inheritable(number, True)  # noqa: FBT003 - the parameter has no name
    if sys.stdout is None:
        sys.stdout = _text_stream(1)
    if sys.stderr is None:
        sys.stderr = _text_stream(2)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def broken_output() -> OSError | None:
    """Flush the standard output; return the error if it cannot be written."""
    try:
        sys.stdout.flush()
    except OSError as error:
        return error
    return None


def discard(stream: TextIO) -> None:
    """Send what a stream still holds nowhere: it would fail again when the interpreter ends."""
    with contextlib.suppress(OSError, ValueError):
        number = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)


def _text_stream(number: int) -> TextIO:
    # It lives as long as the process.
    return open(number, "w", encoding="utf-8", closefd=False)
