"""Robust standard streams: closed, full, or without a reader."""

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

    A closed stream is replaced; otherwise the next file or socket opened would get its
    descriptor and receive everything that libraries write there. Writing to a closed standard
    output fails; writes to a closed standard error are lost. Characters that the terminal
    cannot show become "?".
    """
    for number, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # the lowest free descriptor, which is this one
            os.set_inheritable(number, True)  # noqa: FBT003 - the parameter has no name
    if sys.stdout is None:
        sys.stdout = _text_stream(1)
    if sys.stderr is None:
        sys.stderr = _text_stream(2)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def broken_output() -> OSError | None:
    """Flush standard output; return the error if it cannot be written."""
    try:
        sys.stdout.flush()
    except OSError as error:
        return error
    return None


def discard(stream: TextIO) -> None:
    """Discard a stream's buffered output, so that the interpreter does not fail on it at exit."""
    with contextlib.suppress(OSError, ValueError):
        number = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)


def _text_stream(number: int) -> TextIO:
    # It stays open for the life of the process.
    return open(number, "w", encoding="utf-8", closefd=False)
