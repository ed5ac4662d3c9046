"""The calls of this process that wait for commands of a session (WatchCommands)."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


class CommandWatch:
    """One watch of a session. For the event loop's thread only."""

    def __init__(self) -> None:
        self._has_news = asyncio.Event()

    async def news(self, timeout_s: float) -> bool:
        """Wait for news since the last `take`; return False if the time was over first."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._has_news.wait()
        except TimeoutError:
            return False
        return True

    def take(self) -> None:
        """Begin to wait for the next news. Call it before reading the store."""
        self._has_news.clear()

    def wake(self) -> None:
        """End the wait."""
        self._has_news.set()


class CommandWatches:
    """The watches of commands, by session: an app.ports.NewsListener.

    The store is the source of truth; a wake-up only saves polling. Several watches of one session
    are independent of each other. For the event loop's thread, except for calls of the listener.
    """

    def __init__(self) -> None:
        self._watches: dict[str, set[CommandWatch]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def __len__(self) -> int:
        return len(self._watches)

    def sessions(self) -> list[str]:
        """Return the watched sessions."""
        return list(self._watches)

    @contextlib.contextmanager
    def watch(self, session_id: str) -> Iterator[CommandWatch]:
        """Watch a session while this is open."""
        self._loop = asyncio.get_running_loop()
        watch = CommandWatch()
        self._watches.setdefault(session_id, set()).add(watch)
        try:
            yield watch
        finally:
            watches = self._watches[session_id]
            watches.discard(watch)
            if not watches:
                del self._watches[session_id]

    def __call__(self, session_ids: Collection[str]) -> None:
        """Note a commit with news for these sessions, in the writer's thread."""
        loop, watches = self._loop, self._watches
        if loop is not None and any(session_id in watches for session_id in session_ids):
            with contextlib.suppress(RuntimeError):  # the loop is closed: no call waits
                loop.call_soon_threadsafe(self.wake, session_ids)

    def wake(self, session_ids: Collection[str]) -> None:
        """Wake the watches of these sessions."""
        for session_id in session_ids:
            for watch in self._watches.get(session_id, ()):
                watch.wake()

    def wake_all(self) -> None:
        """Wake all watches."""
        self.wake(self.sessions())
