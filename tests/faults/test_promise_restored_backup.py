"""A backup is restored: who watched begins again with a snapshot, and is told so."""

from __future__ import annotations

import logging
import shutil
import threading
from typing import TYPE_CHECKING

import pytest
from tests.support.reporting import ReportStream, created, entered, new_id

from flowspan.api.models import Change, RunSnapshot, SnapshotEnd
from flowspan.client import SyncFlowspanClient

if TYPE_CHECKING:
    import pytest
    from tests.support.service import ServiceProcess


def test_promise_a_watch_begins_again_over_a_restored_database(
    service: ServiceProcess, caplog: pytest.LogCaptureFixture
) -> None:
    run_id = new_id()
    stream = ReportStream(service.channel)
    stream.wait_for_ack(stream.report(created(run_id)))
    stream.break_off()
    service.stop()
    backup = shutil.copy(service.db_path, service.home / "backup.db")
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
    shutil.copy(backup, service.db_path)
    service.start()
    stream = ReportStream(service.channel)
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
    assert "the watch begins again with a snapshot" in caplog.text
