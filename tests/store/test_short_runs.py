"""Short runs, reported as one event or as three, through each database."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from tests.store.builders import new_id
from tests.store.conftest import sqlite_url
from tests.support.short_run_stories import Story, Telling, a_short_run

from flowspan_service.app.event_records import run_ids_of
from flowspan_service.app.reports import ApplyReport
from flowspan_service.app.sessions import OpenSession
from flowspan_service.domain.states import StateType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.postgres import PostgresServer

    from flowspan_service.stores.store import SqlStore


@pytest.fixture
def other_store(
    store: SqlStore,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    open_url: Callable[..., SqlStore],
) -> Iterator[SqlStore]:
    """Yield another empty store on a database of the same kind."""
    if store.is_local:
        folder = tmp_path / "other"
        folder.mkdir()
        shutil.copy(request.getfixturevalue("migrated_sqlite"), folder)
        yield open_url(sqlite_url(folder))
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    with server.new_database(template=request.getfixturevalue("migrated_postgres")) as url:
        other = open_url(url)
        yield other
        other.close()


@pytest.mark.parametrize("seed", range(2))
def test_a_random_story_ends_as_if_told_in_single_events(
    store: SqlStore, other_store: SqlStore, seed: int
) -> None:
    story = Story.invented(1000 + seed, runs=20, steps=80)
    apart = Telling(other_store, joined=False).tell(story)
    assert Telling(store, joined=True).tell(story) == apart
    assert len(apart["watched"]) > 30


def test_a_large_batch_of_short_runs_is_stored_whole(store: SqlStore) -> None:
    session_id = new_id()
    store.submit(OpenSession(session_id, client={}, lease_us=30_000_000)).result(60)
    flow_run_id = new_id()
    events = [a_short_run(new_id(), parent_id=flow_run_id) for _ in range(2000)]
    report = ApplyReport(session_id, first_sequence=1, events=events, run_ids=run_ids_of(events))
    applied = store.submit(report).result(60)
    assert (applied.up_to_sequence, applied.transition_count, applied.verdicts) == (6000, 6000, [])
    assert store.position() == 6000
    for run_id, _ in events[::499]:
        types = [each.state.type for each in store.transitions.of_run(run_id)]
        assert types == [StateType.PENDING, StateType.RUNNING, StateType.COMPLETED]
