"""Real clocks and real waits, whatever a test has done to the `time` module.

Libraries such as freezegun and time-machine, and `monkeypatch.setattr(time, …)`, replace the
functions of `time` and of `asyncio`, also in modules that imported them before. A wait for a moment
of a clock that stands still never ends. So flowspan takes its time from here:

- `monotonic` and `now_ns` read `clock_gettime`, which those libraries leave alone (time-machine
  replaces it for the wall clock; `now_ns` uses its documented escape hatch).
- The times of one process never go back, so no duration is negative where somebody sets the clock
  back: `now_ns` is the wall clock as it was first read, and goes on by the monotonic clock. A clock
  that is set forward is followed by the next run at the top. One that is set back is followed by
  the next process; this one keeps its own time until it ends.
- `sleep`, `wait_readable` and `call_later` wait in C, by the kernel's clock.
- `program_ns` is the exception: the clock as the program sees it, moved or frozen. What expires by
  the user's word (cached results) goes by it.

`flowspan.clock.aio` has the same for coroutines.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
import time
from functools import partial
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST_WAIT_S = 3600.0
_TOLERATED_S = 1.0
_NS_PER_S = 1_000_000_000
_MIN_STALE = 100
_LONGEST_AGE_NS = 60 * _NS_PER_S

monotonic: Callable[[], float] = partial(time.clock_gettime, time.CLOCK_MONOTONIC)
"""Seconds by a clock that never goes back."""

process_time: Callable[[], float] = partial(time.clock_gettime, time.CLOCK_PROCESS_CPUTIME_ID)
"""Seconds of processor time that this process has used."""

_wall_ns: Callable[[], int] = partial(time.clock_gettime_ns, time.CLOCK_REALTIME)

# Linux's monotonic clock stands still while the machine sleeps.
_elapsed_ns: Callable[[], int] = partial(
    time.clock_gettime_ns, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
)
_offset_ns: int | None = None
_offset_lock = threading.Lock()

# In a dictionary: freezegun replaces what modules hold of these functions, but looks no deeper.
_genuine: dict[str, Any] = {
    "select": select.select,
    "poll": select.poll,
    "time": time.time,
    "Condition": threading.Condition,
    "Thread": threading.Thread,
}


def wall_clock() -> Callable[[], int]:
    """Return the fastest function that reads the time of this process, in ns since 1970 UTC.

    It is the real wall clock, but never goes back. Ask at each outermost run: a clock that was set
    forward is followed then.
    """
    follow(_read_wall() - _elapsed_ns())
    return _process_ns


def follow(offset_ns: int) -> None:
    """Set the time of this process forward, to that of another process; never back.

    Args:
        offset_ns: The other one's `offset_ns`.
    """
    global _offset_ns  # noqa: PLW0603 - one per process
    with _offset_lock:
        if _offset_ns is None or offset_ns > _offset_ns:
            _offset_ns = offset_ns


def offset_ns() -> int:
    """Return how far the time of this process is from the monotonic clock of the machine."""
    if _offset_ns is None:
        wall_clock()
    return _offset_ns or 0


def _process_ns() -> int:
    return _elapsed_ns() + _offset_ns  # type: ignore[operator] # `wall_clock` has set it


def _read_wall() -> int:
    hatch = getattr(sys.modules.get("time_machine"), "escape_hatch", None)
    return _wall_ns() if hatch is None else _read_through(hatch)


def _read_through(hatch: Any) -> int:
    """Read the wall clock where time-machine may have moved it."""
    if hatch.is_travelling():
        with contextlib.suppress(ValueError):  # the journey has just ended, in another thread
            return int(hatch.time.time_ns())
    return _wall_ns()


def now_ns() -> int:
    """Return the real time, in nanoseconds since 1970 UTC; never less than before."""
    return wall_clock()()


def of_wall_ns(wall_ns: int) -> int:
    """Return a moment that was just read from the wall clock in the time of this process."""
    age_ns = _read_wall() - wall_ns
    return now_ns() - (age_ns if 0 <= age_ns < _LONGEST_AGE_NS else 0)


def now_s() -> float:
    """Return the real time, in seconds since 1970 UTC."""
    return now_ns() / _NS_PER_S


def program_ns() -> int:
    """Return the time as the program sees it, in nanoseconds since 1970 UTC.

    The real time, where what a test has put in the place of its clock raises.
    """
    try:
        return time.time_ns()
    except Exception:  # noqa: BLE001 - freezegun's raises while it is being taken away
        return now_ns()


def is_patched() -> bool:
    """True if the program's clock is not the real one."""
    return (
        time.time is not _genuine["time"] or abs(program_ns() - now_ns()) > _TOLERATED_S * _NS_PER_S
    )


