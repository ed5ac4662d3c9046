"""Where a deadline may break a thread off.

A deadline raises an exception in the middle of whatever a thread is doing. In user code that is
what is wanted; in flowspan's own code it could leave a lock or a queue in disorder, so there it is
put off. Which of the two it is, is read off the thread's frames.
"""

from __future__ import annotations

from threading import TIMEOUT_MAX, get_ident, main_thread
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from queue import SimpleQueue
    from threading import Event
    from types import CodeType, FrameType

_LOOK_S = 0.5

T = TypeVar("T")
F = TypeVar("F", bound="Callable[..., object]")

_PACKAGE = __name__.partition(".")[0]
_calling: set[CodeType] = set()
_waiting: set[CodeType] = set()


def calls_user_code(function: F) -> F:
    """Marks a function of flowspan's: what it calls may be broken off, but not itself."""
    _calling.add(function.__code__)
    return function


def may_be_broken_off(function: F) -> F:
    """Marks a function of flowspan's that may be broken off itself: it only waits or calls."""
    _waiting.add(function.__code__)
    return function


def may_interrupt(frame: FrameType | None) -> bool:
    """Whether an exception may be raised in a thread.

    Args:
        frame: The innermost frame of the thread.
    """
    is_innermost = True
    while frame is not None:
        name = frame.f_globals.get("__name__")  # code may be run with any globals
        if type(name) is str and (name == _PACKAGE or name.startswith(_PACKAGE + ".")):
            code = frame.f_code
            return code in _waiting or (code in _calling and not is_innermost)
        frame, is_innermost = frame.f_back, False
    return True


@may_be_broken_off
def block(event: Event, timeout_s: float | None) -> None:
    """Wait for an event; a deadline may break the wait off."""
    if timeout_s is None and get_ident() == main_thread().ident:
        # A signal that comes just before Python sleeps is only looked at when it wakes up.
        while not event.wait(_LOOK_S):
            pass
        return
    event.wait(None if timeout_s is None else float(min(timeout_s, TIMEOUT_MAX)))


@may_be_broken_off
def take(queue: SimpleQueue[T], timeout_s: float | None) -> T:
    """Takes the next thing out of a queue; a deadline may break the wait off.

    Raises:
        queue.Empty: The time was over.
    """
    return queue.get(timeout=None if timeout_s is None else min(timeout_s, TIMEOUT_MAX))
