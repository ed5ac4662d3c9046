"""The real gRPC server over a real SQLite store, in a thread of the test process."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from typing import TYPE_CHECKING

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpc_status import rpc_status

from flowspan.v1 import (
    artifact_service_pb2_grpc,
    flow_run_service_pb2_grpc,
    flow_service_pb2_grpc,
    label_service_pb2_grpc,
    log_service_pb2_grpc,
    report_service_pb2_grpc,
    run_service_pb2_grpc,
    single_run_service_pb2_grpc,
    system_service_pb2_grpc,
    task_run_service_pb2_grpc,
    variable_service_pb2_grpc,
    watch_service_pb2_grpc,
)
from flowspan_service.adapters.commit_notifier import CommitNotifier
from flowspan_service.adapters.connected_sessions import ConnectedSessions
from flowspan_service.api.about import About
from flowspan_service.api.backend import Activity, Backend
from flowspan_service.api.services import CAPABILITIES
from flowspan_service.app.sessions import LeaseTerms, OpenSession
from flowspan_service.domain.sessions import OtlpTarget, SessionStatus
from flowspan_service.loops.reaper import Reaper
from flowspan_service.process.clock import SystemClock
from flowspan_service.stores import open_store
from flowspan_service.transports.grpc.server import Server
from flowspan_service.transports.http.server import HttpServer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path
    from typing import Any

    from flowspan_service.app.ports import UnitOfWork
    from flowspan_service.domain.sessions import Session

LEASE_S = 30.0
GRACE_S = 10.0
TIMEOUT_S = 60.0
MAY_RETRY = ("OVERLOADED", "STOPPING", "STORE_UNAVAILABLE")


class ShiftedClock:
    """The machine's clocks plus an offset that the test sets."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self.ahead_us = 0
        self.stepped_us = 0

    def now_us(self) -> int:
        return self._clock.now_us() + self.ahead_us + self.stepped_us

    def monotonic_us(self) -> int:
        return self._clock.monotonic_us() + self.ahead_us

    def advance(self, seconds: float) -> None:
        """Advance both clocks."""
        self.ahead_us += round(seconds * 1e6)

    def step(self, seconds: float) -> None:
        """Set the wall clock forward or back."""
        self.stepped_us += round(seconds * 1e6)


class _Look:
    """An operation that reads a session."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.run_ids = ()
        self.weight = 1

    def __call__(self, uow: UnitOfWork) -> Session | None:
        return copy(uow.sessions.get(self.session_id))


class _Close:
    """Close a session as the first piece of its end does, which has no time for its runs."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.run_ids = ()
        self.weight = 1

    def __call__(self, uow: UnitOfWork) -> None:
        session = uow.sessions.get(self.session_id)
        assert session is not None
        session.status = SessionStatus.CLOSED
        uow.sessions.save(session)


class _Nothing:
    """A no-op operation."""

    run_ids = ()
    weight = 1

    def __call__(self, uow: UnitOfWork) -> None:
        del uow


