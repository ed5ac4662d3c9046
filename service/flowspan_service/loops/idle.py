"""Ends a service that nobody uses."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


async def until_idle(
    idle_since_us: Callable[[], int | None], steady_us: Callable[[], int], *, timeout_s: float
) -> None:
    """Returns when the service was idle for so long.

    Args:
        idle_since_us: Since when nobody uses it; None as long as somebody does.
        steady_us: The monotonic clock, which idle_since_us was read from.
        timeout_s: How long it has to be idle.
    """
    while True:
        await asyncio.sleep(min(1.0, timeout_s / 4))
        since_us = idle_since_us()
        if since_us is not None and steady_us() - since_us >= timeout_s * 1e6:
            return
