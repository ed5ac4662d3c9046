"""The reporter: what the rest of the client sees of the transport.

One per process. It starts with the first event, ends with the process, and survives a fork: the
child's reporter is the same object with a session of its own and nothing of the parent's.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time
import uuid
from typing import TYPE_CHECKING, NamedTuple

from flowspan.config import get_config
from flowspan.core.events import LOG
from flowspan.reporter.intake import FLUSH, FlushRequest, Intake

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.config import Config
    from flowspan.core.events import Event
    from flowspan.reporter.loop import Loop
    from flowspan.reporter.session import WelcomeInfo

_EXIT_TIMEOUT_S = 2.0
MAX_WAITING_STATES = 100_000
MAX_WAITING_LOGS = 50_000
MAX_WAITING_LARGE = 64 << 20
"""What may wait for the reporter's thread; a producer that is faster than that is slowed down."""

_SLOW_DOWN_S = 0.1
_SLOW_DOWN_STEP_S = 0.002


class StopRequest(NamedTuple):
    """The service wants a run to stop.

    Attributes:
        run_id: Which.
        reason: Why, for people.
        is_abort: Whether nothing more of this attempt is accepted (a newer attempt exists, or the
            run was deleted), rather than that somebody asked for the run to be cancelled.
    """

    run_id: str
    reason: str
    is_abort: bool


class FlushOutcome(NamedTuple):
    """What became of what was emitted.

    Attributes:
        acked: Whether the service has stored all of it.
        spooled: Whether what it has not is safe in the spool.
    """

    acked: bool
    spooled: bool


class Reporter:
    """Takes events and sees to it that the service gets them.

    Args:
        config: The settings; None reads those of the process at the first event.
    """

    def __init__(self, config: Config | None = None) -> None:
        self._config = config
        self._stoppers: dict[str, Callable[[StopRequest], None]] = {}
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._intake = Intake()
        self._states = self._intake.states
        self._loop: Loop | None = None
        self._pid = os.getpid()
        self.session_id = str(uuid.uuid4())

    def emit(self, event: Event) -> None:
        """Takes an event (see flowspan.core.events). Never raises.

        It blocks only where events are made faster than they can be encoded: then each call waits a
        tenth of a second at most, so that memory does not run out.
        """
        if event[0] == LOG:
            intake = self._intake
            intake.put_log(event)
            if len(intake.logs) > MAX_WAITING_LOGS or intake.large_bytes > MAX_WAITING_LARGE:
                self._slow_down()
        else:
            states = self._states
            states.append(event)
            if len(states) > MAX_WAITING_STATES:
                self._slow_down()
        loop = self._loop
        if loop is None:
            self._start()
        elif loop.idle:
            loop.wake()

    def flush(self, timeout_s: float | None = None) -> FlushOutcome:
        """Waits until the service has stored all that was emitted before, or until it is spooled.

        Args:
            timeout_s: How long to wait for the service; the setting flush_timeout_s if None.
        """
        loop = self._loop
        if loop is None:
            return FlushOutcome(acked=True, spooled=False)
        if timeout_s is None:
            timeout_s = self._get_config().flush_timeout_s
        request = FlushRequest()
        self._intake.states.append((FLUSH, request))
        self._intake.logs.append((FLUSH, request))
        loop.flush(request)
        acked = request.done.wait(timeout_s)
        return FlushOutcome(acked=acked, spooled=False)

    def wait_welcome(self, timeout_s: float) -> WelcomeInfo | None:
        """What the service said of itself; connects if that was not done yet.

        Returns:
            None if it has not answered within the time.
        """
        if self._loop is None:
            self._start()
        loop = self._loop
        if loop is None or not loop.welcomed.wait(timeout_s):
            return None
        return loop.welcome

    def on_cancel(self, run_id: str, stop: Callable[[StopRequest], None]) -> None:
        """Registers what is called when the service wants a run to stop.

        It is called in the reporter's thread and must return at once. One for each run; the last counts.
        """
        self._stoppers[run_id] = stop

    def off_cancel(self, run_id: str) -> None:
        """Takes the registration of `on_cancel` back; nothing happens if there is none."""
        self._stoppers.pop(run_id, None)

    def close(self, timeout_s: float = _EXIT_TIMEOUT_S) -> FlushOutcome:
        """Flushes, says Goodbye and ends the thread. An event emitted later starts a new session."""
        loop = self._loop
        if loop is None:
            return FlushOutcome(acked=True, spooled=False)
        deadline = time.monotonic() + timeout_s
        outcome = self.flush(timeout_s)
        loop.close(max(0.1, deadline - time.monotonic()))
        self._reset()
        return outcome

    def _get_config(self) -> Config:
        if self._config is None:
            self._config = get_config()
        return self._config

    def _start(self) -> None:
        with self._lock:
            if self._loop is not None:
                return
            # HTTP/2 and the stubs take 60 ms to import: not before something is reported.
            from flowspan.reporter.loop import Loop  # noqa: PLC0415 - measured, see above

            loop = Loop(self._get_config(), self.session_id, self._intake, self._stop_run)
            with contextlib.suppress(RuntimeError):  # the interpreter is shutting down
                loop.start()
                self._loop = loop

    def _slow_down(self) -> None:
        deadline = time.monotonic() + _SLOW_DOWN_S
        intake = self._intake
        while time.monotonic() < deadline and (
            len(intake.states) > MAX_WAITING_STATES
            or len(intake.logs) > MAX_WAITING_LOGS
            or intake.large_bytes > MAX_WAITING_LARGE
        ):
            time.sleep(_SLOW_DOWN_STEP_S)

    def _stop_run(self, run_id: str, reason: str, is_abort: bool) -> None:  # noqa: FBT001 - a callback's
        stop = self._stoppers.get(run_id)
        if stop is not None:
            stop(StopRequest(run_id, reason, is_abort))

    def _after_fork(self) -> None:
        loop = self._loop
        self._stoppers = {}
        self._reset()
        if loop is not None:
            loop.forget()


_reporter = Reporter()


def get_reporter() -> Reporter:
    """The reporter of this process."""
    return _reporter


def _at_exit() -> None:
    _reporter.close()


def _in_child() -> None:
    _reporter._after_fork()  # noqa: SLF001 - a method for this module


atexit.register(_at_exit)
os.register_at_fork(after_in_child=_in_child)
