"""Ctrl-C and SIGTERM: a command ends at once, with one line and its exit code, at any point.

Only the program installs these handlers (`flowspan.cli.entry`); whoever calls the commands from
Python keeps their own. This module imports little, because it is needed before everything else.
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
    """SIGTERM has come: the command cleans up and ends."""


def end_at_once() -> None:
    """Let signals end the process where it is: while it imports modules, and once it has ended."""
    _install(_end)


def end(error: KeyboardInterrupt | Terminated) -> NoReturn:
    """End the process where it is, as the signal that raised this asked for."""
    _end(signal.SIGINT if isinstance(error, KeyboardInterrupt) else signal.SIGTERM, None)


def raise_in_command() -> None:
    """Let signals raise in the main thread, so that a command can clean up.

    SIGINT raises KeyboardInterrupt, SIGTERM raises Terminated; the next signal ends the process
    where it is.
    """
    sys.unraisablehook = _unraisable
    threading.excepthook = _ended_thread
    _install(_raise)


def _install(handler: object) -> None:
    for number in _LINES:
        # Ignored is what `nohup` and a shell's `&` make of it: that is not ours to change.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)  # type: ignore[arg-type] # one of those below


def _end(number: int, _: FrameType | None) -> NoReturn:
    with contextlib.suppress(OSError):
        os.write(2, _LINES[signal.Signals(number)])
    os._exit(_CODES[signal.Signals(number)])


def _raise(number: int, _: FrameType | None) -> NoReturn:
    end_at_once()
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated


def _unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """Raise again what a signal raised where Python drops exceptions, as in `__del__`."""
    if issubclass(unraisable.exc_type, (KeyboardInterrupt, Terminated)):
        raise_in_command()
        is_interrupt = issubclass(unraisable.exc_type, KeyboardInterrupt)
        _thread.interrupt_main(signal.SIGINT if is_interrupt else signal.SIGTERM)


def _ended_thread(_: threading.ExceptHookArgs) -> None:
    """Drop the error of a background thread: the main thread meets the same trouble."""
