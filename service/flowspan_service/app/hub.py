"""Wakes whoever waits for the next commit. The store is the truth; this only saves polling."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowspan_service.domain.runs import Run


class CommitHub:
    """A commit listener (see ports.CommitListener) for coroutines of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._changed = asyncio.Event()
        self._is_waking = False
        self.generation = 0
        """Counts the commits. Look at it before reading the store, and wait for the next one."""

    def __call__(self, *, position: int, log_position: int, ended: Sequence[Run]) -> None:
        """Called in the writer's thread after a commit."""
        del position, log_position, ended
        self.generation += 1
        if not self._is_waking:
            self._is_waking = True
            try:
                self._loop.call_soon_threadsafe(self.wake)
            except RuntimeError:
                return  # the loop is closed: nobody waits any more

    async def wait(self, *, after: int, timeout_s: float) -> None:
        """Returns when there was a commit after that generation, or after the timeout."""
        if self.generation != after:
            return
        changed = self._changed
        try:
            async with asyncio.timeout(timeout_s):
                await changed.wait()
        except TimeoutError:
            return

    def wake(self) -> None:
        """Wakes all that wait. For the event loop's thread only."""
        self._is_waking = False
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
