"""Feeds: watchers of the same runs share one read."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from tests.support.memory_store import ManualClock, MemoryStore

from flowspan_service.adapters.commit_notifier import CommitNotifier
from flowspan_service.app import feeds
from flowspan_service.app.feeds import Feeds
from flowspan_service.app.reports import ApplyReport
from flowspan_service.app.sessions import OpenSession
from flowspan_service.app.watching import Watched
from flowspan_service.domain.errors import NotFoundError
from flowspan_service.domain.rules.transitions import ProposedTransition
from flowspan_service.domain.runs import NewRun, RunKind
from flowspan_service.domain.states import Cause, State, StateType

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowspan_service.app.feeds import Feed
    from flowspan_service.app.ports.transitions import Changes
    from flowspan_service.app.watching import WatchedChange

WATCHED = Watched("r", "r", flow_runs_only=False)
S = StateType


class CountingStore(MemoryStore):
    """Counts the reads of changes."""

    reads = 0

    def changes(self, *, after: int, run_id: str | None, limit: int) -> Changes:  # type: ignore[override] # fewer arguments
        self.reads += 1
        return super().changes(after=after, run_id=run_id, limit=limit)


@pytest.fixture
def store() -> CountingStore:
    store = CountingStore(ManualClock())
    store.do(OpenSession("s", client={}, lease_us=1_000_000))
    for run_id in ("r", "other"):
        state = State(S.PENDING, "Pending", "", 1)
        new = NewRun(
            run_id, RunKind.FLOW, "f", "", None, run_id, None, (), None, None, "", 1, state
        )
        report(store, run_id, new)
    return store


def report(store: MemoryStore, run_id: str, *what: NewRun | ProposedTransition) -> None:
    first = store.data.sessions["s"].last_sequence + 1
    events = [(run_id, each) for each in what]
    store.do(ApplyReport("s", first_sequence=first, events=events, run_ids=[run_id]))


def running(number: int) -> ProposedTransition:
    return ProposedTransition(State(S.RUNNING, f"Step {number}", "", number), 1, Cause.REPORTED)


def encode(change: WatchedChange) -> bytes:
    return change.transition.state.name.encode()


@pytest.fixture
def readers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def open_feeds(store: MemoryStore, readers: ThreadPoolExecutor) -> Feeds:
    hub = CommitNotifier(asyncio.get_running_loop())
    store.on_commit(hub)
    return Feeds(store, hub, readers)


async def take(feed: Feed, after: int, count: int) -> list[bytes]:
    """Return what a watcher at a position receives, until it has `count` messages."""
    found: list[bytes] = []
    while len(found) < count:
        await asyncio.wait_for(feed.news(after), 60)
        found += [message for _, message in feed.after(after)]
        after = max(after, feed.position)
    return found


@pytest.mark.asyncio
async def test_watchers_of_the_same_share_their_reads(
    store: CountingStore, readers: ThreadPoolExecutor
) -> None:
    opened = open_feeds(store, readers)
    with opened.watch(WATCHED, 2, encode) as one, opened.watch(WATCHED, 2, encode) as two:
        assert one is two
        watching = [asyncio.create_task(take(one, 2, 3)) for _ in range(20)]
        for number in range(3):
            report(store, "r", running(number))
            await asyncio.sleep(0.01)
        for each in await asyncio.gather(*watching):
            assert each == [b"Step 0", b"Step 1", b"Step 2"]
        assert store.reads <= 5, "expected one read at the start and one per commit"
        reads = -1
        while reads != store.reads:  # The read after the last commit may still be in flight.
            reads = store.reads
            await asyncio.sleep(0.1)
        for number in range(50):
            report(store, "other", running(number))
        await asyncio.sleep(0.02)
        assert store.reads == reads, "a commit in another tree must not cause a read"
        # A change in its own tree does not read the changes elsewhere again.
        report(store, "r", running(3))
        assert await take(one, one.position, 1) == [b"Step 3"]
    assert opened._feeds == {}


@pytest.mark.asyncio
async def test_a_feed_keeps_so_much_and_says_from_where(
    store: CountingStore, readers: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "KEPT_CHANGES", 3)
    opened = open_feeds(store, readers)
    for number in range(10):
        report(store, "r", running(number))
    with opened.watch(WATCHED, 0, encode) as feed:
        while feed.position < store.position():
            await feed.news(feed.position)
        assert feed.begin == store.position() - 3
        assert feed.after(feed.begin) == [(each, b"Step %d" % (each - 3)) for each in (10, 11, 12)]
        assert feed.after(11) == [(12, b"Step 9")]
        late = await opened.read(WATCHED, encode, 2)
        assert [position for position, _ in late.messages] == list(range(3, 13))


@pytest.mark.asyncio
async def test_a_feed_ends_with_its_run_and_another_begins(
    store: CountingStore, readers: ThreadPoolExecutor
) -> None:
    opened = open_feeds(store, readers)
    with opened.watch(WATCHED, 2, encode) as feed:
        report(store, "r", ProposedTransition(State(S.FAILED, "Failed", "", 5), 1, Cause.REPORTED))
        while not feed.has_ended:
            await asyncio.wait_for(feed.news(feed.position), 60)
        report(
            store, "r", ProposedTransition(State(S.RUNNING, "Retrying", "", 6), 2, Cause.REPORTED)
        )
        with opened.watch(WATCHED, 3, encode) as another:
            assert another is not feed
            assert await take(another, 3, 1) == [b"Retrying"]


@pytest.mark.asyncio
async def test_a_failure_is_told_to_all_and_the_next_watcher_tries_again(
    store: CountingStore, readers: ThreadPoolExecutor
) -> None:
    opened = open_feeds(store, readers)
    gone = Watched("gone", "gone", flow_runs_only=False)
    with opened.watch(gone, 2, encode) as feed:
        waits = [asyncio.create_task(feed.news(2)) for _ in range(3)]
        for each in await asyncio.gather(*waits, return_exceptions=True):
            assert isinstance(each, NotFoundError)
        with opened.watch(gone, 2, encode) as another:
            assert another is not feed
