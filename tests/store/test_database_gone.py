"""The database is deleted, replaced or restored under a running store: no write is lost."""

from __future__ import annotations

import shutil
import sqlite3
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine
from tests.store.builders import FakeClock, Op, a_run, add_runs, new_id
from tests.store.conftest import sqlite_url

from flowspan_service.domain.errors import StoreUnavailableError
from flowspan_service.domain.runs import RunKind
from flowspan_service.stores import open_store
from flowspan_service.stores.engine import writer
from flowspan_service.stores.schema import identity

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flowspan_service.stores.store import SqlStore


@pytest.fixture
def path(tmp_path: Path, migrated_sqlite: Path) -> Path:
    shutil.copy(migrated_sqlite, tmp_path)
    return tmp_path / "flowspan.db"


@pytest.fixture
def store(path: Path, open_url: Callable[..., SqlStore]) -> SqlStore:
    store = open_url(sqlite_url(path.parent))
    add_runs(store, [a_run()])
    return store


def refused(store: SqlStore) -> str:
    """Return the message of the error that an operation gets."""
    error = store.submit(Op(lambda uow: uow.runs.add(a_run()))).exception(60)
    assert isinstance(error, StoreUnavailableError), error
    return str(error)


def unreadable(store: SqlStore) -> str:
    with pytest.raises(StoreUnavailableError) as caught:
        store.position()
    return str(caught.value)


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
def test_a_file_that_was_deleted_is_noticed_and_not_made_anew(
    store: SqlStore, path: Path, suffix: str
) -> None:
    file = path.with_name(path.name + suffix)
    file.unlink()
    assert f"{file} was deleted" in refused(store)
    assert f"{file} was deleted" in unreadable(store)
    assert f"{file} was deleted" in str(store.problem())
    assert f"{file} was deleted" in refused(store), "it stays so"
    assert not file.exists()


def test_it_is_noticed_without_anything_being_written(store: SqlStore, path: Path) -> None:
    assert store.problem() is None
    path.unlink()
    assert "was deleted" in str(store.problem())
    assert "was deleted" in str(store.gone)
    assert "was deleted" in unreadable(store)


def test_reads_do_not_make_it_anew_either(store: SqlStore, path: Path) -> None:
    store._dialect.reading.dispose()
    path.unlink()
    assert "was deleted" in unreadable(store)
    assert not path.exists()


def test_a_database_that_comes_back_is_used_again(store: SqlStore, path: Path) -> None:
    elsewhere = path.with_name("elsewhere")
    path.rename(elsewhere)
    refused(store)
    assert store.problem() is not None
    elsewhere.rename(path)
    assert store.problem() is None
    add_runs(store, [a_run()])
    assert store.position() == 2


def test_a_database_that_was_replaced_is_not_used(
    store: SqlStore, path: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    open_store(sqlite_url(other), clock=FakeClock()).close()
    (other / "flowspan.db").replace(path)
    assert "was replaced by another file" in refused(store)
    assert "was replaced by another file" in str(store.problem())
    alone = sqlite3.connect(shutil.copy(path, other))  # This drops the old database's log.
    assert alone.execute("SELECT count(*) FROM run").fetchone() == (0,)
    alone.close()


def test_a_database_that_was_overwritten_is_not_used(
    path: Path, tmp_path: Path, open_url: Callable[..., SqlStore]
) -> None:
    store = open_url(sqlite_url(path.parent))
    other = tmp_path / "other"
    other.mkdir()
    open_store(sqlite_url(other), clock=FakeClock()).close()
    shutil.copyfile(other / "flowspan.db", path)
    assert "was overwritten by another database" in str(store.problem())
    assert "was overwritten by another database" in refused(store)


def test_what_was_acked_survives_the_loss_of_the_log(
    store: SqlStore, path: Path, tmp_path: Path
) -> None:
    run = a_run()
    add_runs(store, [run])
    path.with_name("flowspan.db-wal").unlink()
    assert store.problem() is not None
    copied = tmp_path / "copied"
    copied.mkdir()
    shutil.copy(path, copied)  # As a killed service would leave it.
    later = open_store(sqlite_url(copied), clock=FakeClock())
    assert later.runs.get(RunKind.FLOW, run.id) is not None
    later.close()


def test_a_commit_into_a_file_that_was_just_deleted_is_not_acked(
    path: Path, open_url: Callable[..., SqlStore]
) -> None:
    def delete(point: str) -> None:
        if point == writer.BEFORE_COMMIT:
            path.unlink()

    store = open_url(sqlite_url(path.parent), on_point=delete)
    assert "was deleted" in refused(store)


def test_a_backup_restored_under_the_service_is_noticed(
    store_url: str, open_url: Callable[..., SqlStore]
) -> None:
    store = open_url(store_url)
    for _ in range(3):
        add_runs(store, [a_run()])
    other = open_url(store_url)
    with other._dialect.writing.connect() as connection:
        connection.exec_driver_sql("UPDATE head SET generation = 1, position = 1")
    assert "a backup was restored" in refused(store)
    assert "a backup was restored" in str(store.problem())


# PostgreSQL


def administered(url: str, *statements: str) -> None:
    driver = url.replace("postgresql://", "postgresql+psycopg://")
    engine = create_engine(driver, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def test_a_database_that_was_created_anew_is_not_used(
    postgres_url: str, open_url: Callable[..., SqlStore]
) -> None:
    store = open_url(postgres_url)
    add_runs(store, [a_run()])
    base, _, name = postgres_url.rpartition("/")
    name = name.partition("?")[0]
    administered(
        f"{base}/postgres{postgres_url.partition('?')[1]}{postgres_url.partition('?')[2]}",
        f'DROP DATABASE "{name}" WITH (FORCE)',
        f'CREATE DATABASE "{name}"',
    )
    refused(store)  # The connection was closed.
    assert "another database" in refused(store)
    assert "another database" in str(store.problem())
    assert "another database" in unreadable(store)


def test_another_database_at_the_address_is_not_used(
    postgres_url: str, open_url: Callable[..., SqlStore]
) -> None:
    store = open_url(postgres_url)
    add_runs(store, [a_run()])
    with store._dialect.writing.connect() as other:
        other.execute(identity.update().values(database_id=new_id()))
        assert "another database" in refused(store)
        assert "another database" in str(store.problem())
        other.execute(identity.update().values(database_id=store.identity.database_id))
    assert store.problem() is None
    add_runs(store, [a_run()])
    assert store.position() == 2
