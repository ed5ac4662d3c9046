"""The gRPC server: services, options, addresses."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from flowspan.v1 import (
    artifact_service_pb2_grpc,
    flow_run_service_pb2_grpc,
    flow_service_pb2_grpc,
    log_service_pb2_grpc,
    report_service_pb2_grpc,
    system_service_pb2_grpc,
    task_run_service_pb2_grpc,
    variable_service_pb2_grpc,
    watch_service_pb2_grpc,
)
from flowspan_service.api import limits
from flowspan_service.api.artifacts import ArtifactService
from flowspan_service.api.edge import Edge
from flowspan_service.api.flows import FlowService
from flowspan_service.api.logs import LogService
from flowspan_service.api.reports import ReportService
from flowspan_service.api.runs import FlowRunService, TaskRunService
from flowspan_service.api.system import SystemService
from flowspan_service.api.variables import VariableService
from flowspan_service.api.watch import WatchService
from flowspan_service.process.errors import ListenError
from flowspan_service.process.private_files import make_folder
from flowspan_service.process.sockets import check_port, is_answered, owner_only

if TYPE_CHECKING:
    from pathlib import Path

    from flowspan_service.api.backend import Backend

SERVICE_NAMES = (
    "flowspan.v1.ReportService",
    "flowspan.v1.FlowRunService",
    "flowspan.v1.TaskRunService",
    "flowspan.v1.FlowService",
    "flowspan.v1.LogService",
    "flowspan.v1.ArtifactService",
    "flowspan.v1.VariableService",
    "flowspan.v1.WatchService",
    "flowspan.v1.SystemService",
)

_KEEPALIVE_MS = 10_000
_MIN_KEEPALIVE_TIMEOUT_MS = 20_000


class Server:
    """All services, over one backend.

    Args:
        backend: What the servicers work with.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.health = health.aio.HealthServicer()
        self._server = grpc.aio.server(options=_options(backend.terms.lease_us))
        server: Any = Edge(self._server, backend)
        report_service_pb2_grpc.add_ReportServiceServicer_to_server(ReportService(backend), server)
        flow_run_service_pb2_grpc.add_FlowRunServiceServicer_to_server(
            FlowRunService(backend), server
        )
        task_run_service_pb2_grpc.add_TaskRunServiceServicer_to_server(
            TaskRunService(backend), server
        )
        flow_service_pb2_grpc.add_FlowServiceServicer_to_server(FlowService(backend), server)
        log_service_pb2_grpc.add_LogServiceServicer_to_server(LogService(backend), server)
        artifact_service_pb2_grpc.add_ArtifactServiceServicer_to_server(
            ArtifactService(backend), server
        )
        variable_service_pb2_grpc.add_VariableServiceServicer_to_server(
            VariableService(backend), server
        )
        watch_service_pb2_grpc.add_WatchServiceServicer_to_server(WatchService(backend), server)
        system_service_pb2_grpc.add_SystemServiceServicer_to_server(SystemService(backend), server)
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        reflection.enable_server_reflection(
            (*SERVICE_NAMES, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server
        )

    def listen(self, host: str, port: int) -> int:
        """Listens on a TCP port; returns it (0 asks for any that is free).

        Raises:
            ListenError: It cannot.
        """
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        check_port(host, port)
        try:
            return int(self._server.add_insecure_port(address))
        except RuntimeError as error:
            raise ListenError(f"Cannot listen on {address}: {error}") from error

    def listen_on_socket(self, path: Path) -> None:
        """Listens on a Unix socket; the file of a service that is gone is replaced.

        Raises:
            ListenError: It cannot.
        """
        if is_answered(path):
            raise ListenError(
                f"The socket {path} is in use by another service. Name another with --socket."
            )
        try:
            make_folder(path.parent)
            path.unlink(missing_ok=True)
            with owner_only():
                # gRPC reads the path as that of a URL: "%41" would be "A", and "#" the end of it.
                self._server.add_insecure_port(f"unix:{quote(os.fsencode(path))}")
        except (OSError, RuntimeError) as error:
            raise ListenError(
                f"Cannot listen on the socket {path}: {error}. Name another with --socket."
            ) from error

    async def start(self) -> None:
        """Begins to answer."""
        for name in ("", *SERVICE_NAMES):
            await self.health.set(name, health_pb2.HealthCheckResponse.SERVING)
        await self._server.start()

    async def set_problem(self, problem: str) -> None:
        """Say that the database cannot be used, and why; or, if empty, that it can (again)."""
        self._backend.activity.database_problem = problem
        states = health_pb2.HealthCheckResponse
        for name in ("", *SERVICE_NAMES):
            await self.health.set(name, states.NOT_SERVING if problem else states.SERVING)

    async def stop(self, *, grace_s: float) -> None:
        """Ends: streams are drained, what was taken is acked, and then calls are cut."""
        await self.health.enter_graceful_shutdown()
        self._backend.stopping.set()
        self._backend.hub.wake()
        for connection in self._backend.live:
            connection.drain()
        await self._server.stop(grace_s)


def _options(lease_us: int) -> list[tuple[str, int]]:
    """The options of the server.

    Dead peers are noticed by pings, but not before a stopped process would lose its lease: until
    then, it may go on where it was.
    """
    timeout_ms = max(_MIN_KEEPALIVE_TIMEOUT_MS, lease_us // 1000 + 5_000)
    return [
        ("grpc.max_receive_message_length", limits.MAX_MESSAGE),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),
        ("grpc.max_concurrent_streams", limits.MAX_CALLS_OF_A_CONNECTION),
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", timeout_ms),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ]
