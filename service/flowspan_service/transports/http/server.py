"""The HTTP server: uvicorn, in the event loop of the service."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from ssl import CERT_REQUIRED
from typing import TYPE_CHECKING, Any

import uvicorn

from flowspan_service.process.sockets import listening_sockets
from flowspan_service.transports.http.app import App
from flowspan_service.transports.http.connection import Connection, connection_class

if TYPE_CHECKING:
    import socket
    from collections.abc import Generator, Iterable

    from flowspan_service.api.backend import Backend
    from flowspan_service.transports.tls import ServerTls

_KEEP_ALIVE_S = 75
"""The time that a connection may stay idle between two requests."""
_BACKLOG = 512


class HttpServer:
    """The HTTP server.

    Args:
        backend: The backend of the servicers.
        origins: The origins whose pages may call the service.
        grace_s: The time that calls have to end when the server stops.
        tls: The certificates; None for no TLS.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        origins: Iterable[str],
        grace_s: float,
        tls: ServerTls | None = None,
    ) -> None:
        self._backend = backend
        self._origins = tuple(origins)
        self._grace_s = grace_s
        self._tls = tls
        self._sockets: list[socket.socket] = []
        self._host = ""
        self._server: _Uvicorn | None = None
        self._serving: asyncio.Task[None] | None = None

    def listen(self, host: str, port: int) -> int:
        """Listen on a TCP port; return its number (0 asks for any that is free).

        Raises:
            ListenError: The port cannot be used.
        """
        self._host = host
        self._sockets = listening_sockets(host, port, flag="--http-port", backlog=_BACKLOG)
        return int(self._sockets[0].getsockname()[1])

    async def start(self) -> None:
        """Start to answer requests."""
        # Requests that cannot be parsed are the client's mistake, and all other errors are logged
        # by the application.
        logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
        config = uvicorn.Config(
            App(self._backend, origins=self._origins, hosts=[self._host]),
            http=connection_class(self._backend.files),
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=math.ceil(self._grace_s),
            backlog=_BACKLOG,
            **self._tls_options(),
        )
        self._server = _Uvicorn(config)
        self._serving = asyncio.create_task(self._server.serve(self._sockets))
        await self._server.wait_until_ready(self._serving)

    def _tls_options(self) -> dict[str, Any]:
        tls = self._tls
        if tls is None:
            return {}
        options: dict[str, Any] = {"ssl_certfile": tls.cert_file, "ssl_keyfile": tls.key_file}
        if tls.client_ca_file is not None:
            options |= {"ssl_ca_certs": str(tls.client_ca_file), "ssl_cert_reqs": CERT_REQUIRED}
        return options

    @property
    def connections(self) -> list[Connection]:
        """The open connections."""
        if self._server is None:
            return []
        found = self._server.server_state.connections
        return [each for each in found if isinstance(each, Connection)]

    async def stop(self) -> None:
        """Stop: accept no more connections, and end the open calls after the grace."""
        for each in self._sockets:
            if self._server is None:
                each.close()
        if self._server is not None and self._serving is not None:
            self._server.stop()
            await self._serving


class _Uvicorn(uvicorn.Server):
    """A server that runs until it is told to stop, without a clock of its own and without signals.

    uvicorn would wake the idle process ten times a second, and take over SIGTERM.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._is_ready = asyncio.Event()
        self._is_stopping = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave the signals to the service."""
        yield

    async def main_loop(self) -> None:
        """Wait for the stop."""
        self._is_ready.set()
        await self._is_stopping.wait()

    async def wait_until_ready(self, serving: asyncio.Task[None]) -> None:
        """Wait until connections are accepted; raise what ended the server before."""
        ready = asyncio.create_task(self._is_ready.wait())
        await asyncio.wait((ready, serving), return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if serving.done():
            serving.result()

    def stop(self) -> None:
        """Let `serve` end."""
        self._is_stopping.set()
