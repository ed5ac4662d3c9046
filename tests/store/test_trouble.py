"""A database that makes trouble while the service runs: it says so, survives, and goes on."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest
from tests.store.builders import Op, a_log, a_run, add_runs, move
from tests.store.conftest import sqlite_url

from flowspan_service.app.queries import RunFilter, RunQuery
from flowspan_service.domain.errors import StoreUnavailableError
from flowspan_service.domain.runs import RunKind
from flowspan_service.domain.states import StateType

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flowspan_service.stores.store import SqlStore


def refused(store: SqlStore) -> StoreUnavailableError:
    """What an operation gets while the trouble lasts."""
    error = store.submit(Op(lambda uow: uow.add_run(a_run()))).exception(60)
    assert isinstance(error, StoreUnavailableError), error
    return error


def test_a_lock_held_by_a_stranger_is_explained_and_outlived(
    tmp_path: Path, open_url: Callable[..., SqlStore]
) -> None:
    store = open_url(sqlite_url(tmp_path), busy_timeout_s=0.05)
    run = a_run()
    add_runs(store, [run])
    stranger = sqlite3.connect(tmp_path / "flowspan.db", isolation_level=None)
    stranger.execute("BEGIN IMMEDIATE")
    assert "another program" in str(refused(store))
    assert store.get_run(RunKind.FLOW, run.id) is not None
    stranger.execute("ROLLBACK")
    move(store, run.id, StateType.RUNNING)
    assert store.position() == 2
    stranger.close()


def test_a_reader_never_waits_for_the_writer(
    tmp_path: Path, open_url: Callable[..., SqlStore]
) -> None:
    """With no patience at all, reads and writes of one store still never meet a lock."""
    store = open_url(sqlite_url(tmp_path), busy_timeout_s=0.0)
    futures = []
    for number in range(200):
        futures.append(store.submit(Op(lambda uow: uow.add_run(a_run(tags=("red",))))))
        if number % 5 == 0:
            store.list_runs(RunQuery(RunKind.FLOW, RunFilter(tags=("red",))))
            store.changes(after=0, run_id=None, limit=1000)
    for future in futures:
        future.result(60)
    assert store.position() == 200


def test_a_full_disk_is_explained_and_outlived(
    tmp_path: Path, open_url: Callable[..., SqlStore]
) -> None:
    store = open_url(sqlite_url(tmp_path))
    run = a_run()
    add_runs(store, [run])
    # As large as it is, it may become no larger: SQLite's own way to be full.
    writer = store._dialect.writing
    with writer.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    big = [a_log(run, "x" * 200_000) for _ in range(5)]
    error = store.submit(Op(lambda uow: uow.add_logs(big))).exception(60)
    assert isinstance(error, StoreUnavailableError)
    assert "full" in str(error)
    # The limit went with the connection that was given up: there is space again.
    store.submit(Op(lambda uow: uow.add_logs(big))).result(60)
    move(store, run.id, StateType.RUNNING)
    assert [one.ordinal for one in store.transitions(run.id)] == [1, 2]


def test_a_broken_connection_is_replaced(store: SqlStore) -> None:
    run = a_run()
    add_runs(store, [run])
    connection = store._writer._connection
    assert connection is not None
    connection.connection.driver_connection.close()
    error = store.submit(Op(lambda uow: uow.add_run(a_run()))).exception(60)
    assert error is not None
    move(store, run.id, StateType.RUNNING)
    assert store.position() == 2


def test_an_administrator_who_ends_the_connections_is_outlived(
    postgres_url: str, open_url: Callable[..., SqlStore]
) -> None:
    store = open_url(postgres_url)
    run = a_run()
    add_runs(store, [run])
    assert store.position() == 1
    other = open_url(postgres_url)
    with other._dialect.writing.connect() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert "PostgreSQL" in str(refused(store))
    move(store, run.id, StateType.RUNNING)
    assert store.get_run(RunKind.FLOW, run.id).position == 2  # type: ignore[union-attr] # it is there


def test_reads_of_a_database_that_is_gone_are_explained(
    tmp_path: Path, open_url: Callable[..., SqlStore]
) -> None:
    store = open_url(sqlite_url(tmp_path))
    store._dialect.reading.dispose()
    for file in tmp_path.iterdir():
        file.rename(file.with_name(f"moved-{file.name}"))
    (tmp_path / "flowspan.db").mkdir()
    with pytest.raises(StoreUnavailableError, match="cannot be opened"):
        store.position()
