"""Store fixtures: each test that uses them runs on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
from tests.store.builders import FakeClock
from tests.support.postgres import postgres_server, postgres_url

from flowspan_service.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.postgres import PostgresServer

    from flowspan_service.stores.store import SqlStore

__all__ = ["postgres_server", "postgres_url"]


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a SQLite database with all tables, to copy: migrating takes longer than most tests."""
    folder = tmp_path_factory.mktemp("migrated")
    open_store(sqlite_url(folder), clock=FakeClock()).close()
    return folder / "flowspan.db"


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: PostgresServer) -> Iterator[str]:
    """Yield the URL of a PostgreSQL database with all tables, as a template."""
    with postgres_server.new_database() as url:
        open_store(url, clock=FakeClock()).close()
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Yield the URL of an empty database for this test."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_sqlite"), tmp_path)
        yield sqlite_url(tmp_path)
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    template = request.getfixturevalue("migrated_postgres")
    with server.new_database(template=template) as url:
        yield url


def sqlite_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'flowspan.db'}"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def open_url(clock: FakeClock) -> Iterator[Callable[..., SqlStore]]:
    """Open stores that are closed at the end of the test."""
    stores: list[SqlStore] = []

    def open_one(url: str, **options: Any) -> SqlStore:
        store = open_store(url, **{"clock": clock} | options)
        stores.append(store)
        return store

    yield open_one
    for store in stores:
        store.close()


@pytest.fixture
def store(store_url: str, open_url: Callable[..., SqlStore]) -> SqlStore:
    """Return an empty store."""
    return open_url(store_url)
