"""Real clocks and real waits, even if a test has patched the `time` module.

Libraries such as freezegun and time-machine, and `monkeypatch.setattr(time, …)`, replace the
functions of `time` and of `asyncio`, even in modules that imported them before. A wait by a frozen
clock never ends. So flowspan takes its time from here:

- `monotonic` and `now_ns` read `clock_gettime`, which those libraries leave alone (time-machine
  replaces it for the wall clock; `now_ns` uses its documented escape hatch).
- The time of a process never goes back, so no duration is negative if the clock is set back:
  `now_ns` is the first reading of the wall clock, advanced by the monotonic clock. The next
  top-level run follows a clock that was set forward. Only a new process follows one that was set
  back; this one keeps its own time until it ends.
- `sleep`, `wait_readable` and `call_later` wait in C, by the kernel's clock.
- `program_ns` is the exception: the clock as the program sees it, moved or frozen. It applies to
  expirations that the user sets (cached results).

`flowspan.clock.aio` is the counterpart for coroutines.
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
"""Return the seconds of a clock that never goes back."""

process_time: Callable[[], float] = partial(time.clock_gettime, time.CLOCK_PROCESS_CPUTIME_ID)
"""Return the processor time that this process has used, in seconds."""

_wall_ns: Callable[[], int] = partial(time.clock_gettime_ns, time.CLOCK_REALTIME)

# Linux's monotonic clock stops while the machine sleeps, so CLOCK_BOOTTIME is preferred.
_elapsed_ns: Callable[[], int] = partial(
    time.clock_gettime_ns, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
)
_offset_ns: int | None = None
_offset_lock = threading.Lock()

# In a dictionary, because freezegun replaces the module's own references, but looks no deeper.
_genuine: dict[str, Any] = {
    "select": select.select,
    "poll": select.poll,
    "time": time.time,
    "Condition": threading.Condition,
    "Thread": threading.Thread,
}


def wall_clock() -> Callable[[], int]:
    """Return the fastest function that reads the time of this process, in ns since 1970 UTC.

    It is the real wall clock, but never goes back. Call this for each outermost run, to follow a
    clock that was set forward.
    """
    follow(_read_wall() - _elapsed_ns())
    return _process_ns


def follow(offset_ns: int) -> None:
    """Set the time of this process forward to another process's time; never back.

    Args:
        offset_ns: The other process's `offset_ns`.
    """
    global _offset_ns  # noqa: PLW0603 - one per process
    with _offset_lock:
        if _offset_ns is None or offset_ns > _offset_ns:
            _offset_ns = offset_ns


def offset_ns() -> int:
    """Return the offset of this process's time from the monotonic clock of the machine."""
    if _offset_ns is None:
        wall_clock()
    return _offset_ns or 0


def _process_ns() -> int:
    return _elapsed_ns() + _offset_ns  # type: ignore[operator] # set by `wall_clock`


def _read_wall() -> int:
    hatch = getattr(sys.modules.get("time_machine"), "escape_hatch", None)
    return _wall_ns() if hatch is None else _read_through(hatch)


def _read_through(hatch: Any) -> int:
    """Read the wall clock, bypassing time-machine if it is travelling."""
    if hatch.is_travelling():
        with contextlib.suppress(ValueError):  # another thread has just ended the travel
            return int(hatch.time.time_ns())
    return _wall_ns()


def now_ns() -> int:
    """Return the real time, in nanoseconds since 1970 UTC; never less than before."""
    return wall_clock()()


def of_wall_ns(wall_ns: int) -> int:
    """Convert a time that was just read from the wall clock to the time of this process."""
    age_ns = _read_wall() - wall_ns
    return now_ns() - (age_ns if 0 <= age_ns < _LONGEST_AGE_NS else 0)


def now_s() -> float:
    """Return the real time, in seconds since 1970 UTC."""
    return now_ns() / _NS_PER_S


def program_ns() -> int:
    """Return the time as the program sees it, in nanoseconds since 1970 UTC.

    If a test's replacement of the clock raises an exception, return the real time.
    """
    try:
        return time.time_ns()
    except Exception:  # noqa: BLE001 - freezegun's raises while it is being removed
        return now_ns()


def is_patched() -> bool:
    """Return True if the program's clock is not the real one."""
    return (
        time.time is not _genuine["time"] or abs(program_ns() - now_ns()) > _TOLERATED_S * _NS_PER_S
    )


def sleep(seconds: float) -> None:
    """Wait by the real clock."""
    until_s = monotonic() + seconds
    while True:
        left_s = until_s - monotonic()
        _genuine["select"]((), (), (), max(0.0, min(left_s, _LONGEST_WAIT_S)))
        if left_s <= _LONGEST_WAIT_S:
            return


def wait_readable(fileno: int, timeout_s: float) -> bool:
    """Wait until a descriptor is readable or closed; return False at the timeout."""
    poll = _genuine["poll"]()
    poll.register(fileno, select.POLLIN)
    until_s = monotonic() + timeout_s
    while True:
        left_s = max(0.0, until_s - monotonic())
        # Rounded up, so that a wait of less than a millisecond does not spin.
        if poll.poll(-(-min(left_s, _LONGEST_WAIT_S) * 1000 // 1)):
            return True
        if monotonic() >= until_s:
            return False


class Timer:
    """A scheduled call; created by `call_later`."""

    __slots__ = ("_callback",)

    def __init__(self, callback: Callable[[], object]) -> None:
        self._callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        """Cancel the call, unless it has already been made."""
        if self._callback is not None:
            self._callback = None
            _timers.forget_one()

    @property
    def is_cancelled(self) -> bool:
        """True if the call was cancelled or made."""
        return self._callback is None

    def fire(self) -> None:
        """Make the call."""
        callback, self._callback = self._callback, None
        if callback is not None:
            # RuntimeError: the event loop of the callback was closed.
            with contextlib.suppress(RuntimeError):
                callback()


class _Timers:
    """A scheduler that makes calls in one thread, which starts with the first call."""

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
        """Count a cancelled timer, and drop all cancelled ones if they are the majority."""
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
    """Call a function after a number of real seconds, in a thread for such calls.

    Args:
        seconds: The delay; infinity for never.
        callback: The function. It must return at once; a RuntimeError that it raises is ignored.
    """
    timer = Timer(callback)
    _timers.add(monotonic() + seconds, timer)
    return timer


def _after_fork() -> None:
    """Reset the timers in a forked child: the thread is missing there, and may have held a lock."""
    global _timers, _offset_lock  # noqa: PLW0603 - one per process
    _timers = _Timers()
    _offset_lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
