"""Unfinished work of a service that died is completed by the next one."""

from __future__ import annotations

import asyncio

import pytest
from tests.store.builders import a_run
from tests.support.memory_store import ManualClock, MemoryStore

from flowspan_service.app.ports import Unfinished
from flowspan_service.app.runs import DeleteRun
from flowspan_service.app.sessions import EndSession, OpenSession
from flowspan_service.domain.states import StateType
from flowspan_service.loops.unfinished import finish, finish_unfinished

LEASE_US = 30_000_000


def store_with_runs(count: int) -> MemoryStore:
    store = MemoryStore(ManualClock())
    store.do(OpenSession("s", client={}, lease_us=LEASE_US))
    root = a_run(session_id="s")
    children = [a_run(parent=root, session_id="s") for _ in range(count - 1)]
    for run in (root, *children):
        store.data.runs[run.id] = run
    store.is_spent = True
    return store


@pytest.mark.asyncio
async def test_a_deletion_is_finished() -> None:
    store = store_with_runs(3)
    root = next(iter(store.data.runs))
    unfinished = store.do_once(DeleteRun(root, force=True))
    assert isinstance(unfinished, Unfinished)
    assert unfinished.progress.startswith("1 runs were deleted")
    assert len(store.data.runs) == 2
    await finish(store)
    assert (store.data.runs, store.data.deletions) == ({}, set())


@pytest.mark.asyncio
async def test_a_deletion_that_a_call_is_doing_is_left_to_it() -> None:
    """The call reports the number of runs that it has deleted, so it must delete all of them."""
    store = store_with_runs(3)
    root = next(iter(store.data.runs))
    unfinished = store.do_once(DeleteRun(root, force=True))
    assert isinstance(unfinished, Unfinished)
    await finish(store, under_way={root})
    assert len(store.data.runs) == 2
    assert store.do(unfinished.rest) == 3
    await finish(store, under_way=set())
    assert (store.data.runs, store.data.deletions) == ({}, set())


@pytest.mark.asyncio
async def test_a_deletion_that_another_process_is_doing_is_left_to_it() -> None:
    store = store_with_runs(4)
    root = next(iter(store.data.runs))
    unfinished = store.do_once(DeleteRun(root, force=True))
    assert isinstance(unfinished, Unfinished)
    seen = await finish(store, seen={})
    assert len(store.data.runs) == 3, "it is not known yet whether some process is at it"
    unfinished = store.do_once(unfinished.rest)
    assert isinstance(unfinished, Unfinished)
    seen = await finish(store, seen=seen)
    assert len(store.data.runs) == 2
    assert await finish(store, seen=seen) is not None
    assert (store.data.runs, store.data.deletions) == ({}, set())


@pytest.mark.asyncio
async def test_the_end_of_a_session_is_finished() -> None:
    store = store_with_runs(300)
    unfinished = store.do_once(EndSession("s"))
    assert isinstance(unfinished, Unfinished)
    assert unfinished.progress.startswith("200 runs have crashed")
    running = asyncio.create_task(finish_unfinished(store, interval_s=0.001))
    while any(run.state.type != StateType.CRASHED for run in store.data.runs.values()):
        assert not running.done()
        await asyncio.sleep(0)
    running.cancel()
