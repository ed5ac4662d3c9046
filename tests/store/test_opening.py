"""Opening a store: success, and the messages on failure."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.store.builders import FakeClock, a_run, add_runs
from tests.store.conftest import sqlite_url
from tests.support.small_disks import make_read_only, small_disk

from flowspan_service.domain.runs import RunKind
from flowspan_service.stores import StoreOpenError, open_store, sqlite_path
from flowspan_service.stores.schema import SCHEMA_VERSION, metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flowspan_service.stores.store import SqlStore

NOBODY = 65534


@contextmanager
def not_root(folder: Path) -> Iterator[None]:
    """Run the block as an unprivileged user who owns the folder."""
    if os.geteuid() != 0:
        yield
        return
    for path in (folder, *folder.iterdir()):
        os.chown(path, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def opening(url: str) -> str:
    """Return the error of opening it."""
    with pytest.raises(StoreOpenError) as caught:
        open_store(url, clock=FakeClock())
    return str(caught.value)


@pytest.mark.parametrize("driver", ["postgresql", "postgres", "postgresql+psycopg"])
@pytest.mark.parametrize("password", ["GE@HEIM", "GE@@HEIM", "@HEIM", "HEIM@", "GE@HEIM@x:1"])
def test_a_password_that_is_not_encoded_is_not_shown(driver: str, password: str) -> None:
    told = opening(f"{driver}://u:{password}@127.0.0.1:1/x")
    assert "HEIM" not in told
    assert "127.0.0.1" in told or "percent-encoded" in told


@pytest.fixture(params=["sqlite", "postgresql"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a database without tables."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path)
    url: str = request.getfixturevalue("postgres_url")
    return url


def test_a_database_is_found_again(new_url: str, open_url: Callable[..., SqlStore]) -> None:
    run = a_run()
    first = open_url(new_url)
    add_runs(first, [run])
    first.close()
    again = open_url(new_url)
    assert again.runs.get(RunKind.FLOW, run.id) is not None
    assert again.schema_version() == SCHEMA_VERSION
    assert again.position() == 1


def test_a_path_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    open_store("sqlite:///here.db", clock=FakeClock()).close()
    assert (tmp_path / "here.db").exists()
    assert sqlite_path("sqlite:///here.db") == tmp_path / "here.db"
    assert sqlite_path("postgresql://host/name") is None


def test_a_path_may_have_any_characters(tmp_path: Path, open_url: Callable[..., SqlStore]) -> None:
    folder = tmp_path / "größe 100%? #1"
    folder.mkdir()
    store = open_url(f"sqlite:///{folder}/flow span.db")
    add_runs(store, [a_run()])
    assert (folder / "flow span.db").exists()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense", ["not a URL"]),
        ("mysql://host/name", ["mysql", "postgresql://"]),
        ("sqlite://", ["names no file"]),
        ("sqlite:///:memory:", ["names no file"]),
        ("sqlite://here.db", ["names no file"]),
        ("sqlite:////nowhere/to/be/found.db", ["/nowhere/to/be", "does not exist"]),
        ("postgresql://user:secret@host:port/x", ["not a URL"]),
    ],
)
def test_an_url_that_cannot_be_used_is_explained(url: str, words: list[str]) -> None:
    message = opening(url)
    assert all(word in message for word in words), message
    assert "secret" not in message


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "flowspan.db"
    file.write_text("dear diary" * 1000)
    assert "not a SQLite database" in opening(sqlite_url(tmp_path))
    assert file.read_text() == "dear diary" * 1000


def test_a_folder_is_not_a_database(tmp_path: Path) -> None:
    (tmp_path / "flowspan.db").mkdir()
    assert "is a folder" in opening(sqlite_url(tmp_path))


def test_the_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "flowspan.db") as connection:
        connection.execute("CREATE TABLE recipes (name)")
    connection.close()
    assert "recipes" in opening(sqlite_url(tmp_path))


def test_a_damaged_database_is_explained(tmp_path: Path) -> None:
    open_store(sqlite_url(tmp_path), clock=FakeClock()).close()
    file = tmp_path / "flowspan.db"
    content = bytearray(file.read_bytes())
    content[100:8192] = b"\xff" * (8192 - 100)
    file.write_bytes(content)
    assert "damaged" in opening(sqlite_url(tmp_path))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a disk")
def test_a_read_only_disk_is_explained(tmp_path: Path) -> None:
    with small_disk(tmp_path, size_kib=4096):
        open_store(sqlite_url(tmp_path), clock=FakeClock()).close()
        make_read_only(tmp_path)
        assert "read-only" in opening(sqlite_url(tmp_path))


def test_a_read_only_file_or_folder_is_explained() -> None:
    # Only root can enter pytest's own folders.
    with tempfile.TemporaryDirectory(prefix="flowspan-") as name:
        folder = Path(name)
        open_store(sqlite_url(folder), clock=FakeClock()).close()
        with not_root(folder):
            (folder / "flowspan.db").chmod(0o400)
            assert "read-only" in opening(sqlite_url(folder))
            (folder / "flowspan.db").chmod(0o600)
            folder.chmod(0o500)
            try:
                assert "read-only" in opening(sqlite_url(folder))
            finally:
                folder.chmod(0o700)


def test_an_old_sqlite_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 31, 1))
    assert "3.35" in opening(sqlite_url(tmp_path))


def test_a_database_of_a_newer_program_is_left_alone(
    store_url: str, open_url: Callable[..., SqlStore]
) -> None:
    store = open_url(store_url)
    with store._dialect.writing.connect() as connection:
        connection.exec_driver_sql("UPDATE schema_version SET version_num = '9999'")
    message = opening(store_url)
    assert "9999" in message
    assert SCHEMA_VERSION in message
    assert "pip install --upgrade" in message


def test_the_migrations_make_what_the_tables_say(
    new_url: str, open_url: Callable[..., SqlStore]
) -> None:
    from alembic.autogenerate import compare_metadata  # noqa: PLC0415 - slow to import
    from alembic.migration import MigrationContext  # noqa: PLC0415 - slow to import

    store = open_url(new_url)
    with store._dialect.writing.connect() as connection:
        options = {"compare_type": True, "version_table": "schema_version"}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


@pytest.mark.parametrize("is_new", [True, False])
def test_a_start_without_migration_loads_no_more_than_it_needs(
    tmp_path: Path, *, is_new: bool
) -> None:
    if not is_new:
        open_store(sqlite_url(tmp_path), clock=FakeClock()).close()
    program = (
        "import sys, time\n"
        "from flowspan_service.stores import open_store\n"
        "class Clock:\n"
        "    def now_us(self): return time.time_ns() // 1000\n"
        f"open_store({sqlite_url(tmp_path)!r}, clock=Clock()).close()\n"
        "unneeded = ('alembic', 'psycopg', 'sqlalchemy.dialects.postgresql')\n"
        "print([name for name in unneeded if name in sys.modules])\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_many_processes_may_start_over_one_new_postgresql(postgres_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(lambda _: open_store(postgres_url, clock=FakeClock()), range(4)))
    try:
        for store in stores:
            add_runs(store, [a_run()])
        assert stores[0].position() == 4
    finally:
        for store in stores:
            store.close()


def test_a_postgresql_that_is_not_there_is_explained(unused_port: int) -> None:
    message = opening(f"postgresql://user:secret@127.0.0.1:{unused_port}/name")
    assert "cannot be reached" in message
    assert "secret" not in message


def test_a_postgresql_database_that_is_not_there_is_explained(postgres_url: str) -> None:
    message = opening(f"{postgres_url.rpartition('/')[0]}/nowhere")
    assert "createdb nowhere" in message


def test_a_missing_psycopg_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.delitem(sys.modules, "flowspan_service.stores.dialects.postgresql", raising=False)
    assert "pip install 'flowspan[postgres]'" in opening("postgresql://127.0.0.1/name")


@pytest.fixture
def unused_port() -> int:
    import socket  # noqa: PLC0415 - used only here

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