def sleep(seconds: float) -> None:
    """Wait."""
    until_s = monotonic() + seconds
    while True:
        left_s = until_s - monotonic()
        _genuine["select"]((), (), (), max(0.0, min(left_s, _LONGEST_WAIT_S)))
        if left_s <= _LONGEST_WAIT_S:
            return


def wait_readable(fileno: int, timeout_s: float) -> bool:
    """Wait until a descriptor has something to read, or has ended; False if the time is over."""
    poll = _genuine["poll"]()
    poll.register(fileno, select.POLLIN)
    until_s = monotonic() + timeout_s
    while True:
        left_s = max(0.0, until_s - monotonic())
        # Rounded up: a wait of less than a millisecond must not spin.
        if poll.poll(-(-min(left_s, _LONGEST_WAIT_S) * 1000 // 1)):
            return True
        if monotonic() >= until_s:
            return False


class Timer:
    """A call that is due later; made by `call_later`."""

    __slots__ = ("_callback",)

    def __init__(self, callback: Callable[[], object]) -> None:
        self._callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        """Take the call back, if it was not made yet."""
        if self._callback is not None:
            self._callback = None
            _timers.forget_one()

    @property
    def is_cancelled(self) -> bool:
        """True if it was taken back, or made."""
        return self._callback is None

    def fire(self) -> None:
        """Make the call."""
        callback, self._callback = self._callback, None
        if callback is not None:
            # RuntimeError: the event loop that is to be told has been closed.
            with contextlib.suppress(RuntimeError):
                callback()


class _Timers:
    """Make calls when they are due, in one thread that starts with the first."""

    def __init__(self) -> None:
        self._changed = _genuine["Condition"]()
        self._heap: list[tuple[float, int, Timer]] = []
        self._numbers = count()
        self._stale = 0
        self._thread: threading.Thread | None = None

    def add(self, at_s: float, timer: Timer) -> None:
        with self._changed:
            heappush(self._heap, (at_s, next(self._numbers), timer))
            if self._thread is None:
                thread = _genuine["Thread"](target=self._run, name="flowspan-timer", daemon=True)
                thread.start()
                self._thread = thread
            elif self._heap[0][2] is timer:
                self._changed.notify()

    def forget_one(self) -> None:
        """Count a timer that was cancelled, and drop those if they are the greater part."""
        with self._changed:
            self._stale += 1
            if self._stale > _MIN_STALE and self._stale > len(self._heap) // 2:
                self._heap = [entry for entry in self._heap if not entry[2].is_cancelled]
                heapify(self._heap)
                self._stale = 0

    def _run(self) -> None:
        while True:
            self._next().fire()

    def _next(self) -> Timer:
        with self._changed:
            while True:
                left_s = self._heap[0][0] - monotonic() if self._heap else _LONGEST_WAIT_S
                if left_s <= 0:
                    return heappop(self._heap)[2]
                self._changed.wait(min(left_s, _LONGEST_WAIT_S))


_timers = _Timers()


def call_later(seconds: float, callback: Callable[[], object]) -> Timer:
    """Call a function after some real seconds, in a thread for such calls.

    Args:
        seconds: How long to wait; infinity stands for never.
        callback: The function. It must return at once; a RuntimeError that it raises is ignored.
    """
    timer = Timer(callback)
    _timers.add(monotonic() + seconds, timer)
    return timer


def _after_fork() -> None:
    """Start anew in a forked child: the thread stayed in the parent, and may have held the lock."""
    global _timers, _offset_lock  # noqa: PLW0603 - one per process
    _timers = _Timers()
    _offset_lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
