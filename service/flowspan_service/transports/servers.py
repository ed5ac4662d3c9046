"""The servers of all transports: listening, start, problems and stop."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from flowspan_service.process.errors import ListenError
from flowspan_service.transports.access_policy import know_own_user, set_access
from flowspan_service.transports.grpc.server import Server
from flowspan_service.transports.listening import listen, url_of

if TYPE_CHECKING:
    from flowspan_service.api.backend import Backend
    from flowspan_service.config import Config
    from flowspan_service.process.peer_users import OwnUser
    from flowspan_service.transports.http.server import HttpServer
    from flowspan_service.transports.tls import ServerTls

log = structlog.get_logger("flowspan.service")

STOP_GRACE_S = 3.0
"""Time that calls have to end when the service stops."""


class Servers:
    """The gRPC server and, if its port is on, the HTTP server.

    Args:
        backend: The backend of the servicers.
        config: The settings.

    Raises:
        ListenError: The certificates cannot be used.
    """

    def __init__(self, backend: Backend, config: Config) -> None:
        self._backend = backend
        self._config = config
        self._tls: ServerTls | None = None
        if config.tls_cert is not None and config.uses_tcp:
            from flowspan_service.transports.tls import load_tls  # noqa: PLC0415 - only with TLS

            self._tls = load_tls(config.tls_cert, config.tls_key, config.tls_client_ca)
        self._grpc = Server(backend, self._tls)
        self._http: HttpServer | None = None
        self._own_user: OwnUser | None = None

    def listen(self) -> list[str]:
        """Listen on all configured addresses; return those of gRPC, the nearest first.

        The address of HTTP becomes one of the facts about the service.

        Raises:
            ListenError: An address cannot be used, or not safely.
        """
        set_access(self._backend.access, self._config)
        addresses = listen(self._grpc, self._config)
        port = self._config.http_port
        if port is not None:
            try:
                self._listen_for_http(port)
            except ListenError as error:
                if not self._config.http_is_optional:
                    raise
                log.warning("nothing is served over HTTP", reason=str(error))
        urls = [self._backend.about.http_address] if self._http is not None else []
        self._own_user = know_own_user(self._backend.access, self._config, [*addresses, *urls])
        return addresses

    async def start(self) -> None:
        """Start to answer calls."""
        await self._grpc.start()
        if self._http is not None:
            await self._http.start()

    async def set_problem(self, problem: str) -> None:
        """Set the reason why the database cannot be used; empty if it can."""
        await self._grpc.set_problem(problem)

    async def stop(self) -> None:
        """Stop: drain the streams, ack the accepted events, and end the calls after the grace."""
        stops = [self._grpc.stop(grace_s=STOP_GRACE_S)]
        if self._http is not None:
            stops.append(self._http.stop())
        await asyncio.gather(*stops)
        if self._own_user is not None:
            self._own_user.close()

    def _listen_for_http(self, port: int) -> None:
        from flowspan_service.transports.http.server import (  # noqa: PLC0415 - only if it is on
            HttpServer,
        )

        config = self._config
        server = HttpServer(
            self._backend, origins=config.cors_origins, grace_s=STOP_GRACE_S, tls=self._tls
        )
        is_over_tls = self._tls is not None
        url = url_of(config.host, server.listen(config.host, port), is_over_tls=is_over_tls)
        self._http = server
        self._backend.about = replace(self._backend.about, http_address=url)
