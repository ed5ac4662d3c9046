"""Locks within one process."""

from __future__ import annotations

import os
import threading

from flowspan import clock
from flowspan.locking.waiting import AsyncLocking


class MemoryLockManager(AsyncLocking):
    """A lock manager for the threads and coroutines of one process.

    All instances in a process share the same locks. They end with the process, so a dead process
    holds no lock.
    """

    def acquire_lock(
        self,
        key: str,
        holder: str,
        acquire_timeout: float | None = None,
        hold_timeout: float | None = None,
    ) -> bool:
        """Lock a key; see `flowspan.locking.protocol.LockManager`."""
        end_s = None if acquire_timeout is None else clock.monotonic() + acquire_timeout
        with _changed:
            while not _is_free(key, holder):
                if not _wait(key, end_s):
                    return False
            _locks[key] = (
                holder,
                None if hold_timeout is None else clock.monotonic() + hold_timeout,
            )
            return True

    def release_lock(self, key: str, holder: str) -> None:
        """Unlock a key.

        Raises:
            ValueError: The holder has not locked it.
        """
        with _changed:
            if not self.is_lock_holder(key, holder):
                raise ValueError(f"{holder!r} has not locked the key {key!r}.")
            del _locks[key]
            _changed.notify_all()

    def is_locked(self, key: str) -> bool:
        """Return True if the key is locked."""
        with _changed:
            return not _is_free(key, None)

    def is_lock_holder(self, key: str, holder: str) -> bool:
        """Return True if the holder has locked the key."""
        with _changed:
            return not _is_free(key, None) and _locks[key][0] == holder

    def wait_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """Wait until the key is unlocked; return False if the timeout passed first."""
        end_s = None if timeout is None else clock.monotonic() + timeout
        with _changed:
            while not _is_free(key, None):
                if not _wait(key, end_s):
                    return False
            return True


_locks: dict[str, tuple[str, float | None]] = {}
"""The holder of each locked key, and the time of its automatic release."""

_changed = threading.Condition(threading.RLock())
"""The lock that protects `_locks`; notified when a key is released."""


def _is_free(key: str, holder: str | None) -> bool:
    """Return True if a key is unlocked, or locked by this holder."""
    if key not in _locks:
        return True
    owner, until_s = _locks[key]
    if until_s is not None and until_s <= clock.monotonic():
        del _locks[key]
        return True
    return owner == holder


def _wait(key: str, end_s: float | None) -> bool:
    """Wait for a possible change of a key's lock; return False if the time has expired."""
    now_s = clock.monotonic()
    ends = [each for each in (end_s, _locks[key][1]) if each is not None]
    if end_s is not None and end_s <= now_s:
        return False
    _changed.wait(max(0.0, min(ends) - now_s) if ends else None)
    return True


def _after_fork() -> None:
    global _changed  # noqa: PLW0603 - one per process
    _changed = threading.Condition(threading.RLock())
    _locks.clear()


os.register_at_fork(after_in_child=_after_fork)
