"""Keep-alives of streams that have nothing to send."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable

INTERVAL_S = 15.0
"""The time without a message after which a stream sends a keep-alive."""


class KeepAlive:
    """Says when a stream must send a keep-alive. For the event loop's thread only.

    The time runs from the last message and not from the last wait: a stream whose filter leaves
    everything out wakes often and sends nothing.
    """

    def __init__(self) -> None:
        self._now_s = asyncio.get_running_loop().time
        self._due_s = 0.0
        self.sent()

    def sent(self) -> None:
        """Note that the stream has sent a message."""
        self._due_s = self._now_s() + INTERVAL_S

    @property
    def is_due(self) -> bool:
        """True if the stream has sent nothing for the interval."""
        return self._now_s() >= self._due_s

    async def wait(self, event: Awaitable[object]) -> None:
        """Wait for an event, but not longer than until a keep-alive is due."""
        timeout = asyncio.timeout_at(self._due_s)
        try:
            async with timeout:
                await event
        except TimeoutError:
            if not timeout.expired():
                raise
