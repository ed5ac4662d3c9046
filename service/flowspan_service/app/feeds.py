"""Feeds: the changes of a tree, read once for all its watchers.

A feed keeps the newest changes in encoded form. It reads the store when its tree has changed, at
most every few milliseconds. A watcher that is behind the kept changes reads the store itself until
it has caught up, so that a slow watcher costs no memory.
"""

from __future__ import annotations

import asyncio
import contextlib
from bisect import bisect_right
from collections import deque
from functools import partial
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from flowspan_service.app.runs import get_run_of_any_kind
from flowspan_service.app.watching import changes_page

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from concurrent.futures import Executor

    from flowspan_service.app.ports import Mark, Notifier, Store
    from flowspan_service.app.watching import Watched, WatchedChange

PAUSE_S = 0.004
"""The pause between two reads: commits come in quick succession, and one read serves several."""
KEPT_CHANGES = 2_000
KEPT_BYTES = 4_000_000


class Look(NamedTuple):
    """A page of encoded changes."""

    messages: list[tuple[int, bytes]]
    """The changes with their positions."""
    looked_at: int
    """The position to continue from."""
    is_last: bool
    """True if there were no more changes at the time of the read."""
    has_ended: bool
    """True if the watched run had ended by then: no more changes follow."""


def look(
    store: Store, watched: Watched, encode: Callable[[WatchedChange], bytes], after: int
) -> Look:
    """Read a page of the changes after a position. Blocks.

    Raises:
        NotFoundError: There is no such run.
    """
    run = None
    if watched.run_id is not None:
        # The run is read first: if it had ended by then, the page includes its last change.
        run = get_run_of_any_kind(store, watched.run_id)
    page = changes_page(store, watched, after=after)
    return Look(
        [(change.transition.position, encode(change)) for change in page.changes],
        page.looked_at,
        page.is_last,
        page.is_last and run is not None and run.state.is_terminal,
    )


class Feed:
    """The changes of a tree after a position. For the event loop's thread only.

    Attributes:
        begin: The position before the first kept change.
        position: The position of the last kept change.
        has_ended: True if the watched run had ended there: no more changes follow.
        watcher_count: The number of watchers.
    """

    def __init__(self, position: int, read: Callable[[int], Awaitable[Look]]) -> None:
        self.begin = self.position = position
        self.has_ended = False
        self.watcher_count = 0
        self._read = read
        self._kept: deque[tuple[int, bytes]] = deque()
        self._kept_bytes = 0
        self._failure: Exception | None = None
        self._news = asyncio.Event()

    @property
    def is_over(self) -> bool:
        """True if no more changes follow."""
        return self.has_ended or self._failure is not None

    def after(self, position: int) -> list[tuple[int, bytes]]:
        """Return the changes after a position, at or after `begin`, with their positions."""
        if position >= self.position:
            return []
        first = bisect_right(self._kept, position, key=itemgetter(0))
        return list(islice(self._kept, first, None))

    async def news(self, after: int) -> None:
        """Wait until the feed may be ahead of the position, or has ended.

        Raises:
            Exception: The error of the feed when it read the store.
        """
        if self._failure is None and self.position <= after and not self.has_ended:
            await self._news.wait()
        if self._failure is not None:
            raise self._failure

    async def run(self, mark: Mark) -> None:
        """Read the changes as they come, until no more follow."""
        try:
            while not self.has_ended:
                # Skip the changes of other trees.
                self.position = max(self.position, mark.take())
                await self._catch_up()
                if not self.has_ended:
                    await asyncio.sleep(PAUSE_S)
                    await mark.wait()
        except Exception as error:  # noqa: BLE001 - the watchers raise it
            self._failure = error
            self._wake()

    async def _catch_up(self) -> None:
        is_last = False
        while not is_last:
            found = await self._read(self.position)
            for position, message in found.messages:
                self._keep(position, message)
            self.position, is_last = found.looked_at, found.is_last
            self.has_ended = found.has_ended
            self._wake()

    def _keep(self, position: int, message: bytes) -> None:
        self._kept.append((position, message))
        self._kept_bytes += len(message)
        while len(self._kept) > KEPT_CHANGES or self._kept_bytes > KEPT_BYTES:
            self.begin, dropped = self._kept.popleft()
            self._kept_bytes -= len(dropped)

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


class Feeds:
    """The feeds with watchers. For the event loop's thread only."""

    def __init__(self, store: Store, notifier: Notifier, readers: Executor) -> None:
        self._store = store
        self._notifier = notifier
        self._readers = readers
        self._feeds: dict[Watched, Feed] = {}
        self._tasks: dict[Feed, asyncio.Task[None]] = {}

    @property
    def watcher_count(self) -> int:
        """The number of watchers of all feeds."""
        return sum(feed.watcher_count for feed in self._tasks)

    @contextlib.contextmanager
    def watch(
        self, watched: Watched, position: int, encode: Callable[[WatchedChange], bytes]
    ) -> Iterator[Feed]:
        """Join the feed of a scope. A new feed begins at the position.

        Args:
            watched: The scope.
            position: The position of the watcher.
            encode: Makes the message of a change; the same for all watchers of a scope.
        """
        feed = self._feeds.get(watched)
        if feed is None or feed.is_over:
            feed = self._feeds[watched] = Feed(position, partial(self.read, watched, encode))
            task = asyncio.get_running_loop().create_task(self._run(watched, feed))
            self._tasks[feed] = task
        feed.watcher_count += 1
        try:
            yield feed
        finally:
            feed.watcher_count -= 1
            if not feed.watcher_count:
                self._tasks.pop(feed).cancel()
                if self._feeds.get(watched) is feed:
                    del self._feeds[watched]

    async def read(
        self, watched: Watched, encode: Callable[[WatchedChange], bytes], after: int
    ) -> Look:
        """Read a page of the changes after a position.

        Raises:
            NotFoundError: There is no such run.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, look, self._store, watched, encode, after)

    async def _run(self, watched: Watched, feed: Feed) -> None:
        with self._notifier.mark(watched.root_run_id) as mark:
            await feed.run(mark)
