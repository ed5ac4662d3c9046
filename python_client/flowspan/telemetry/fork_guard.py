"""Imports in background threads, which a fork must not interrupt.

The child of a fork has only the thread that forked. If another one was importing a module at that
moment, the child waits for that import forever as soon as it imports the same module. So the
threads of telemetry import with `no_fork`, and a fork in another thread waits for them.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_WAIT_S = 2.0
"""Maximum time that a fork waits: the import may itself wait for the thread that forks."""


class ForkGuard:
    """A lock that is held by the threads that import, and by those that fork."""

    def __init__(self) -> None:
        self.after_in_child()

    @contextlib.contextmanager
    def no_fork(self) -> Iterator[None]:
        """Keep other threads from forking, during a block that imports."""
        with self._lock:
            yield

    def before_fork(self) -> None:
        """Wait for the threads that import."""
        self._forking.append(self._lock.acquire(timeout=LONGEST_WAIT_S))

    def after_in_parent(self) -> None:
        """Let the threads import again."""
        if self._forking.pop():
            self._lock.release()

    def after_in_child(self) -> None:
        """Begin anew: the threads that held the lock are gone."""
        self._lock = threading.RLock()
        self._forking: list[bool] = []
        """Whether the lock was acquired, for each fork under way."""


_guard = ForkGuard()
no_fork = _guard.no_fork

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_guard.before_fork,
        after_in_parent=_guard.after_in_parent,
        after_in_child=_guard.after_in_child,
    )
