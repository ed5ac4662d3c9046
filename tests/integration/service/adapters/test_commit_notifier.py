"""Waiting for changes of a tree."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest
from tests.store.builders import a_run, a_state, new_id
from tests.support.memory_store import ManualClock, MemoryStore

from flowspan_service.adapters import commit_notifier as hub_module
from flowspan_service.adapters.commit_notifier import CommitNotifier
from flowspan_service.app.ports import Heads
from flowspan_service.domain.runs import Transition
from flowspan_service.domain.states import Cause, StateType

if TYPE_CHECKING:
    from flowspan_service.app.ports import Mark

WAIT_S = 60.0


def commit(hub: CommitNotifier, before: int, after: int, *roots: str) -> None:
    hub(
        position=after,
        log_position=0,
        ended=[],
        roots=set(roots),
        before=Heads(before, 0),
    )


async def is_set(mark: Mark) -> bool:
    """Return True if it was changed, once all pending notifications are delivered."""
    for _ in range(3):
        await asyncio.sleep(0)
    try:
        await asyncio.wait_for(mark.wait(), 0.001)
    except TimeoutError:
        return False
    return True


@pytest.mark.asyncio
async def test_a_commit_of_another_thread_wakes_those_whose_tree_changed() -> None:
    hub = CommitNotifier(asyncio.get_running_loop())
    with hub.mark("a") as one, hub.mark("a") as two, hub.mark("b") as other, hub.mark(None) as any_:
        threading.Thread(target=commit, args=(hub, 0, 1, "a")).start()
        waits = (one.wait(), two.wait(), any_.wait())
        await asyncio.wait_for(asyncio.gather(*waits), WAIT_S)
        assert not await is_set(other)


@pytest.mark.asyncio
async def test_a_commit_that_changes_no_watched_tree_does_not_touch_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    hub = CommitNotifier(loop)
    with hub.mark("a"):
        calls: list[object] = []
        monkeypatch.setattr(loop, "call_soon_threadsafe", lambda *call: calls.append(call))
        for number in range(100):
            commit(hub, number, number + 1, "b", "c")
        assert calls == []
        commit(hub, 100, 101, "b", "a")
        commit(hub, 101, 102, "a")
        assert len(calls) == 1, "one call must deliver all pending notifications"
        monkeypatch.undo()


@pytest.mark.asyncio
async def test_a_change_between_taking_and_waiting_is_not_missed() -> None:
    hub = CommitNotifier(asyncio.get_running_loop())
    with hub.mark("a") as mark:
        mark.take()
        commit(hub, 0, 1, "a")
        assert await is_set(mark)
        mark.take()
        assert not await is_set(mark)


@pytest.mark.asyncio
async def test_what_did_not_change_need_not_be_looked_through() -> None:
    hub = CommitNotifier(asyncio.get_running_loop())
    commit(hub, 0, 5, "x")
    with hub.mark("a") as mark:
        mark.take()
        commit(hub, 5, 900, "b")
        commit(hub, 900, 901, "a")
        commit(hub, 901, 950, "b")
        commit(hub, 950, 951, "a")
        assert await is_set(mark)
        assert mark.take() == 900
        assert mark.take() == 0, "nothing has changed since"


@pytest.mark.asyncio
async def test_what_others_committed_is_not_skipped() -> None:
    hub = CommitNotifier(asyncio.get_running_loop())
    commit(hub, 0, 5, "x")
    with hub.mark("a") as mark:
        mark.take()
        # This process knows nothing about positions 6 to 899.
        commit(hub, 899, 901, "a")
        assert await is_set(mark)
        assert mark.take() == 5


def stored_by_others(store: MemoryStore, *run_ids: str) -> None:
    """Commit transitions as another process does, without a notification here."""
    for run_id in run_ids:
        store.data.runs.setdefault(run_id, a_run(id=run_id))
        position = len(store.data.history) + 1
        state = a_state(StateType.PENDING)
        store.data.history.append(Transition(run_id, 1, 1, state, Cause.REPORTED, 0, position))


@pytest.mark.asyncio
async def test_commits_of_other_processes_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "LOOK_INTERVAL_S", 0.001)
    store = MemoryStore(ManualClock())
    loop = asyncio.get_running_loop()
    hub = CommitNotifier(loop, store)
    stored_by_others(store, mine := new_id(), other := new_id(), later := new_id())
    commit(hub, 0, 3, mine)
    with hub.mark(later) as mark, hub.mark("idle") as idle:
        await asyncio.sleep(0.01)
        mark.take()
        idle.take()
        stored_by_others(store, later)
        await asyncio.wait_for(mark.wait(), WAIT_S)
        assert mark.take() == 3
        assert not await is_set(idle)
        # The same for commits of other processes between two commits of this process.
        stored_by_others(store, later)
        commit(hub, 5, 6, other)
        await asyncio.wait_for(mark.wait(), WAIT_S)
        assert mark.take() <= 4
        assert not await is_set(idle)
    assert hub._look is None, "the database must not be polled without waiters"


@pytest.mark.asyncio
async def test_stopping_wakes_all() -> None:
    hub = CommitNotifier(asyncio.get_running_loop())
    with hub.mark("a") as one, hub.mark(None) as two:
        hub.wake()
        assert await is_set(one)
        assert await is_set(two)


def test_commit_after_the_loop_ended_is_of_no_interest() -> None:
    loop = asyncio.new_event_loop()
    hub = CommitNotifier(loop)
    with hub.mark("a"):
        loop.close()
        commit(hub, 0, 1, "a")
    commit(hub, 1, 2, "a")


@pytest.mark.asyncio
async def test_what_is_not_known_of_a_commit_may_concern_anybody() -> None:
    hub = CommitNotifier(asyncio.get_running_loop())
    with hub.mark("a") as mark:
        hub(position=1, log_position=1, ended=[])
        assert await is_set(mark)
        assert mark.take() == 0
