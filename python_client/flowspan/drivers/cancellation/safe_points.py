"""Safe points: the code in which a deadline may interrupt a thread.

A deadline raises an exception in the middle of whatever a thread is doing. That is right for user
code. In flowspan's own code it could corrupt a lock or a queue, so there the exception is deferred.
The thread's frames show which code is running.
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
    """Mark a function of flowspan as a caller of user code: its callees may be interrupted."""
    _calling.add(function.__code__)
    return function


def may_be_broken_off(function: F) -> F:
    """Mark a function of flowspan as interruptible itself: it only waits or calls."""
    _waiting.add(function.__code__)
    return function


def may_interrupt(frame: FrameType | None) -> bool:
    """Return True if an exception may be raised in a thread.

    Args:
        frame: The innermost frame of the thread.
    """
    is_innermost = True
    while frame is not None:
        name = frame.f_globals.get("__name__")  # code may run with arbitrary globals
        if type(name) is str and (name == _PACKAGE or name.startswith(_PACKAGE + ".")):
            code = frame.f_code
            return code in _waiting or (code in _calling and not is_innermost)
        frame, is_innermost = frame.f_back, False
    return True


@may_be_broken_off
def block(event: Event, timeout_s: float | None) -> None:
    """Wait for an event; a deadline may interrupt the wait."""
    if timeout_s is None and get_ident() == main_thread().ident:
        # A signal that arrives just before the wait blocks is handled only when the wait wakes up.
        while not event.wait(_LOOK_S):
            pass
        return
    event.wait(None if timeout_s is None else float(min(timeout_s, TIMEOUT_MAX)))


@may_be_broken_off
def take(queue: SimpleQueue[T], timeout_s: float | None) -> T:
    """Take the next item out of a queue; a deadline may interrupt the wait.

    Raises:
        queue.Empty: The timeout passed.
    """
    return queue.get(timeout=None if timeout_s is None else min(timeout_s, TIMEOUT_MAX))
