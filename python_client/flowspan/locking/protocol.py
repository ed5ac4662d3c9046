"""The interface of lock managers."""

from __future__ import annotations

from typing import Protocol


class LockManager(Protocol):
    """A manager of locks on keys.

    A holder is a string that the caller chooses. A holder may acquire its own lock again; a single
    release still unlocks it.
    """

    def acquire_lock(
        self,
        key: str,
        holder: str,
        acquire_timeout: float | None = None,
        hold_timeout: float | None = None,
    ) -> bool:
        """Lock a key.

        Args:
            key: The key.
            holder: The holder of the lock.
            acquire_timeout: Maximum wait in seconds; None for no limit.
            hold_timeout: Number of seconds after which the lock is released automatically; None for
                never.

        Returns:
            True if the holder has the lock now.
        """

    def release_lock(self, key: str, holder: str) -> None:
        """Unlock a key.

        Raises:
            ValueError: The holder has not locked it.
        """

    def is_locked(self, key: str) -> bool:
        """Return True if the key is locked."""

    def is_lock_holder(self, key: str, holder: str) -> bool:
        """Return True if the holder has locked the key."""

    def wait_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """Wait until the key is unlocked.

        Args:
            key: The key.
            timeout: Maximum wait in seconds; None for no limit.

        Returns:
            True if it is unlocked; False if the timeout passed first.
        """
