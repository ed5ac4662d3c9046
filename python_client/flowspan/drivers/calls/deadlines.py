"""Deadlines of sync functions.

The mechanism depends on the thread:

- In the main thread, an alarm signal (`signal.setitimer`) raises DeadlinePassed in the function,
  also while it sleeps or waits for input. It is used only if the program does not use the alarm
  itself, and it is restored afterwards.
- In other threads, Python cannot interrupt a blocking call. So the function runs in an extra
  thread, and at the deadline its run ends without it. DeadlinePassed is raised in that thread at
  its next step of Python code. A call that blocks in C continues until it returns, and its result
  is discarded. Every task that the function calls after the deadline is refused.

Either way the run ends as TimedOut. With the extra thread it ends at the deadline. With the alarm
it ends when the function has cleaned up, or has returned from an uninterruptible C function.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from contextlib import suppress
from contextvars import copy_context
from types import TracebackType
from typing import TYPE_CHECKING, Any

from flowspan import clock
from flowspan.drivers.calls.attempt import timed_out
from flowspan.drivers.calls.time_skipping import limited_by
from flowspan.drivers.cancellation.safe_points import (
    block,
    calls_user_code,
    may_be_broken_off,
    may_interrupt,
)
from flowspan.drivers.task_runners.submitted import act_for, current_submitted
from flowspan.exceptions import DeadlinePassed
from flowspan.logging.capture import note

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from flowspan.core.run import Run

_PUT_OFF_S = 0.002
_AGAIN_S = 0.05
"""The interval of repeated alarms. A single alarm is not enough: a signal that arrives during the
handler of another is noticed only at the next step of Python code, so clock.sleep continues."""
_PUT_OFF_TIMES = 25
_NOTICE_S = 0.05
"""Grace period after the deadline before a warning says that the function is still running."""
_GOES_ON = (
    "The function could not be interrupted (it blocks, or is cleaning up), and continues in "
    "thread {!r}. The run ends without it: its result is discarded, and it cannot start further "
    "tasks. A ProcessPoolTaskRunner can stop such code."
)


class _Alarm:
    """The deadline of a run in the main thread."""

    thread_id = 0

    def __init__(self, run: Run, at_s: float) -> None:
        self.run = run
        self.at_s = at_s
        self.is_over = False

    def advance(self, seconds: float) -> bool:
        """Move the deadline closer; see `flowspan.drivers.calls.time_skipping.Limit`."""
        self.at_s -= seconds
        _arm()
        return self.at_s <= clock.monotonic()


class _Wait:
    """The deadline of a function in an extra thread, from the view of the waiting thread."""

    thread_id = 0

    def __init__(self, timeout_s: float) -> None:
        self._at_s = clock.monotonic() + timeout_s
        self._wake = threading.Event()
        self._is_done = False

    def advance(self, seconds: float) -> bool:
        """Move the deadline closer; see `flowspan.drivers.calls.time_skipping.Limit`."""
        self._at_s -= seconds
        self._wake.set()
        return self._at_s <= clock.monotonic()

    def done(self) -> None:
        """Wake the waiter after the end of the function."""
        self._is_done = True
        self._wake.set()

    def block(self) -> None:
        """Wait for the end of the function or for the deadline."""
        while True:
            self._wake.clear()
            left_s = self._at_s - clock.monotonic()
            if self._is_done or left_s <= 0:
                return
            block(self._wake, left_s)


_alarms: list[_Alarm] = []
"""The active alarms, outermost run first. Other threads may move their deadlines closer."""


def call_within(run: Run, timeout_s: float, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """Call a function with a time limit in seconds.

    Raises:
        RunTimeout: It did not return in time.
        DeadlinePassed: The deadline of a calling run has passed.
    """
    if threading.current_thread() is threading.main_thread() and _alarm_is_free():
        return _call_with_alarm(run, timeout_s, fn, args)
    return _call_in_thread(run, timeout_s, fn, args)


@may_be_broken_off
def _call(fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    return fn(*args)


def _alarm_is_free() -> bool:
    if not hasattr(signal, "setitimer"):  # Windows
        return False
    if _alarms:
        return True
    unused = signal.getsignal(signal.SIGALRM) in {signal.SIG_DFL, signal.SIG_IGN}
    return unused and signal.getitimer(signal.ITIMER_REAL)[0] == 0


@calls_user_code
def _call_with_alarm(
    run: Run, timeout_s: float, fn: Callable[..., Any], args: tuple[Any, ...]
) -> Any:
    alarm = _Alarm(run, clock.monotonic() + timeout_s)
    before = None if _alarms else signal.signal(signal.SIGALRM, _on_alarm)
    _alarms.append(alarm)
    _arm()
    try:
        with limited_by(run, alarm):
            value = _call(fn, args)
    except DeadlinePassed as passed:
        if passed.run_id == run.record.id:
            raise timed_out(run).with_traceback(passed.__traceback__) from None
        raise
    finally:
        _alarms.remove(alarm)
        if _alarms:
            _arm()
        else:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    if clock.monotonic() >= alarm.at_s:
        raise timed_out(run)
    return value


def _arm() -> None:
    """Set the timer to the next deadline that has not passed."""
    left = [alarm.at_s for alarm in _alarms if not alarm.is_over]
    if left:
        delay = max(min(left) - clock.monotonic(), _PUT_OFF_S)
        signal.setitimer(signal.ITIMER_REAL, delay, _AGAIN_S)
    else:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _on_alarm(_signal: int, frame: FrameType | None) -> None:
    now = clock.monotonic()
    over = next((alarm for alarm in _alarms if not alarm.is_over and alarm.at_s <= now), None)
    if over is None:
        _arm()
    elif may_interrupt(frame):
        over.is_over = True
        _arm()
        raise DeadlinePassed(str(timed_out(over.run)), over.run.record.id)
    else:
        signal.setitimer(signal.ITIMER_REAL, _PUT_OFF_S, _AGAIN_S)


def _call_in_thread(
    run: Run, timeout_s: float, fn: Callable[..., Any], args: tuple[Any, ...]
) -> Any:
    values: list[Any] = []
    errors: list[BaseException] = []
    ended = threading.Event()
    wait = _Wait(timeout_s)
    submitted = current_submitted()

    @calls_user_code
    def work() -> None:
        act_for(submitted)
        try:
            values.append(_call(fn, args))
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            errors.append(error)
        ended.set()
        wait.done()

    thread = threading.Thread(
        target=_unless_passed,
        args=(copy_context().run, work),
        name=run.record.run_name,
        daemon=True,
    )
    try:
        with limited_by(run, wait):  # set before the function can look for it
            thread.start()
            wait.block()
    except BaseException:
        _break_off(thread)
        raise
    if not ended.is_set():
        where = _where(thread)
        _break_off(thread)
        if not ended.wait(_NOTICE_S):
            note(run, logging.WARNING, _GOES_ON.format(thread.name))
        raise timed_out(run).with_traceback(where)
    if errors:
        raise errors[0]
    return values[0]


def _unless_passed(run: Callable[..., object], work: Callable[[], None]) -> None:
    # The exception may arrive late, between the end of the function and the end of the thread.
    with suppress(DeadlinePassed):
        run(work)


def _where(thread: threading.Thread) -> TracebackType | None:
    """Return the current stack of a thread as a traceback, from the called function inwards."""
    frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 - the documented name
    trace: TracebackType | None = None
    while frame is not None and frame.f_code is not _call.__code__:
        trace = TracebackType(trace, frame, frame.f_lasti, frame.f_lineno)
        frame = frame.f_back
    return trace


def _break_off(thread: threading.Thread) -> None:
    """Raise DeadlinePassed in a thread as soon as that is safe; give up after a while."""
    import ctypes  # noqa: PLC0415 - rarely needed, and slow to import

    for _ in range(_PUT_OFF_TIMES):
        ident = thread.ident
        frame = sys._current_frames().get(ident) if ident is not None else None  # noqa: SLF001 - the documented name
        if frame is None:
            return
        # Both calls hold the GIL, so the thread has not moved since its frame was read.
        if may_interrupt(frame):
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(ident or 0), ctypes.py_object(DeadlinePassed)
            )
            return
        del frame
        clock.sleep(_PUT_OFF_S)
