"""The service's messages when it cannot start: the cause and the remedy, never a traceback."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import grpc
import pytest
from tests.support.report_client import ReportStream, new_id, whole_run
from tests.support.run_queries import count_flow_runs
from tests.support.small_disks import small_disk

from flowspan.v1 import state_pb2
from flowspan_service.process.clock import SystemClock
from flowspan_service.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.service import ServiceProcess

TIMEOUT_S = 60.0
EXIT_FLAG = 2
EXIT_LOCKED = 3
EXIT_ADDRESS = 4
EXIT_DATABASE = 5


def start_in_vain(home: Path, *arguments: str) -> tuple[int, str]:
    """Start a service that fails; return its exit code and its error output."""
    command = [sys.executable, "-m", "flowspan_service", "--home", str(home), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env=os.environ
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stderr


def test_port_in_use(flowspan_home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, complaint = start_in_vain(flowspan_home, "--port", str(port))
    assert code == EXIT_ADDRESS
    assert str(port) in complaint
    assert "--port" in complaint


def test_http_port_in_use(flowspan_home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, complaint = start_in_vain(flowspan_home, "--port", "0", "--http-port", port)
    assert code == EXIT_ADDRESS
    assert port in complaint
    assert "--http-port" in complaint


def test_port_that_is_none(flowspan_home: Path) -> None:
    code, complaint = start_in_vain(flowspan_home, "--port", "70000")
    assert code == EXIT_FLAG
    assert "70000" in complaint


def test_folder_that_another_service_uses(service: ServiceProcess) -> None:
    code, complaint = start_in_vain(service.home, "--port", "0")
    assert code == EXIT_LOCKED
    assert str(service.pid) in complaint
    assert service.address in complaint
    assert service.is_running


def test_folder_that_cannot_be_made(flowspan_home: Path) -> None:
    flowspan_home.mkdir()
    obstacle = flowspan_home / "file"
    obstacle.write_text("not a folder")
    code, complaint = start_in_vain(obstacle / "home", "--port", "0")
    assert code == EXIT_DATABASE
    assert str(obstacle / "home") in complaint
    assert "FLOWSPAN_HOME" in complaint


def test_folder_that_cannot_be_written(flowspan_home: Path) -> None:
    flowspan_home.mkdir()
    if os.geteuid() == 0:  # Root can write everywhere except on a read-only mount.
        with small_disk(flowspan_home, read_only=True):
            code, complaint = start_in_vain(flowspan_home, "--port", "0")
    else:
        flowspan_home.chmod(0o500)
        code, complaint = start_in_vain(flowspan_home, "--port", "0")
        flowspan_home.chmod(0o700)
    assert code == EXIT_DATABASE
    assert str(flowspan_home) in complaint
    assert "--db" in complaint


def test_database_of_a_newer_program(start_service: Callable[..., ServiceProcess]) -> None:
    service = start_service(check_history=False)
    assert service.stop() == 0
    with sqlite3.connect(service.db_path) as connection:
        connection.execute("UPDATE schema_version SET version_num = '9999'")
    connection.close()
    before = service.db_path.read_bytes()
    code, complaint = start_in_vain(service.home, "--port", "0")
    assert code == EXIT_DATABASE
    assert "9999" in complaint
    assert "newer" in complaint
    assert service.db_path.read_bytes() == before


def test_database_that_is_none(flowspan_home: Path) -> None:
    flowspan_home.mkdir()
    path = flowspan_home / "flowspan.db"
    path.write_text("Dear diary, today I became a database. " * 200)
    code, complaint = start_in_vain(flowspan_home, "--port", "0")
    assert code == EXIT_DATABASE
    assert str(path) in complaint
    assert path.read_text().startswith("Dear diary")


def test_database_url_of_an_unknown_kind(flowspan_home: Path) -> None:
    code, complaint = start_in_vain(flowspan_home, "--port", "0", "--db", "oracle://somewhere/db")
    assert code == EXIT_DATABASE
    assert "oracle" in complaint
    assert "postgresql://" in complaint


def test_database_server_that_is_not_there(flowspan_home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"postgresql://nobody:secret@127.0.0.1:{port}/flowspan"
    code, complaint = start_in_vain(flowspan_home, "--port", "0", "--db", url)
    assert code == EXIT_DATABASE
    assert str(port) in complaint
    assert "secret" not in complaint


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
@pytest.mark.parametrize("is_new", [True, False], ids=["new", "with-a-database"])
def test_full_disk_at_the_start(flowspan_home: Path, *, is_new: bool) -> None:
    flowspan_home.mkdir()
    with small_disk(flowspan_home, size_kib=1_000):
        if not is_new:
            open_store(f"sqlite:///{flowspan_home}/flowspan.db", clock=SystemClock()).close()
        fill(flowspan_home / "ballast")
        code, complaint = start_in_vain(flowspan_home, "--port", "0")
    assert code == EXIT_DATABASE
    assert "full" in complaint
    assert str(flowspan_home) in complaint


def test_database_that_another_program_has_locked(
    start_service: Callable[..., ServiceProcess],
) -> None:
    service = start_service(check_history=False)
    assert service.stop() == 0
    stranger = sqlite3.connect(service.db_path, isolation_level=None)
    stranger.execute("BEGIN EXCLUSIVE")
    code, complaint = start_in_vain(service.home, "--port", "0")
    stranger.close()
    assert code == EXIT_DATABASE
    assert "locked by another program" in complaint
    assert str(service.db_path) in complaint


@pytest.mark.slow
def test_full_disk_loses_nothing(
    start_service: Callable[..., ServiceProcess], flowspan_home: Path
) -> None:
    """While the disk is full, nothing is acked; with space again, the stream continues."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    home = flowspan_home.parent / "disk"
    home.mkdir()
    events = [event for _ in range(3_000) for event in whole_run(new_id(), run_name="x" * 200)]
    first = 300
    with small_disk(home, size_kib=8_000):
        ballast = home / "ballast"
        service = start_service(home=home)
        stream = ReportStream(service.channel)
        stream.wait_for_ack(stream.report(*events[:first]))
        fill(ballast)
        stream.report(*events[first:])
        with pytest.raises(grpc.RpcError) as caught:
            stream.wait_for_ack(len(events))
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert "full" in caught.value.details()
        assert str(home) in caught.value.details()
        ballast.unlink()
        again = ReportStream(service.channel, session_id=stream.session_id)
        resumed = again.welcome.resume_after
        assert resumed >= stream.acked >= first
        again.report(*events[resumed:])
        again.wait_for_ack(len(events))
        again.goodbye()
        service.check_histories()
        assert count_flow_runs(service.channel) == {state_pb2.STATE_TYPE_COMPLETED: 3_000}
        service.check_history = False  # Its disk is unmounted now.
        service.end()


def fill(path: Path) -> None:
    """Fill the disk of the path to the last block."""
    with path.open("wb", buffering=0) as file:
        for block in (1 << 16, 1 << 12, 1):
            while True:
                try:
                    if file.write(b"\0" * block) < block:
                        break
                except OSError:
                    break
