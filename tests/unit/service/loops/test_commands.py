"""Commands of other service processes reach the sessions that are connected to this one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from flowspan_service.adapters.command_watches import CommandWatches
from flowspan_service.adapters.connected_sessions import ConnectedSessions
from flowspan_service.loops.commands import bring_new_commands

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Executor


WATCHES = CommandWatches()
"""No watches."""


class FakeStore:
    """Commands by the commits in which they were given; also their reads."""

    def __init__(self) -> None:
        self.commands = self.sessions = self
        self.over: set[str] = set()
        self.given: list[tuple[int, str]] = []
        self.commits = 0
        self.queries = 0

    def give(self, session_id: str) -> None:
        self.commits += 1
        self.given.append((self.commits, session_id))

    def generation(self) -> int:
        return self.commits

    def sessions_with_open(self, session_ids: Sequence[str], *, since: int) -> list[str]:
        self.queries += 1
        return [each for commit, each in self.given if commit > since and each in session_ids]

    def ended(self, session_ids: Sequence[str]) -> list[str]:
        return [each for each in session_ids if each in self.over]


class FakeConnection:
    """Counts how often its session's commands were brought."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.brought = 0

    async def send_open_commands(self) -> None:
        self.brought += 1


@pytest.fixture
def readers() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as readers:
        yield readers


@pytest.mark.asyncio
async def test_each_command_is_brought_once_and_an_idle_database_is_not_searched(
    readers: Executor,
) -> None:
    store: Any = FakeStore()
    connections = ConnectedSessions()
    here: Any = FakeConnection("here")
    connections.connect(here)
    store.give("here")
    store.give("elsewhere")
    seen = await bring_new_commands(store, connections, WATCHES, readers, since=-1)
    assert (here.brought, store.queries) == (1, 1)
    seen = await bring_new_commands(store, connections, WATCHES, readers, since=seen)
    assert (here.brought, store.queries) == (1, 1)
    store.give("elsewhere")
    seen = await bring_new_commands(store, connections, WATCHES, readers, since=seen)
    assert (here.brought, store.queries) == (1, 2)
    store.give("here")
    await bring_new_commands(store, connections, WATCHES, readers, since=seen)
    assert here.brought == 2


@pytest.mark.asyncio
async def test_a_command_that_comes_during_a_look_is_found_by_the_next(readers: Executor) -> None:
    class BusyStore(FakeStore):
        def sessions_with_open(self, session_ids: Sequence[str], *, since: int) -> list[str]:
            found = super().sessions_with_open(session_ids, since=since)
            if self.queries == 1:
                self.give("here")
            return found

    store: Any = BusyStore()
    connections = ConnectedSessions()
    here: Any = FakeConnection("here")
    connections.connect(here)
    seen = await bring_new_commands(store, connections, WATCHES, readers, since=-1)
    assert here.brought == 0
    await bring_new_commands(store, connections, WATCHES, readers, since=seen)
    assert here.brought == 1


@pytest.mark.asyncio
async def test_watches_are_woken_by_commands_and_by_the_end_of_their_session(
    readers: Executor,
) -> None:
    store: Any = FakeStore()
    connections, watches = ConnectedSessions(), CommandWatches()
    with watches.watch("here") as here, watches.watch("also") as also:
        store.give("here")
        seen = await bring_new_commands(store, connections, watches, readers, since=-1)
        assert await here.news(0)
        assert not await also.news(0)
        here.take()
        seen = await bring_new_commands(store, connections, watches, readers, since=seen)
        assert not await here.news(0)
        store.over = {"also"}
        store.give("elsewhere")
        await bring_new_commands(store, connections, watches, readers, since=seen)
        assert not await here.news(0)
        assert await also.news(0)
