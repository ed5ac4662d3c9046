"""Handling of Ctrl-C and SIGTERM: a command ends at once, with one line and its exit code.

Only the program installs these handlers (`flowspan.cli.entry`). Python code that calls the
commands keeps its own handlers. This module imports little, because it is loaded before
everything else.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from types import FrameType

INTERRUPTED = 130
TERMINATED = 143

_LINES = {signal.SIGINT: b"Interrupted.\n", signal.SIGTERM: b"Terminated.\n"}
_CODES = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: TERMINATED}


class Terminated(BaseException):
    """Raised on SIGTERM, so that the command cleans up and exits."""


def end_at_once() -> None:
    """Make signals exit the process immediately: during imports, and after the command."""
    _install(_end)


def end(error: KeyboardInterrupt | Terminated) -> NoReturn:
    """Exit the process immediately, with the exit code of the signal that raised `error`."""
    _end(signal.SIGINT if isinstance(error, KeyboardInterrupt) else signal.SIGTERM, None)


def raise_in_command() -> None:
    """Make signals raise in the main thread, so that a command can clean up.

    SIGINT raises KeyboardInterrupt, SIGTERM raises Terminated. A second signal exits the
    process immediately.
    """
    sys.unraisablehook = _unraisable
    threading.excepthook = _ended_thread
    _install(_raise)


def _install(handler: object) -> None:
    for number in _LINES:
        # Keep ignored signals ignored, as set by `nohup` or a shell's `&`.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)  # type: ignore[arg-type] # `_end` or `_raise`


def _end(number: int, _: FrameType | None) -> NoReturn:
    with contextlib.suppress(OSError):
        os.write(2, _LINES[signal.Signals(number)])
    os._exit(_CODES[signal.Signals(number)])


def _raise(number: int, _: FrameType | None) -> NoReturn:
    end_at_once()
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated


def _unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """Raise a signal's exception again if Python dropped it, for example in `__del__`."""
    if issubclass(unraisable.exc_type, (KeyboardInterrupt, Terminated)):
        raise_in_command()
        is_interrupt = issubclass(unraisable.exc_type, KeyboardInterrupt)
        _thread.interrupt_main(signal.SIGINT if is_interrupt else signal.SIGTERM)


def _ended_thread(_: threading.ExceptHookArgs) -> None:
    """Drop the error of a background thread; the main thread fails for the same reason."""
