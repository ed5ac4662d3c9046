"""Waits for locks in coroutines, which do not block the event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan import clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.locking.protocol import LockManager

_FIRST_WAIT_S = 0.005
_LONGEST_WAIT_S = 0.25


async def acquire(
    locks: LockManager,
    key: str,
    holder: str,
    acquire_timeout: float | None = None,
    hold_timeout: float | None = None,
) -> bool:
    """Lock a key; see `flowspan.locking.protocol.LockManager.acquire_lock`.

    A coroutine that is cancelled while it waits has not locked the key.
    """
    return await _succeeds(
        lambda: locks.acquire_lock(key, holder, acquire_timeout=0, hold_timeout=hold_timeout),
        acquire_timeout,
    )


async def wait(locks: LockManager, key: str, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - Prefect's signature
    """Wait until a key is unlocked; return False if the timeout passed first."""
    return await _succeeds(lambda: not locks.is_locked(key), timeout)


async def _succeeds(attempt: Callable[[], bool], timeout_s: float | None) -> bool:
    """Repeat an attempt until it succeeds; return False if the timeout passed first."""
    from flowspan.clock import aio  # noqa: PLC0415 - imports asyncio

    end_s = None if timeout_s is None else clock.monotonic() + timeout_s
    wait_s = _FIRST_WAIT_S
    while not attempt():
        if end_s is not None and clock.monotonic() >= end_s:
            return False
        await aio.sleep(wait_s)
        wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
    return True


class AsyncLocking:
    """The asynchronous methods of a lock manager."""

    async def aacquire_lock(
        self: LockManager,
        key: str,
        holder: str,
        acquire_timeout: float | None = None,
        hold_timeout: float | None = None,
    ) -> bool:
        """Lock a key without blocking the event loop; see `acquire`."""
        return await acquire(self, key, holder, acquire_timeout, hold_timeout)

    async def await_for_lock(
        self: LockManager,
        key: str,
        timeout: float | None = None,  # noqa: ASYNC109 - Prefect's signature
    ) -> bool:
        """Wait until a key is unlocked, without blocking the event loop; see `wait`."""
        return await wait(self, key, timeout)