class Harness:
    """A server, its store and its clock. No background loop runs: the test advances the time.

    Args:
        folder: The folder for the SQLite database.
        db: The URL of another database.
    """

    def __init__(self, folder: Path, *, db: str | None = None) -> None:
        self.clock = ShiftedClock()
        url = db or f"sqlite:///{folder / 'flowspan.db'}"
        self.store = open_store(url, clock=self.clock)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="server")
        self._thread.start()
        self._readers = ThreadPoolExecutor(4)
        self.points: list[str] = []
        self.backend: Backend
        self.server: Server
        self.port = self.run(self._start())
        self._reaper: Reaper
        self.restart_reaper()
        self.is_running = True
        self.channel = self.new_channel()
        self.http: HttpServer | None = None

    def new_channel(self) -> grpc.Channel:
        """Open a new channel with its own connection."""
        options = [
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_receive_message_length", 64 << 20),
            ("grpc.max_send_message_length", 64 << 20),
        ]
        return grpc.insecure_channel(f"127.0.0.1:{self.port}", options=options)

    def start_http(self, *, origins: tuple[str, ...] = ()) -> int:
        """Serve over HTTP, too; return the port."""
        server = self.http = HttpServer(self.backend, origins=origins, grace_s=1.0)
        port = server.listen("127.0.0.1", 0)
        self.run(server.start())
        return port

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine in the server's event loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(TIMEOUT_S)

    def reap(self) -> list[str]:
        """Run the session reaper once; return the lost sessions."""
        return self.run(self._reaper.reap())

    def pass_time(self, seconds: float) -> list[str]:
        """Advance the time, reaping once per simulated second; return the lost sessions."""
        lost = self.reap()
        whole, rest = divmod(seconds, 1.0)
        for step_s in [*[1.0] * int(whole), rest]:
            self.clock.advance(step_s)
            lost += self.reap()
        return lost

    def restart_reaper(self) -> None:
        """Replace the reaper as a restart does: without any memory, followed by a first pass."""
        self._reaper = Reaper(self.store, self.clock, self.backend.connections, self.backend.terms)
        self.reap()

    def wait_for_store(self) -> None:
        """Wait until the store has finished everything that the server submitted."""
        self.store.submit(_Nothing()).result(TIMEOUT_S)

    def open_session(self, session_id: str, *, connection_id: str) -> None:
        """Open a session as another service process on the same database does on Hello."""
        operation = OpenSession(
            session_id, client={}, lease_us=round(LEASE_S * 1e6), connection_id=connection_id
        )
        self.store.submit(operation).result(TIMEOUT_S)

    def session(self, session_id: str) -> Session:
        """Return a session as stored."""
        found = self.store.submit(_Look(session_id)).result(TIMEOUT_S)
        assert found is not None
        return found

    def close_without_its_runs(self, session_id: str) -> None:
        """Close a session, which leaves its runs open as long as it takes to crash many."""
        self.store.submit(_Close(session_id)).result(TIMEOUT_S)

    def connected(self) -> int:
        """Return the number of connected sessions."""

        async def count() -> int:
            return len(self.backend.connections)

        return self.run(count())

    def stop_server(self) -> None:
        """Stop the server as SIGTERM does."""
        if self.is_running:
            self.is_running = False
            self.run(self._stop_servers())

    def close(self) -> None:
        """Stop everything."""
        self.channel.close()
        self.stop_server()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(TIMEOUT_S)
        self._loop.close()
        self._readers.shutdown()
        self.store.close()

    async def _stop_servers(self) -> None:
        stops = [self.server.stop(grace_s=3.0)]
        if self.http is not None:
            stops.append(self.http.stop())
        await asyncio.gather(*stops)

    async def _start(self) -> int:
        self.backend = Backend(
            store=self.store,
            clock=self.clock,
            readers=self._readers,
            terms=LeaseTerms(lease_us=round(LEASE_S * 1e6), grace_us=round(GRACE_S * 1e6)),
            notifier=CommitNotifier(self._loop, self.store, self._readers),
            connections=ConnectedSessions(),
            about=About(
                version="1.2.3",
                database="sqlite",
                started_us=self.clock.now_us(),
                process_id=42,
                otlp_endpoint="http://spans:4317",
                trace_url="http://viewer/{trace_id}",
                otlp_target=OtlpTarget("grpc", "http://spans:4317", "http://logs:4317"),
                database_location="/data/flowspan.db",
                log_file="/data/service.log",
                is_embedded=True,
                idle_timeout_us=300_000_000,
                capabilities=CAPABILITIES,
            ),
            activity=Activity(last_call_us=self.clock.monotonic_us()),
            on_point=self.points.append,
        )
        self.store.on_commit(self.backend.notifier)
        self.store.on_commit(self.backend.ended_runs)
        self.store.on_write(self.backend.writes)
        self.store.on_session_news(self.backend.command_watches)
        self.server = Server(self.backend)
        port = self.server.listen("127.0.0.1", 0)
        await self.server.start()
        return port


class Stubs:
    """The stubs of all services over one channel."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.flow_runs = flow_run_service_pb2_grpc.FlowRunServiceStub(channel)
        self.task_runs = task_run_service_pb2_grpc.TaskRunServiceStub(channel)
        self.runs = run_service_pb2_grpc.RunServiceStub(channel)
        self.single_runs = single_run_service_pb2_grpc.SingleRunServiceStub(channel)
        self.flows = flow_service_pb2_grpc.FlowServiceStub(channel)
        self.logs = log_service_pb2_grpc.LogServiceStub(channel)
        self.reports = report_service_pb2_grpc.ReportServiceStub(channel)
        self.watch = watch_service_pb2_grpc.WatchServiceStub(channel)
        self.artifacts = artifact_service_pb2_grpc.ArtifactServiceStub(channel)
        self.variables = variable_service_pb2_grpc.VariableServiceStub(channel)
        self.labels = label_service_pb2_grpc.LabelServiceStub(channel)
        self.system = system_service_pb2_grpc.SystemServiceStub(channel)


def error_info(error: grpc.RpcError) -> Any:
    """Return the ErrorInfo of an error; fail if it has none."""
    status = rpc_status.from_call(error)
    assert status is not None, f"{error.code()} without details: {error.details()}"
    info, retry = ErrorInfo(), RetryInfo()
    assert status.details[0].Unpack(info)
    assert info.domain == "flowspan.v1"
    assert [detail.Unpack(retry) for detail in status.details[1:]] == (
        [True] if info.reason in MAY_RETRY else []
    )
    assert bool(retry.retry_delay.ToMilliseconds()) == (info.reason in MAY_RETRY)
    return info


def refused(call: Callable[[], object], code: grpc.StatusCode, reason: str) -> Any:
    """Call, and expect this error; return the metadata of the ErrorInfo."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() is code, caught.value
    info = error_info(caught.value)
    assert info.reason == reason, caught.value
    assert caught.value.details()
    return info.metadata
