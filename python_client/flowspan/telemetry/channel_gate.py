"""A gate that keeps forks apart from calls of gRPC.

If a process forks while a thread is in a call of gRPC, gRPC cannot prepare itself for the fork, and
aborts the child at its first own call. A call takes milliseconds, so a fork waits for its end. If
the receiver is unreachable, a call may take seconds; then the fork takes place anyway.
"""

from __future__ import annotations

import os
import threading
from weakref import WeakSet

from flowspan import clock

FORK_WAIT_S = 0.5
"""Maximum time that a fork waits for calls."""


class ChannelGate:
    """A lock that is held during the calls of one channel, and during forks."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        _gates.add(self)

    def __enter__(self) -> None:
        self.lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.lock.release()


_gates: WeakSet[ChannelGate] = WeakSet()
_held: dict[int, list[threading.Lock]] = {}
"""The locks that a forking thread holds, by the thread's id."""


def _before_fork() -> None:
    until_s = clock.monotonic() + FORK_WAIT_S
    _held[threading.get_ident()] = [
        lock
        for lock in [gate.lock for gate in list(_gates)]
        if lock.acquire(timeout=max(0.0, until_s - clock.monotonic()))
    ]


def _after_fork_in_parent() -> None:
    for lock in _held.pop(threading.get_ident(), []):
        lock.release()


def _after_fork_in_child() -> None:
    _held.clear()
    for gate in list(_gates):
        gate.lock = threading.Lock()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
