"""SIGTERM while a flow or task runs at the top: the run ends as Crashed, then the process ends.

Otherwise the process would be gone at once, and the service could only guess, after the grace, what
became of its runs. Nothing is done where the program handles the signal itself, nor outside of the
main thread, which gets no signals. When the last run at the top has ended and was reported, the
signal is sent again, so that the process ends as its sender expects.

An asynchronous run is cancelled where it awaits. If its code blocks the loop, nothing is awaited:
then, after a moment, TerminationSignal is raised in that code, as in a plain run.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # of C; `signal` makes enums, five times slower
import os
import signal
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from flowspan.exceptions import TerminationSignal

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_PATIENCE_S = 0.5
"""The time that a loop has to cancel its run before its blocking code is interrupted."""

_SIGTERM = int(signal.SIGTERM)
_DEFAULT = int(signal.SIG_DFL)

_stops: list[Callable[[], object] | None] = []
"""Stop functions of the outermost runs; None raises in the main thread. Used only there."""
_has_come = False
_heard = threading.Event()
"""Set once the loop of an asynchronous run has got control after SIGTERM."""
_hearing = threading.Lock()
_insists = False
"""True from the moment in which blocking code is broken off."""


def has_come() -> bool:
    """True if SIGTERM has come, and the runs at the top are ending."""
    return _has_come


def begin_ending_with_process(stop: Callable[[], object] | None) -> bool:
    """Let SIGTERM end a run at the top before it ends the process.

    Args:
        stop: What stops the run: cancels its asyncio task; None raises TerminationSignal in it.

    Returns:
        True if `end_with_process` is to be called with the same function at the end of the run.
    """
    if threading.current_thread() is not threading.main_thread():
        return False
    if not _stops:
        if _signal.getsignal(_SIGTERM) != _DEFAULT:
            return False
        try:
            _signal.signal(_SIGTERM, _on_sigterm)
        except ValueError:  # a subinterpreter
            return False
    _stops.append(stop)
    return True


def end_with_process(stop: Callable[[], object] | None) -> None:
    """Leave SIGTERM as it was; if it has come, end the process once no run is left."""
    with suppress(ValueError):  # a fork forgot it
        _stops.remove(stop)
    if _stops:
        return
    if _signal.getsignal(_SIGTERM) in (_on_sigterm, _on_sigterm_again):
        _signal.signal(_SIGTERM, _DEFAULT)
    _heard.set()
    if _has_come:
        from flowspan.reporter import get_reporter  # noqa: PLC0415 - not needed to define flows

        get_reporter().close()
        os.kill(os.getpid(), _SIGTERM)
        raise SystemExit(128 + _SIGTERM)  # the first process of a container is not killed so


def _on_sigterm(number: int, _frame: FrameType | None) -> None:
    global _has_come  # noqa: PLW0603 - one per process
    _signal.signal(number, _DEFAULT)  # another one ends the process where it is
    _has_come = True
    stops = list(_stops)
    for stop in stops:
        if stop is not None:
            stop()
    if not stops or None in stops:
        raise TerminationSignal(number)
    _signal.signal(number, _on_sigterm_again)
    threading.Thread(target=_insist, name="flowspan-sigterm", daemon=True).start()


def hear() -> bool:
    """Note, in the main thread, that a loop has got control after SIGTERM.

    Returns:
        True if its run is to be cancelled; False if its code was broken off meanwhile.
    """
    with _hearing:
        if _insists:
            return False
        _heard.set()
    if _signal.getsignal(_SIGTERM) is _on_sigterm_again:
        _signal.signal(_SIGTERM, _DEFAULT)  # another one ends the process where it is
    return True


def _insist() -> None:
    """Break off the code of the main thread unless its loop gets control in time."""
    global _insists  # noqa: PLW0603 - one per process
    _heard.wait(_PATIENCE_S)
    with _hearing:
        if _heard.is_set():
            return
        _insists = True
    ident = threading.main_thread().ident
    if ident is not None:
        _signal.pthread_kill(ident, _SIGTERM)


def _on_sigterm_again(number: int, _frame: FrameType | None) -> None:
    _signal.signal(number, _DEFAULT)
    if _insists:
        raise TerminationSignal(number)
    os.kill(os.getpid(), number)


def _in_child() -> None:
    """Leave a forked child as it would be without flowspan: its parent's runs are not its own."""
    global _has_come, _heard, _hearing, _insists  # noqa: PLW0603 - one per process
    _stops.clear()
    _has_come = _insists = False
    _heard, _hearing = threading.Event(), threading.Lock()
    if _signal.getsignal(_SIGTERM) in (_on_sigterm, _on_sigterm_again):
        _signal.signal(_SIGTERM, _DEFAULT)


os.register_at_fork(after_in_child=_in_child)
