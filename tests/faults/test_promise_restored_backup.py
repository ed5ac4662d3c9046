"""After a restored backup, watchers are told to start over with a snapshot."""

from __future__ import annotations

import logging
import shutil
import threading
from typing import TYPE_CHECKING

import pytest
from tests.support.postgres import db, postgres_server, postgres_url
from tests.support.report_client import ReportStream, created, entered, new_id

from flowspan.api.models import Change, RunSnapshot, SnapshotEnd
from flowspan.client import SyncFlowspanClient

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.postgres import PostgresServer
    from tests.support.service import ServiceProcess

__all__ = ["db", "postgres_server", "postgres_url"]


class SqliteBackup:
    """A copy of a stopped service's database file."""

    def __init__(self, service: ServiceProcess) -> None:
        self._path = service.db_path
        self._copy = service.home / "backup.db"

    def make(self) -> None:
        shutil.copy(self._path, self._copy)

    def restore(self) -> None:
        shutil.copy(self._copy, self._path)


class PostgresqlBackup:
    """A copy of a stopped service's database."""

    def __init__(self, server: PostgresServer, url: str) -> None:
        self._server = server
        self._name = url.rpartition("/")[2]

    def make(self) -> None:
        self._copy(self._name, f"{self._name}_backup")

    def restore(self) -> None:
        self._server.execute(f"DROP DATABASE {self._name} WITH (FORCE)")
        self._copy(f"{self._name}_backup", self._name)
        self._server.execute(f"DROP DATABASE {self._name}_backup WITH (FORCE)")

    def _copy(self, name: str, to: str) -> None:
        self._server.execute(f"CREATE DATABASE {to} TEMPLATE {name}")


@pytest.fixture
def backed_up(
    request: pytest.FixtureRequest,
    db: str | None,
    start_service: Callable[..., ServiceProcess],
) -> tuple[ServiceProcess, SqliteBackup | PostgresqlBackup]:
    """Return a service, and the backup of its database."""
    service = start_service(db=db)
    if db is None:
        return service, SqliteBackup(service)
    return service, PostgresqlBackup(request.getfixturevalue("postgres_server"), db)


@pytest.mark.slow
def test_promise_a_watch_begins_again_over_a_restored_database(
    backed_up: tuple[ServiceProcess, SqliteBackup | PostgresqlBackup],
    caplog: pytest.LogCaptureFixture,
) -> None:
    service, backup = backed_up
    run_id = new_id()
    stream = ReportStream(service.channel)
    stream.wait_for_ack(stream.report(created(run_id)))
    stream.break_off()
    service.stop()
    backup.make()
    service.start()

    items: list[object] = []
    seen = threading.Semaphore(0)

    def watch() -> None:
        with SyncFlowspanClient(service.address) as client:
            for item in client.watch(run_id):
                items.append(item)
                seen.release()

    def wait_for(count: int) -> None:
        for _ in range(count):
            assert seen.acquire(timeout=60)

    caplog.set_level(logging.WARNING, logger="flowspan.client")
    watching = threading.Thread(target=watch)
    watching.start()
    wait_for(2)
    stream = ReportStream(service.channel, session_id=stream.session_id)
    stream.report(*(entered(run_id, "RUNNING", name=f"Step {number}") for number in range(3)))
    wait_for(3)
    stream.break_off()

    service.stop()
    backup.restore()
    service.start()
    stream = ReportStream(service.channel, session_id=stream.session_id)
    wait_for(2)
    stream.report(entered(run_id, "RUNNING"), entered(run_id, "COMPLETED"))
    stream.goodbye()
    watching.join(60)
    assert not watching.is_alive()

    kinds = [type(item) for item in items]
    assert kinds == [
        RunSnapshot,
        SnapshotEnd,
        *[Change] * 3,
        RunSnapshot,
        SnapshotEnd,
        *[Change] * 2,
    ]
    again = items[5]
    assert isinstance(again, RunSnapshot)
    assert again.run.state.name == "Pending"
    assert "restarting the watch with a snapshot" in caplog.text
