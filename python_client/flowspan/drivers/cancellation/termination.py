"""SIGTERM handling: outermost runs end as Crashed before the process ends.

Without it, the process would be killed at once, and the service would only learn of its lost runs
after the grace period. The handler is installed only in the main thread, which receives signals,
and only if the program has no handler. When the last outermost run has ended and was reported, the
signal is sent again, so that the process ends as its sender expects.

An async run is cancelled at its next await. If its code blocks the event loop, TerminationSignal is
raised in that code after a moment, as in a sync run.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # in C: `signal` is five times slower (enums)
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
"""Time for an event loop to cancel its run, before its blocking code is interrupted."""

_SIGTERM = int(signal.SIGTERM)
_DEFAULT = int(signal.SIG_DFL)

_stops: list[Callable[[], object] | None] = []
"""Stop functions of the outermost runs; None raises in the main thread. Main thread only."""
_has_come = False
_heard = threading.Event()
"""Set when the loop of an async run has regained control after SIGTERM."""
_hearing = threading.Lock()
_insists = False
"""True once blocking code is being interrupted."""


def has_come() -> bool:
    """Return True if SIGTERM has arrived and the outermost runs are ending."""
    return _has_come


def begin_ending_with_process(stop: Callable[[], object] | None) -> bool:
    """Make SIGTERM end an outermost run before it ends the process.

    Args:
        stop: Stops the run by cancelling its asyncio task; None raises TerminationSignal in it.

    Returns:
        True if the caller must call `end_with_process` with the same function after the run.
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
    """Restore SIGTERM; if it has arrived, end the process after the last run."""
    with suppress(ValueError):  # a fork cleared the list
        _stops.remove(stop)
    if _stops:
        return
    if _signal.getsignal(_SIGTERM) in (_on_sigterm, _on_sigterm_again):
        _signal.signal(_SIGTERM, _DEFAULT)
    _heard.set()
    if _has_come:
        # Not needed to define flows.
        from flowspan import telemetry  # noqa: PLC0415
        from flowspan.reporter import get_reporter, process_tally  # noqa: PLC0415

        get_reporter().close()
        telemetry.flush_at_end()
        process_tally.close()
        os.kill(os.getpid(), _SIGTERM)
        raise SystemExit(128 + _SIGTERM)  # PID 1 of a container survives the signal


class EndingAtIntervals:
    """SIGTERM handling for the run of a generator function, while its own code runs.

    Between two values, the consumer's code runs. There, the signal does what it does in any
    program, and the service notices that the run is lost.

    Args:
        is_outermost: False for a run in another one, which handles the signal itself.
        made_stop: Returns the function that stops the run; see `begin_ending_with_process`.
    """

    def __init__(
        self,
        *,
        is_outermost: bool,
        made_stop: Callable[[], Callable[[], object] | None] = lambda: None,
    ) -> None:
        self._is_outermost = is_outermost
        self._made_stop = made_stop
        self._stop: Callable[[], object] | None = None
        self._takes = False

    def begin(self) -> None:
        """Call this before the code of the run; see `begin_ending_with_process`."""
        if self._is_outermost and not self._takes:
            self._stop = self._made_stop()
            self._takes = begin_ending_with_process(self._stop)

    def end(self) -> None:
        """Call this before the code of the consumer, and after the end; see `end_with_process`."""
        if self._takes:
            self._takes = False
            end_with_process(self._stop)


def _on_sigterm(number: int, _frame: FrameType | None) -> None:
    global _has_come  # noqa: PLW0603 - one per process
    _signal.signal(number, _DEFAULT)  # a second signal ends the process at once
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
    """Record, in the main thread, that a loop has regained control after SIGTERM.

    Returns:
        True if its run must be cancelled; False if its code was already interrupted.
    """
    with _hearing:
        if _insists:
            return False
        _heard.set()
    if _signal.getsignal(_SIGTERM) is _on_sigterm_again:
        _signal.signal(_SIGTERM, _DEFAULT)  # a second signal ends the process at once
    return True


def _insist() -> None:
    """Interrupt the code of the main thread unless its loop regains control in time."""
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
    """Reset the state in a forked child: the parent's runs are not its own."""
    global _has_come, _heard, _hearing, _insists  # noqa: PLW0603 - one per process
    _stops.clear()
    _has_come = _insists = False
    _heard, _hearing = threading.Event(), threading.Lock()
    if _signal.getsignal(_SIGTERM) in (_on_sigterm, _on_sigterm_again):
        _signal.signal(_SIGTERM, _DEFAULT)


os.register_at_fork(after_in_child=_in_child)
