"""Signals that stop the service."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    import asyncio
    from types import FrameType

_STOPPING = (signal.SIGINT, signal.SIGTERM)


def end_at_once_on_signals() -> None:
    """End the process without a traceback on a signal during the start; ignored ones stay so."""
    for number in _STOPPING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end_at_once)


def stop_on_signals(loop: asyncio.AbstractEventLoop, stopped: asyncio.Event) -> None:
    """Set the event on the first SIGINT or SIGTERM; the second ends the process at once."""

    def stop(number: int) -> None:
        if stopped.is_set():
            os._exit(128 + number)
        stopped.set()

    for number in _STOPPING:
        loop.add_signal_handler(number, stop, number)


def restore_interrupt() -> None:
    """Let Ctrl-C end the process silently once the event loop and its handlers are closed."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _end_at_once(number: int, _: FrameType | None) -> NoReturn:
    os._exit(128 + number)
