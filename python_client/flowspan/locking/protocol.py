"""What a lock manager does."""

from __future__ import annotations

from typing import Protocol


class LockManager(Protocol):
    """Locks keys for holders.

    A holder is a text of the caller's. One that has a lock may acquire it again; it is then
    released once all the same.
    """

    def acquire_lock(
        self,
        key: str,
        holder: str,
        acquire_timeout: float | None = None,
        hold_timeout: float | None = None,
    ) -> bool:
        """Locks a key.

        Args:
            key: The key.
            holder: For whom.
            acquire_timeout: How long to wait for it, in seconds; None waits as long as it takes.
            hold_timeout: After how many seconds it is released by itself; None holds it until it
                is released.

        Returns:
            Whether the holder has it now.
        """

    def release_lock(self, key: str, holder: str) -> None:
        """Unlocks a key.

        Raises:
            ValueError: The holder has not locked it.
        """

    def is_locked(self, key: str) -> bool:
        """Whether somebody has it locked."""

    def is_lock_holder(self, key: str, holder: str) -> bool:
        """Whether that holder has it locked."""

    def wait_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """Waits until nobody has it locked.

        Args:
            key: The key.
            timeout: In seconds; None waits as long as it takes.

        Returns:
            Whether it is unlocked; False if the time was over before.
        """
