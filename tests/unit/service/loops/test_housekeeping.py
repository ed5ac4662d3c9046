"""Periodic deletion of old data."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any

import pytest
from tests.support.memory_store import ManualClock, MemoryStore

from flowspan_service.app.sessions import EndSession, OpenSession
from flowspan_service.domain.errors import StoreUnavailableError
from flowspan_service.loops.housekeeping import KEPT_S, LIMIT, delete_old_sessions, keep_house

LEASE_US = 30_000_000


def ended(store: MemoryStore, session_id: str) -> None:
    store.do(OpenSession(session_id, client={}, lease_us=LEASE_US))
    store.do(EndSession(session_id))


@pytest.mark.asyncio
async def test_sessions_that_ended_long_ago_are_deleted() -> None:
    store = MemoryStore(ManualClock())
    for number in range(LIMIT + 1):
        ended(store, f"s{number}")
    store.clock.advance(KEPT_S)
    ended(store, "late")
    assert await delete_old_sessions(store, store.clock) == 0, "it must not run a microsecond early"
    store.clock.advance(1)
    assert await delete_old_sessions(store, store.clock) == LIMIT + 1
    assert list(store.data.sessions) == ["late"]


@pytest.mark.asyncio
async def test_it_looks_again_and_again_though_the_database_was_away() -> None:
    class FailingStore(MemoryStore):
        calls = 0

        def submit(self, operation: Any) -> Future[Any]:
            self.calls += 1
            if self.calls == 1:
                future: Future[Any] = Future()
                future.set_exception(StoreUnavailableError("not now"))
                return future
            return super().submit(operation)

    store = FailingStore(ManualClock())
    ended(store, "s")
    store.clock.advance(KEPT_S + 1)
    running = asyncio.create_task(keep_house(store, store.clock, interval_s=0.001))
    while store.data.sessions:
        assert not running.done()
        await asyncio.sleep(0)
    running.cancel()
    assert store.calls >= 2
