"""Database errors at run time: the store reports them, survives, and recovers."""

from __future__ import annotations

import gc
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from tests.store.builders import Gate, Op, a_log, a_run, add_runs, move
from tests.store.conftest import sqlite_url

from flowspan_service.app.ports.runs import RunFilter, RunQuery
from flowspan_service.domain.errors import StoreUnavailableError
from flowspan_service.domain.runs import RunKind
from flowspan_service.domain.states import StateType
from flowspan_service.stores.dialects.postgresql import PIPELINE_ROWS, PostgresqlDialect

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flowspan_service.app.ports import UnitOfWork
    from flowspan_service.stores.store import SqlStore


def refused(store: SqlStore) -> StoreUnavailableError:
    """Return the error that an operation gets while the trouble lasts."""
    error = store.submit(Op(lambda uow: uow.runs.add(a_run()))).exception(60)
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
    assert store.runs.get(RunKind.FLOW, run.id) is not None
    stranger.execute("ROLLBACK")
    move(store, run.id, StateType.RUNNING)
    assert store.position() == 2
    stranger.close()


def test_a_reader_never_waits_for_the_writer(
    tmp_path: Path, open_url: Callable[..., SqlStore]
) -> None:
    """Even without a busy timeout, reads and writes of one store never hit a lock."""
    store = open_url(sqlite_url(tmp_path), busy_timeout_s=0.0)
    futures = []
    for number in range(200):
        futures.append(store.submit(Op(lambda uow: uow.runs.add(a_run(tags=("red",))))))
        if number % 5 == 0:
            store.runs.list(RunQuery(RunKind.FLOW, RunFilter(tags=("red",))))
            store.transitions.changes(after=0, run_id=None, limit=1000)
    for future in futures:
        future.result(60)
    assert store.position() == 200


def test_a_full_disk_is_explained_and_outlived(
    tmp_path: Path, open_url: Callable[..., SqlStore]
) -> None:
    store = open_url(sqlite_url(tmp_path))
    run = a_run()
    add_runs(store, [run])
    # Forbid any growth: SQLite's own way to simulate a full disk.
    writer = store._dialect.writing
    with writer.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    big = [a_log(run, "x" * 200_000) for _ in range(5)]
    error = store.submit(Op(lambda uow: uow.logs.add(big))).exception(60)
    assert isinstance(error, StoreUnavailableError)
    assert "full" in str(error)
    # The limit went with the connection that was given up: there is space again.
    store.submit(Op(lambda uow: uow.logs.add(big))).result(60)
    move(store, run.id, StateType.RUNNING)
    assert [one.ordinal for one in store.transitions.of_run(run.id)] == [1, 2]


def test_a_broken_connection_is_replaced(store: SqlStore) -> None:
    run = a_run()
    add_runs(store, [run])
    connection = store._writer._connection
    assert connection is not None
    connection.connection.driver_connection.close()
    error = store.submit(Op(lambda uow: uow.runs.add(a_run()))).exception(60)
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

    def read(_: int) -> bool:
        found = store.runs.get(RunKind.FLOW, run.id)
        keys = store.runs.list_keys(RunQuery(RunKind.FLOW))
        return found is not None and [key.id for key in keys.items] == [run.id]

    with ThreadPoolExecutor(4) as readers:
        assert all(readers.map(read, range(32)))
    other = open_url(postgres_url)
    with other._dialect.writing.connect() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    with ThreadPoolExecutor(4) as readers:
        assert all(readers.map(read, range(32))), "only the writer may report a lost connection"
    assert "PostgreSQL" in str(refused(store))
    move(store, run.id, StateType.RUNNING)
    assert store.runs.get(RunKind.FLOW, run.id).position == 2  # type: ignore[union-attr] # it is there
    store.close()
    gc.collect()  # An unclosed connection is reported here and not in a later test.


@pytest.mark.parametrize("count", [3, PIPELINE_ROWS + 1], ids=["pipelined", "copied"])
def test_a_statement_that_fails_spoils_no_operation_but_its_own(
    count: int, store: SqlStore
) -> None:
    """In a pipeline, the error only appears at the end, after more statements were sent."""
    taken = a_run()
    add_runs(store, [taken])
    gate = Gate(store)
    before, after = a_run(), [a_run() for _ in range(count)]

    def add_all(uow: UnitOfWork) -> None:
        for run in after:
            uow.runs.add(run)

    good = store.submit(Op(lambda uow: uow.runs.add(before)))
    bad = store.submit(Op(lambda uow: uow.runs.add(a_run(id=taken.id))))
    also_good = store.submit(Op(add_all))
    gate.open()
    error = bad.exception(60)
    assert error is not None
    assert not isinstance(error, StoreUnavailableError), "it would be retried forever"
    good.result(60)
    also_good.result(60)
    for run in (before, *after[:3]):
        move(store, run.id, StateType.RUNNING)
        assert [each.ordinal for each in store.transitions.of_run(run.id)] == [1, 2]
    assert store.runs.count(RunKind.FLOW, RunFilter()) == {
        StateType.PENDING: 1 + count - 3,
        StateType.RUNNING: 4,
    }


@pytest.mark.parametrize("count", [3, PIPELINE_ROWS + 1], ids=["pipelined", "copied"])
def test_a_connection_that_is_lost_between_statements_is_outlived(
    count: int, postgres_url: str, open_url: Callable[..., SqlStore]
) -> None:
    store = open_url(postgres_url)
    run = a_run()
    add_runs(store, [run])

    def lose(uow: UnitOfWork) -> None:
        for _ in range(count):
            uow.runs.add(a_run())
        with open_url(postgres_url)._dialect.reading.connect() as other:
            other.exec_driver_sql(
                "SELECT pg_terminate_backend(pid, 60000) FROM pg_locks"
                " WHERE relation = 'head'::regclass AND mode = 'RowShareLock'"
            )

    error = store.submit(Op(lose)).exception(60)
    assert isinstance(error, StoreUnavailableError), repr(error)
    assert "PostgreSQL" in str(error)
    move(store, run.id, StateType.RUNNING)
    assert store.runs.count(RunKind.FLOW, RunFilter()) == {StateType.RUNNING: 1}


def test_long_logs_are_not_held_in_memory_twice(
    postgres_url: str, open_url: Callable[..., SqlStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipeline buffers its statements; even a few logs can be large."""
    counted: list[int] = []
    together = PostgresqlDialect.together

    def count(self: PostgresqlDialect, connection: Any, *, row_count: int) -> Any:
        counted.append(row_count)
        return together(self, connection, row_count=row_count)

    store = open_url(postgres_url)
    run = a_run()
    add_runs(store, [run])
    monkeypatch.setattr(PostgresqlDialect, "together", count)
    logs = [a_log(run, "x" * 250_000) for _ in range(40)]
    store.submit(Op(lambda uow: uow.logs.add(logs))).result(60)
    store.submit(Op(lambda uow: uow.logs.add([a_log(run)] * 40))).result(60)
    assert counted[0] > PIPELINE_ROWS
    assert counted[1] == 40


def test_reads_of_a_database_that_is_gone_are_explained(
    tmp_path: Path, open_url: Callable[..., SqlStore]
) -> None:
    store = open_url(sqlite_url(tmp_path))
    store._dialect.reading.dispose()
    for file in tmp_path.iterdir():
        file.rename(file.with_name(f"moved-{file.name}"))
    (tmp_path / "flowspan.db").mkdir()
    with pytest.raises(StoreUnavailableError, match="was replaced by another file"):
        store.position()
