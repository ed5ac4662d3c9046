"""Connections of HTTP/1.1: uvicorn's protocol, with bounds on the head of a request."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio

    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from flowspan_service.process.open_files import OpenFiles

HEAD_TIMEOUT_S = 10.0
"""The longest time in which the head of a request may arrive, from its first byte; from the start
of the connection for the first one."""
MAX_HEAD = 256 << 10
"""The most bytes of a head that has not ended. A request of GET is in its head."""
_UNACKED_MS = 60_000
"""The longest time in which a client may leave sent bytes unacknowledged."""

_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nretry-after: 5\r\n"
    b"connection: close\r\n\r\n"
)
_LARGE_HEAD = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\n"
    b"connection: close\r\n\r\n"
)
_SLOW_HEAD = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Connection(HttpToolsProtocol):
    """A connection of a client.

    Attributes:
        files: The open files of the process, of which each connection is one. Set by
            `connection_class`.
    """

    files: OpenFiles

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._is_in_head = True
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin, unless too many files and connections are open."""
        super().connection_made(transport)
        if not self.files.begin():
            self._end_with(_BUSY)
            return
        _tune(transport.get_extra_info("socket"))
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what arrived."""
        if self.transport.is_closing():
            return
        if self._is_in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._is_in_head and self._head_bytes > MAX_HEAD and not self.transport.is_closing():
            self._end_with(_LARGE_HEAD)

    def on_message_begin(self) -> None:
        """Take the first byte of a request."""
        super().on_message_begin()
        self._begin_head()

    def on_headers_complete(self) -> None:
        """Take the end of a head."""
        self._is_in_head = False
        self._stop_timer()
        super().on_headers_complete()

    def _begin_head(self) -> None:
        self._stop_timer()
        self._is_in_head = True
        self._head_bytes = 0
        self._timer = self.loop.call_later(HEAD_TIMEOUT_S, self._end_with, _SLOW_HEAD)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end_with(self, answer: bytes) -> None:
        self._stop_timer()
        answering: RequestResponseCycle | None = self.cycle  # none before the first request
        if answering is None or answering.response_complete:
            self.transport.write(answer)
        self.transport.close()


def connection_class(files: OpenFiles) -> type[Connection]:
    """Return the class of the connections of a process."""
    return type("Connection", (Connection,), {"files": files})


def _tune(connection: socket.socket) -> None:
    """Send each part of an answer at once, and end a connection whose peer has vanished."""
    # asyncio does this only for sockets that name their protocol, which accepted ones do not. The
    # body of an answer would wait 40 ms for the acknowledgement of the headers.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", 30),
        ("TCP_KEEPINTVL", 10),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", _UNACKED_MS),
    ):
        option = getattr(socket, name, None)  # which of them there are depends on the system
        if option is not None:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
