"""The gRPC server: services, addresses, health, start and stop."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import quote

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health import SERVICE_NAME as HEALTH_NAME

from flowspan_service.api.dispatcher import Dispatcher
from flowspan_service.api.services import SERVICE_NAMES, services
from flowspan_service.process.errors import ListenError
from flowspan_service.process.private_files import make_folder
from flowspan_service.process.sockets import check_port, is_answered, owner_only
from flowspan_service.transports.grpc.handlers import service_handler
from flowspan_service.transports.grpc.health import HealthServicer
from flowspan_service.transports.grpc.options import server_options
from flowspan_service.transports.grpc.reflection import add_reflection

if TYPE_CHECKING:
    from pathlib import Path

    from flowspan_service.api.backend import Backend
    from flowspan_service.transports.tls import ServerTls


class Server:
    """The gRPC server of all services.

    Args:
        backend: The backend of the servicers.
        tls: The certificates of the TCP port; None for no TLS.
    """

    def __init__(self, backend: Backend, tls: ServerTls | None = None) -> None:
        self._backend = backend
        self._tls = tls
        self.health = HealthServicer(SERVICE_NAMES)
        self._server = grpc.aio.server(options=server_options(backend.terms.lease_us))
        dispatcher = Dispatcher(backend)
        self._server.add_generic_rpc_handlers(
            tuple(
                service_handler(name, methods, dispatcher)
                for name, methods in services(backend).items()
            )
        )
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        add_reflection(self._server, (*SERVICE_NAMES, HEALTH_NAME), backend.readers)

    def listen(self, host: str, port: int) -> int:
        """Listen on a TCP port; return its number (0 asks for any that is free).

        Raises:
            ListenError: The port cannot be used.
        """
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        check_port(host, port)
        try:
            if self._tls is not None:
                return int(self._server.add_secure_port(address, credentials(self._tls)))
            return int(self._server.add_insecure_port(address))
        except RuntimeError as error:
            raise ListenError(f"Cannot listen on {address}: {error}") from error

    def listen_on_socket(self, path: Path) -> None:
        """Listen on a Unix socket; replace the file of a service that has ended.

        Raises:
            ListenError: The socket cannot be used.
        """
        if is_answered(path):
            raise ListenError(
                f"The socket {path} is in use by another service. Name another with --socket."
            )
        try:
            make_folder(path.parent)
            path.unlink(missing_ok=True)
            with owner_only():
                # gRPC reads the path as a URL's: "%41" would be "A", and "#" would end it.
                self._server.add_insecure_port(f"unix:{quote(os.fsencode(path))}")
        except (OSError, RuntimeError) as error:
            raise ListenError(
                f"Cannot listen on the socket {path}: {error}. Name another with --socket."
            ) from error

    async def start(self) -> None:
        """Start to answer calls."""
        self.health.set(is_serving=True)
        await self._server.start()

    async def set_problem(self, problem: str) -> None:
        """Set the reason why the database cannot be used; empty if it can."""
        self._backend.activity.database_problem = problem
        self.health.set(is_serving=not problem)

    async def stop(self, *, grace_s: float) -> None:
        """Stop: drain the streams, ack the accepted events, and end the calls after the grace."""
        self.health.stop()
        self._backend.stopping.set()
        self._backend.notifier.wake()
        self._backend.command_watches.wake_all()
        for connection in self._backend.connections:
            connection.drain()
        await self._server.stop(grace_s)


def credentials(tls: ServerTls) -> grpc.ServerCredentials:
    """Return the credentials of a TCP port."""
    ca = tls.client_ca_file
    return grpc.ssl_server_credentials(
        [(tls.key_file.read_bytes(), tls.cert_file.read_bytes())],
        root_certificates=None if ca is None else ca.read_bytes(),
        require_client_auth=ca is not None,
    )
