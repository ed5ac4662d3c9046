"""Each test of the store that asks for one runs over SQLite and over a real PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.store.builders import FakeClock
from tests.support.postgres import postgres_server, postgres_url

from flowspan_service.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flowspan_service.stores.store import SqlStore

__all__ = ["postgres_server", "postgres_url"]


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of the test's own."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path)
    url: str = request.getfixturevalue("postgres_url")
    return url


def sqlite_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'flowspan.db'}"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def open_url(clock: FakeClock) -> Iterator[Callable[..., SqlStore]]:
    """Opens stores that are closed with the test."""
    stores: list[SqlStore] = []

    def open_one(url: str, **options: Any) -> SqlStore:
        store = open_store(url, clock=clock, **options)
        stores.append(store)
        return store

    yield open_one
    for store in stores:
        store.close()


@pytest.fixture
def store(store_url: str, open_url: Callable[..., SqlStore]) -> SqlStore:
    """An empty store."""
    return open_url(store_url)
