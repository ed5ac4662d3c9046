"""The reaper's rounds."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import TYPE_CHECKING

import pytest
from tests.support.memory_store import ManualClock, MemoryStore

from flowspan_service.adapters.connected_sessions import ConnectedSessions
from flowspan_service.app.sessions import LeaseTerms, OpenSession, Reap
from flowspan_service.domain.errors import StoreUnavailableError
from flowspan_service.domain.sessions import SessionStatus
from flowspan_service.loops.reaper import LIMIT, Reaper

if TYPE_CHECKING:
    from collections.abc import Callable

TERMS = LeaseTerms(lease_us=30_000_000, grace_us=10_000_000)
# Time passes in small steps: a large one looks like a stall of the service.
STEP_S = 4.0
STALL_S = 100.0


class WatchedStore(MemoryStore):
    """Records the operations, and fails on demand."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.operations: list[object] = []
        self.fails = 0
        self.asked = asyncio.Event()

    def submit(self, operation):
        self.operations.append(operation)
        self.asked.set()
        if self.fails:
            self.fails -= 1
            future: Future[object] = Future()
            future.set_exception(StoreUnavailableError("not now"))
            return future
        return super().submit(operation)


@pytest.fixture
def store() -> WatchedStore:
    store = WatchedStore(ManualClock())
    store.do(OpenSession("s", client={}, lease_us=TERMS.lease_us))
    return store


async def rounds_until(store: WatchedStore, done: Callable[[], bool], step_s: float) -> None:
    """Lets the reaper run, and time pass, until something is done."""
    reaper = Reaper(store, store.clock, ConnectedSessions(), TERMS)
    fails, store.fails = store.fails, 0
    await reaper.reap()
    store.fails = fails
    store.operations.clear()
    running = asyncio.create_task(reaper.run(interval_s=0.001))
    try:
        while not done():
            assert not running.done()
            store.asked.clear()
            store.clock.advance(step_s)
            await store.asked.wait()
    finally:
        running.cancel()


def is_lost(store: WatchedStore) -> bool:
    return store.data.sessions["s"].status == SessionStatus.LOST


@pytest.mark.asyncio
async def test_silent_session_is_lost_when_its_lease_ends(store: WatchedStore) -> None:
    began_us = store.clock.monotonic_us()
    await rounds_until(store, lambda: is_lost(store), STEP_S)
    silent_s = (store.clock.monotonic_us() - began_us) / 1e6
    assert silent_s >= 30


@pytest.mark.asyncio
async def test_service_that_stood_still_blames_itself(store: WatchedStore) -> None:
    await rounds_until(store, lambda: len(store.operations) >= 5, STALL_S)
    assert not is_lost(store)


@pytest.mark.asyncio
async def test_database_that_is_away_is_asked_again(store: WatchedStore) -> None:
    store.fails = 3
    await rounds_until(store, lambda: is_lost(store), STEP_S)
    assert all(isinstance(each, Reap) for each in store.operations)


@pytest.mark.asyncio
async def test_time_without_the_database_is_not_silence(store: WatchedStore) -> None:
    """No session could renew its lease while the store was unavailable."""
    store.fails = 20
    await rounds_until(store, lambda: len(store.operations) > 23, STEP_S)
    assert not is_lost(store)


@pytest.mark.asyncio
async def test_many_lost_sessions_are_reaped_in_one_round(store: WatchedStore) -> None:
    for number in range(2 * LIMIT):
        store.do(OpenSession(f"s{number}", client={}, lease_us=TERMS.lease_us))
    reaper = Reaper(store, store.clock, ConnectedSessions(), TERMS)
    lost: list[str] = []
    while not lost:
        store.operations.clear()
        lost = await reaper.reap()
        store.clock.advance(STEP_S)
    assert len(lost) == 2 * LIMIT + 1
    assert len(store.operations) == 3
