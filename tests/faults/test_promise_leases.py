"""Promise 5 under stalls, clock steps and clock differences.

No living process is declared dead, and dead ones are still detected.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from typing import TYPE_CHECKING

import grpc
import pytest
from tests.support.clocks import WallClock
from tests.support.postgres import db, postgres_server, postgres_url
from tests.support.report_client import ReportStream, created, entered, new_id
from tests.support.run_queries import flow_history, wait_until

from flowspan.v1 import report_pb2, report_service_pb2, report_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from google.protobuf.duration_pb2 import Duration
    from tests.support.service import ServiceProcess

__all__ = ["db", "postgres_server", "postgres_url"]

HOUR_S = 3600.0
ALIVE = ["Pending", "Running"]
DEAD = ["Pending", "Running", "Crashed"]


class _Session:
    """A session with one open run.

    Attributes:
        run_id: The id of the run.
    """

    def __init__(self, service: ServiceProcess) -> None:
        self.run_id = new_id()
        self._service = service
        self._began = [created(self.run_id), entered(self.run_id, "RUNNING")]

    def history(self) -> list[str]:
        return flow_history(self._service.channel, self.run_id)

    def beat(self) -> None:
        """Send a sign of life."""
        raise NotImplementedError


class Streaming(_Session):
    """A session over a stream."""

    def __init__(self, service: ServiceProcess, lease: Duration | None = None) -> None:
        super().__init__(service)
        self._lease = lease
        self._stream = self._connect(None)
        self._stream.wait_for_ack(self._stream.report(*self._began))

    def beat(self) -> None:
        if self._stream.call.is_active():
            self._stream.send(heartbeat=report_pb2.Heartbeat())
        else:
            with contextlib.suppress(grpc.RpcError):
                self._stream = self._connect(self._stream.session_id)

    def die(self) -> None:
        self._stream.break_off()

    def _connect(self, session_id: str | None) -> ReportStream:
        hello = {} if self._lease is None else {"lease": self._lease}
        return ReportStream(self._service.channel, session_id=session_id, **hello)


class Calling(_Session):
    """A session over ReportBatch calls."""

    def __init__(self, service: ServiceProcess, lease: Duration | None = None) -> None:
        super().__init__(service)
        self._stub = report_service_pb2_grpc.ReportServiceStub(service.channel)
        self._hello = report_pb2.Hello(session_id=new_id(), lease=lease)
        batch = report_pb2.Batch(first_sequence=1, events=self._began)
        self._report(report_service_pb2.ReportBatchRequest(hello=self._hello, batch=batch))

    def beat(self) -> None:
        with contextlib.suppress(grpc.RpcError):
            self._report(report_service_pb2.ReportBatchRequest(hello=self._hello))

    def _report(self, request: report_service_pb2.ReportBatchRequest) -> None:
        self._stub.ReportBatch(request, wait_for_ready=True)


@contextlib.contextmanager
def beating(sessions: list[_Session], *, every_s: float) -> Iterator[None]:
    """Send signs of life for each session, even if answers take long."""
    stopped = threading.Event()

    def beat(session: _Session) -> None:
        while not stopped.wait(every_s):
            session.beat()

    threads = [threading.Thread(target=beat, args=(each,)) for each in sessions]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


@contextlib.contextmanager
def held_database(service: ServiceProcess, url: str | None) -> Iterator[None]:
    """Block all other writes to the database, so that the service's writer stalls."""
    if url is None:
        with contextlib.closing(sqlite3.connect(service.db_path, isolation_level=None)) as holder:
            holder.execute("PRAGMA busy_timeout = 30000")
            holder.execute("BEGIN IMMEDIATE")
            yield
            holder.execute("ROLLBACK")
        return
    import psycopg  # noqa: PLC0415 - an optional dependency

    with psycopg.connect(url) as connection:
        connection.execute("SELECT * FROM head FOR UPDATE")
        yield
        connection.rollback()


