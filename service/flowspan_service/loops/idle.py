"""Idle detection, which ends an unused local service."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


async def until_idle(
    idle_since_us: Callable[[], int | None], monotonic_us: Callable[[], int], *, timeout_s: float
) -> None:
    """Return once the service has been idle for `timeout_s`.

    Args:
        idle_since_us: Returns the time since when the service is unused; None if it is in use.
        monotonic_us: The monotonic clock that `idle_since_us` uses, too.
        timeout_s: The idle time, in seconds.
    """
    while True:
        await asyncio.sleep(min(1.0, timeout_s / 4))
        since_us = idle_since_us()
        if since_us is not None and monotonic_us() - since_us >= timeout_s * 1e6:
            return
