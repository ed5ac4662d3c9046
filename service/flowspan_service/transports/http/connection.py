"""Connections of HTTP/1.1: uvicorn's protocol, with bounds on the head of a request."""

from __future__ import annotations

import socket
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from flowspan_service.transports.http.asgi import LINGER_S
from flowspan_service.transports.http.errors import (
    INVALID_ARGUMENT,
    UNAVAILABLE,
    Failure,
    json_bytes,
)

if TYPE_CHECKING:
    import asyncio

    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from flowspan_service.process.open_files import OpenFiles

HEAD_TIMEOUT_S = 10.0
"""The longest time in which the head of a request may arrive, from its first byte; from the start
of the connection for the first one."""
MAX_HEAD = 256 << 10
"""The most bytes of a head that has not ended. A request of GET is in its head."""
_MAX_REST = 1 << 20
"""The most bytes that are read after an answer that ends the connection."""
_UNACKED_MS = 60_000
"""The longest time in which a client may leave sent bytes unacknowledged."""

_TLS_RECORD = b"\x16\x03"
"""The beginning of a connection over TLS."""
_HTTP2_PREFACE = b"PRI * HTTP/2"


def _answer(status: HTTPStatus, code: int, message: str, *headers: str) -> bytes:
    """Return a whole answer, after which the connection ends."""
    body = json_bytes(Failure(code, message).as_json())
    lines = [
        f"HTTP/1.1 {status} {status.phrase}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        *headers,
        "connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


_BUSY = _answer(
    HTTPStatus.SERVICE_UNAVAILABLE,
    UNAVAILABLE,
    "The service has too many files and connections open. Try again later. Its operator can raise "
    "the limit of open files.",
    "retry-after: 5",
)
_LARGE_HEAD = _answer(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    INVALID_ARGUMENT,
    f"The head of the request has more than {MAX_HEAD} bytes. Send large messages with POST.",
)
_SLOW_HEAD = _answer(
    HTTPStatus.REQUEST_TIMEOUT,
    INVALID_ARGUMENT,
    "The head of the request did not arrive in time. Send it again.",
)
_NO_REQUEST = _answer(
    HTTPStatus.BAD_REQUEST, INVALID_ARGUMENT, "These bytes are not a request of HTTP/1.1."
)
# Not in frames of HTTP/2: clients of gRPC would connect again and again without a pause. They
# recognize an answer of HTTP/1.1, and say so.
_HTTP2 = _answer(
    HTTPStatus.BAD_REQUEST,
    INVALID_ARGUMENT,
    "This port speaks HTTP/1.1, not HTTP/2. Call gRPC on the service's other port, which is 4600 "
    "by default.",
)
_TLS = _answer(
    HTTPStatus.BAD_REQUEST,
    INVALID_ARGUMENT,
    "This port does not use TLS. Call it with http://, or start the service with --tls-cert.",
)


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
        self._refusal = b""
        self._has_ended = False
        self._rest_bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin, unless too many files and connections are open."""
        super().connection_made(transport)
        if not self.files.begin():
            transport.write(_BUSY)
            transport.close()
            return
        _tune(transport.get_extra_info("socket"))
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what arrived."""
        if self._has_ended or self.transport.is_closing():
            self._drop(data)
            return
        if self._is_in_head:
            self._refusal = self._refusal or _refusal_of(data)
            self._head_bytes += len(data)
        super().data_received(data)
        if self._is_in_head and self._head_bytes > MAX_HEAD:
            self._end_with(_LARGE_HEAD)

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are no request; the message is uvicorn's, the same for all of them."""
        del msg
        self._end_with(self._refusal or _NO_REQUEST)

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
        if self._has_ended or self.transport.is_closing():
            return
        self._stop_timer()
        answering: RequestResponseCycle | None = self.cycle  # none before the first request
        is_free = answering is None or answering.response_complete
        if answering is not None and not (
            is_free or self._is_in_head or answering.response_started
        ):
            # The body of a request is spoilt, and this is the answer to it.
            answering.disconnected = is_free = True
            answering.message_event.set()
        if is_free:
            self.transport.write(answer)
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        """Close the connection a moment later, so that the client can read the answer."""
        self._has_ended = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._timer = self.loop.call_later(LINGER_S, self.transport.close)

    def _drop(self, data: bytes) -> None:
        self._rest_bytes += len(data)
        if self._rest_bytes > _MAX_REST:
            self.transport.close()


def _refusal_of(data: bytes) -> bytes:
    """Return the answer to the first bytes of another protocol; empty for all others."""
    if data.startswith(_TLS_RECORD):
        return _TLS
    return _HTTP2 if data.startswith(_HTTP2_PREFACE) else b""


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