@pytest.mark.slow
@pytest.mark.parametrize("stall_s", [4.6, 12.0])
def test_promise_stall_of_the_store_kills_nobody(
    db: str | None, start_service: Callable[..., ServiceProcess], stall_s: float
) -> None:
    service = start_service(lease_s=3.0, grace_s=3.0, db=db)
    sessions = [Streaming(service), Calling(service)]
    dead = Calling(service)
    with beating(sessions, every_s=1.0):
        for stall in (stall_s, 1.9):
            with held_database(service, db):
                time.sleep(stall)
            time.sleep(0.7)
        wait_until(lambda: dead.history() == DEAD, "the run of the dead session to be Crashed")
        assert [each.history() for each in sessions] == [ALIVE, ALIVE]


@pytest.mark.slow
def test_promise_pause_of_the_service_kills_nobody(
    db: str | None, start_service: Callable[..., ServiceProcess]
) -> None:
    service = start_service(lease_s=2.0, grace_s=2.0, db=db)
    sessions = [Streaming(service), Calling(service)]
    dead = Streaming(service)
    with beating(sessions, every_s=0.6):
        dead.die()
        for pause_s in (5.0, 1.5, 2.5):
            service.pause()
            time.sleep(pause_s)
            service.go_on()
            time.sleep(0.3)
        wait_until(lambda: dead.history() == DEAD, "the run of the dead session to be Crashed")
        assert [each.history() for each in sessions] == [ALIVE, ALIVE]


@pytest.mark.slow
@pytest.mark.parametrize("hours", [-5, 5])
def test_promise_step_of_the_clock_kills_nobody_and_hides_nobody(
    start_service: Callable[..., ServiceProcess], tmp_path: Path, hours: int
) -> None:
    clock = WallClock(tmp_path / "clock")
    service = start_service(lease_s=2.0, grace_s=1.0, env=clock.env)
    sessions = [Streaming(service), Calling(service)]
    silent, broken = Calling(service), Streaming(service)
    with beating(sessions, every_s=0.6):
        broken.die()
        time.sleep(0.3)
        clock.set(hours * HOUR_S)
        for each in (broken, silent):
            wait_until(lambda each=each: each.history() == DEAD, "the dead session to be detected")
        assert [each.history() for each in sessions] == [ALIVE, ALIVE]
        clock.set(0)
        time.sleep(2.5)
        assert [each.history() for each in sessions] == [ALIVE, ALIVE]


@pytest.mark.slow
@pytest.mark.parametrize("apart_s", [-25.0, 25.0])
def test_promise_services_with_different_clocks_kill_nobody(
    postgres_url: str, start_service: Callable[..., ServiceProcess], tmp_path: Path, apart_s: float
) -> None:
    clock = WallClock(tmp_path / "clock", ahead_s=apart_s)
    one = start_service(lease_s=3.0, grace_s=1.0, db=postgres_url)
    two = start_service(
        lease_s=3.0, grace_s=1.0, db=postgres_url, env=clock.env, check_history=False
    )
    sessions = [make(service) for service in (one, two) for make in (Streaming, Calling)]
    silent = [Calling(one), Calling(two)]
    with beating(sessions, every_s=0.9):
        for each in silent:
            wait_until(lambda each=each: each.history() == DEAD, "the dead session to be detected")
        time.sleep(3.0)
        assert [each.history() for each in sessions] == [ALIVE] * 4


@pytest.mark.slow
def test_promise_leases_that_clients_ask_for(
    start_service: Callable[..., ServiceProcess],
) -> None:
    from google.protobuf.duration_pb2 import Duration  # noqa: PLC0415 - used only here

    service = start_service(lease_s=30.0, grace_s=30.0)
    short = [make(service, Duration(seconds=2)) for make in (Streaming, Calling)]
    silent = [make(service, Duration(seconds=2)) for make in (Streaming, Calling)]
    patient = Calling(service, Duration(seconds=3600))
    with beating(short, every_s=0.4):
        for each in silent:
            wait_until(lambda each=each: each.history() == DEAD, "the dead session to be detected")
        service.pause()
        time.sleep(4.5)
        service.go_on()
        time.sleep(2.2)
        assert [each.history() for each in [*short, patient]] == [ALIVE] * 3
