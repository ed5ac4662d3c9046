"""The notifier within a process: commits wake the tasks that wait for changes of their trees.

The store is the source of truth; a notifier only saves polling. A commit wakes only the watchers of
the trees that it changed, so the watcher of a tree without changes costs nothing. One poll of the
head finds the commits of other service processes over the same database.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import structlog

from flowspan_service.app.ports import Heads
from flowspan_service.domain.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from concurrent.futures import Executor

    from flowspan_service.app.ports import Store
    from flowspan_service.domain.runs import Run

log = structlog.get_logger("flowspan.notifier")

LOOK_INTERVAL_S = 0.5
"""The interval of the poll for commits of other processes."""

_NOTHING = Heads(0, 0)


class TreeMark:
    """Implementation of app.ports.Mark. For the event loop's thread only."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._before: int | None = None

    async def wait(self) -> None:
        """Return when there was a change since the last `take`."""
        await self._changed.wait()

    def take(self) -> int:
        """Begin to wait for the next change. Call it before reading the store.

        Returns:
            A position up to which nothing has changed since the call before, so that a reader can
            skip it; 0 if unknown.
        """
        before, self._before = self._before, None
        self._changed.clear()
        return before or 0

    def set(self, before: int) -> None:
        """Note a change. The tree did not change between the one before and that position."""
        self._before = before if self._before is None else min(self._before, before)
        self._changed.set()


class _Commit(NamedTuple):
    """A commit to deliver."""

    roots: Collection[str] | None
    """The trees that the commit changed; None if any may have."""
    before: Heads


class CommitNotifier:
    """Implementation of app.ports.Notifier: a commit listener for the tasks of one event loop.

    Args:
        loop: The event loop.
        store: The store, to poll for commits of other processes; None if there are none.
        readers: Threads for the reads.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        store: Store | None = None,
        readers: Executor | None = None,
    ) -> None:
        self._loop = loop
        self._store = store
        self._readers = readers
        self._marks: dict[str | None, set[TreeMark]] = {}
        """By the root of the tree; None for the watchers of everything."""
        self._commits: deque[_Commit] = deque()
        self._look: asyncio.Task[None] | None = None
        self._lock = threading.Lock()
        """Guards the attributes below: the writer's thread and the loop's thread change them."""
        self._known: Heads | None = None
        """The heads up to which commits are accounted for; None before the first."""
        self._foreign_from: Heads | None = None
        """The start of a stretch with commits of other processes."""
        self._looking_from: Heads | None = None
        """The start of such a stretch that is being read."""

    @contextlib.contextmanager
    def mark(self, root_run_id: str | None) -> Iterator[TreeMark]:
        """Subscribe to the changes of a tree, or of everything if None, while this is open."""
        mark = TreeMark()
        self._marks.setdefault(root_run_id, set()).add(mark)
        self._begin_looking()
        try:
            yield mark
        finally:
            marks = self._marks[root_run_id]
            marks.discard(mark)
            if not marks:
                del self._marks[root_run_id]
            if not self._marks:
                self._end_looking()

    def __call__(
        self,
        *,
        position: int,
        log_position: int,
        ended: Sequence[Run],
        roots: Collection[str] | None = None,
        before: Heads | None = None,
        **_: object,
    ) -> None:
        """Note a commit, in the writer's thread."""
        del ended
        if before is not None:
            self._account(before, Heads(position, log_position))
        if not self._is_waited_for(roots):
            return
        is_first = not self._commits
        self._commits.append(_Commit(roots, before or _NOTHING))
        if is_first:
            with contextlib.suppress(RuntimeError):  # the loop is closed: no task waits
                self._loop.call_soon_threadsafe(self._deliver)

    def _account(self, before: Heads, after: Heads) -> None:
        with self._lock:
            known = self._known or _NOTHING
            if not _covers(known, before) and self._foreign_from is None:
                self._foreign_from = known  # other processes have committed in between
            self._known = _furthest(known, after)

    def wake(self) -> None:
        """Wake all waiting tasks. For the event loop's thread only."""
        for mark in self._all_marks():
            mark.set(0)

    def _is_waited_for(self, roots: Collection[str] | None) -> bool:
        marks = self._marks
        if roots is None or None in marks:
            return bool(marks)
        return bool(marks) and any(root in marks for root in roots)

    def _deliver(self) -> None:
        while self._commits:
            commit = self._commits.popleft()
            self._set(commit.roots, commit.before)

    def _set(self, roots: Collection[str] | None, before: Heads) -> None:
        # Commits of other processes that are not read yet may concern any watcher.
        with self._lock:
            stretches = (before, self._foreign_from, self._looking_from)
        position = min(each.position for each in stretches if each is not None)
        marks = self._marks
        if roots is None:
            self._set_all(self._all_marks(), position)
            return
        for key in (*roots, None):
            self._set_all(marks.get(key, ()), position)

    def _set_all(self, marks: Collection[TreeMark], position: int) -> None:
        for mark in marks:
            mark.set(position)

    def _all_marks(self) -> list[TreeMark]:
        return [mark for marks in self._marks.values() for mark in marks]

    # Commits of other processes

    def _begin_looking(self) -> None:
        if self._look is None and self._store is not None:
            self._look = self._loop.create_task(self._look_for_others())

    def _end_looking(self) -> None:
        if self._look is not None:
            self._look.cancel()
            self._look = None

    async def _look_for_others(self) -> None:
        while True:
            try:
                await self._look_once()
            except ServiceError as error:
                log.warning("cannot check for commits of other processes", error=str(error))
            except Exception:
                log.exception("cannot check for commits of other processes")
            await asyncio.sleep(LOOK_INTERVAL_S)

    async def _look_once(self) -> None:
        with self._lock:
            known = self._known or _NOTHING
            begin, self._foreign_from = self._foreign_from, None
            self._looking_from = begin
        try:
            await self._look_from(begin, known)
        except BaseException:
            with self._lock:
                stretches = [each for each in (begin, self._foreign_from) if each is not None]
                self._foreign_from = min(stretches, default=None)
            raise
        finally:
            with self._lock:
                self._looking_from = None

    async def _look_from(self, begin: Heads | None, known: Heads) -> None:
        store = self._store
        assert store is not None  # noqa: S101 - without a store, no task polls
        heads = await self._loop.run_in_executor(self._readers, store.heads)
        with self._lock:
            # An own commit may be stored before the listener is called; that is harmless.
            if begin is None and self._known is not None and _covers(self._known, heads):
                return
            begin = begin or known
            self._looking_from = begin
            self._known = _furthest(self._known or _NOTHING, heads)
        roots = None
        if heads.log_position == begin.log_position:
            roots = await self._loop.run_in_executor(
                self._readers, store.transitions.changed_roots, begin.position, heads.position
            )
        self._set(roots, begin)


def _covers(one: Heads, other: Heads) -> bool:
    return one.position >= other.position and one.log_position >= other.log_position


def _furthest(one: Heads, other: Heads) -> Heads:
    return Heads(max(one.position, other.position), max(one.log_position, other.log_position))
