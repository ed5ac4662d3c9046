"""The transport of the report stream: one gRPC call over its own socket, without threads.

This module implements the gRPC wire protocol (PROTOCOL-HTTP2.md in the gRPC repository, see
https://grpc.io/docs/guides/wire-protocol) for exactly one bidirectional call: HTTP/2 by the h2
package, a five-byte prefix before each message, a status in the trailers. It is safe to fork;
docs/decisions/reporter-transport.md says why grpcio is not used.

A H2Transport never blocks, except in `connect` and `wait`. Only one thread may use it at a time.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import selectors
import struct
import weakref
from collections import deque
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import ProtocolError

from flowspan import clock
from flowspan.connection.address import connect_socket

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

    from google.rpc.status_pb2 import Status
    from h2.events import Event

    from flowspan.connection.address import Address
    from flowspan.connection.tls import TlsSocket

METHOD = "/flowspan.v1.ReportService/Report"
CLOSED = "the connection was closed"
"""The message if the peer closed the connection without a word."""

_STREAM_ID = 1
_RECEIVE_BYTES = 1 << 16
_RECEIVE_WINDOW = 1 << 20
_MAX_ANSWER_BYTES = 16 << 20
_PREFIX = struct.Struct(">BI")
_HTTP_OK = "200"
_FRAME_TYPE = 3
"""Offset of the type in a frame's header."""
_SETTINGS = 4

STATUS_NAMES = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
]
"""The names of the gRPC status codes, indexed by number."""

_ABOUT_SIZE = re.compile(r"larger than|too large|exceed", re.IGNORECASE)
"""Words of the messages with which the implementations of gRPC refuse a message for its size."""

_links: weakref.WeakSet[H2Transport] = weakref.WeakSet()


class LinkClosedError(Exception):
    """The stream has ended.

    Attributes:
        status: The name of the gRPC status; UNAVAILABLE if the connection broke; NOT_GRPC if the
            peer does not speak gRPC.
        message: The service's message.
        sequence: The sequence of the offending event, if the service named one.
        reason: The name of a value of flowspan.v1.ErrorReason without its prefix; empty if gRPC
            itself, a proxy or the network ended the stream.
        retry_after_s: The time to wait before the next attempt, if the service named one, in
            seconds and without an upper bound.
    """

    def __init__(
        self,
        status: str,
        message: str,
        *,
        sequence: int | None = None,
        reason: str = "",
        retry_after_s: float = 0.0,
    ) -> None:
        super().__init__(f"{status}: {message}" if message else status)
        self.status = status
        self.message = message
        self.sequence = sequence
        self.reason = reason
        self.retry_after_s = retry_after_s

    @property
    def is_about_size(self) -> bool:
        """True if a frame was refused because of its size, so that it must not be sent again.

        Proxies also use RESOURCE_EXHAUSTED when a client calls too often, which passes with time;
        only the message tells the two apart.
        """
        if self.reason:
            return self.reason == "TOO_LARGE" and self.sequence is None
        return self.status == "RESOURCE_EXHAUSTED" and bool(_ABOUT_SIZE.search(self.message))


class H2Transport:
    """The report stream over h2, an implementation of `ReportTransport`.

    Attributes:
        address: The address of the service.
    """

    def __init__(self, address: Address, sock: socket.socket | TlsSocket) -> None:
        """Wrap a connected socket. Use `connect` instead."""
        self.address = address
        self._socket = sock
        sock.settimeout(0)
        self._unsent: deque[memoryview] = deque()
        self._output: memoryview = memoryview(b"")
        self._input = bytearray()
        self._preface = b""
        self._put_back: list[bytes] = []
        self._status: LinkClosedError | None = None
        self._half_closing = False
        self._half_closed = False
        self._http = H2Connection(
            H2Configuration(
                client_side=True,
                header_encoding="utf-8",
                # Headers sent here are known to be valid; only the status of the peer's matters.
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
                validate_inbound_headers=False,
            )
        )
        _links.add(self)
        self._http.initiate_connection()
        self._http.increment_flow_control_window(_RECEIVE_WINDOW)
        self._http.send_headers(
            _STREAM_ID,
            [
                (":method", "POST"),
                (":scheme", "https" if address.access.uses_tls else "http"),
                (":path", METHOD),
                (":authority", address.authority),
                ("te", "trailers"),
                ("content-type", "application/grpc+proto"),
                ("user-agent", "flowspan-python"),
                *_authorization(address),
            ],
        )

    @classmethod
    def connect(cls, address: Address, *, timeout_s: float) -> H2Transport:
        """Connect to the service and begin the call.

        Raises:
            ConfigError: The access token or a file of certificates cannot be used.
            OSError: The connection failed.
        """
        return cls(address, connect_socket(address, timeout_s=timeout_s))

    def fileno(self) -> int:
        """Return the socket's descriptor, for selectors."""
        return self._socket.fileno()

    @property
    def ended(self) -> LinkClosedError | None:
        """The reason why the stream has ended; None while it is open."""
        return self._status

    @property
    def wants_to_write(self) -> bool:
        """True if output is waiting for the socket to become writable."""
        return bool(self._output)

    @property
    def unsent_bytes(self) -> int:
        """Number of message bytes that were not handed to the socket yet."""
        return len(self._output) + sum(map(len, self._unsent))

    def send(self, message: bytes) -> None:
        """Queue a message and write as much as possible without blocking.

        Raises:
            LinkClosedError: The stream has ended.
        """
        self._unsent.append(memoryview(_PREFIX.pack(0, len(message)) + message))
        self.pump()

    def half_close(self) -> None:
        """Close the sending side of the stream after the queued messages.

        Raises:
            LinkClosedError: The stream has ended.
        """
        self._half_closing = True
        self.pump()

    def pump(self) -> None:
        """Write as much as flow control and the socket allow.

        Raises:
            LinkClosedError: The stream has ended.
        """
        try:
            while self._flush() and self._feed():
                pass
        except ProtocolError as error:
            raise self._closed(f"HTTP/2: {error}") from error

    def receive(self) -> list[bytes]:
        """Read the available data and return the messages it completes, in order.

        Raises:
            LinkClosedError: The stream has ended, and earlier calls returned all its messages.
        """
        if self._put_back:
            messages, self._put_back = self._put_back, []
            return messages
        if self._status is not None:
            raise self._status
        try:
            data = self._socket.recv(_RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            return []
        except OSError as error:
            raise self._closed(error.strerror or str(error)) from error
        if not data:
            raise self._closed(CLOSED)
        self._check_preface(data)
        try:
            self._take(self._http.receive_data(data))
        except ProtocolError as error:
            # The peer does speak HTTP/2 (`_check_preface`). A stopping service sends GOAWAY, and h2
            # accepts no frame after it, such as gRPC's PING.
            self._closed(f"HTTP/2: {error}")
        messages = self._messages()
        if self._status is None:
            self.pump()
        elif not messages:
            raise self._status
        return messages

    def wait(self, timeout_s: float) -> list[bytes]:
        """Wait for messages as `receive` returns them; return an empty list at the timeout.

        Raises:
            LinkClosedError: The stream has ended.
        """
        if self._put_back or self._status is not None:
            return self.receive()
        deadline = clock.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(self, selectors.EVENT_READ)
            while True:
                writing = selectors.EVENT_WRITE if self.wants_to_write else 0
                selector.modify(self, selectors.EVENT_READ | writing)
                left = deadline - clock.monotonic()
                if selector.select(max(left, 0)):
                    self.pump()
                    messages = self.receive()
                    if messages:
                        return messages
                elif left <= 0:
                    return []

    def put_back(self, messages: list[bytes]) -> None:
        """Return messages to the link, for the next `receive`."""
        self._put_back = messages + self._put_back

    def close(self) -> None:
        """Close the socket; queued messages that were not written are lost."""
        _links.discard(self)
        self._socket.close()

    def _flush(self) -> bool:
        """Write h2's output; return False if the socket would block."""
        while True:
            if not self._output:
                self._output = memoryview(self._http.data_to_send())
                if not self._output:
                    return True
            try:
                sent = self._socket.send(self._output)
            except (BlockingIOError, InterruptedError):
                return False
            except OSError as error:
                raise self._closed(error.strerror or str(error)) from error
            self._output = self._output[sent:]

    def _feed(self) -> bool:
        """Pass the next piece of a message to h2; return False if no piece or no window is left."""
        if not self._unsent:
            if self._half_closing and not self._half_closed:
                self._half_closed = True
                self._http.end_stream(_STREAM_ID)
                return True
            return False
        room = min(
            self._http.local_flow_control_window(_STREAM_ID), self._http.max_outbound_frame_size
        )
        if room <= 0:
            return False
        message = self._unsent[0]
        self._http.send_data(_STREAM_ID, message[:room])
        if len(message) <= room:
            self._unsent.popleft()
        else:
            self._unsent[0] = message[room:]
        return True

    def _take(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, DataReceived):
                self._input += event.data
                self._http.acknowledge_received_data(event.flow_controlled_length, _STREAM_ID)
            elif isinstance(event, ResponseReceived | TrailersReceived):
                self._read_status(dict(event.headers))  # type: ignore[arg-type] # header_encoding makes them text
            elif isinstance(event, StreamReset):
                self._closed(f"the stream was reset (HTTP/2 error {int(event.error_code)})")
            elif isinstance(event, StreamEnded | ConnectionTerminated):
                self._closed("the service ended the stream")

    def _read_status(self, headers: dict[str, str]) -> None:
        if "grpc-status" in headers:
            code = int(headers["grpc-status"]) if headers["grpc-status"].isdigit() else 2
            name = STATUS_NAMES[code] if code < len(STATUS_NAMES) else "UNKNOWN"
            message = unquote(headers.get("grpc-message", ""))
            details = decode_details(headers.get("grpc-status-details-bin", ""))
            self._closed(message, status=name, details=details)
        elif headers.get(":status", _HTTP_OK) != _HTTP_OK:
            self._closed(f"it answered with HTTP status {headers[':status']}", status="NOT_GRPC")

    def _check_preface(self, data: bytes) -> None:
        """Check that the peer speaks HTTP/2: its first frame must be SETTINGS (RFC 9113, 3.4)."""
        if len(self._preface) < _FRAME_TYPE + 1:
            self._preface += data[: _FRAME_TYPE + 1]
            if len(self._preface) > _FRAME_TYPE and self._preface[_FRAME_TYPE] != _SETTINGS:
                raise self._closed("it does not speak HTTP/2", status="NOT_GRPC")

    def _messages(self) -> list[bytes]:
        messages = []
        while len(self._input) >= _PREFIX.size:
            compressed, size = _PREFIX.unpack_from(self._input)
            if compressed or size > _MAX_ANSWER_BYTES:
                self._status = LinkClosedError("NOT_GRPC", "the answer is not a gRPC message")
                break
            end = _PREFIX.size + size
            if len(self._input) < end:
                break
            messages.append(bytes(self._input[_PREFIX.size : end]))
            del self._input[:end]
        return messages

    def _closed(
        self, why: str, *, status: str = "UNAVAILABLE", details: Details | None = None
    ) -> LinkClosedError:
        """Record the first reason why the stream ended, and return it."""
        if self._status is None:
            self._status = LinkClosedError(status, why, **(details or Details())._asdict())
        return self._status


def _authorization(address: Address) -> list[tuple[str, str]]:
    """Return the header with the access token, if there is one."""
    value = address.access.authorization()
    return [("authorization", value)] if value else []


class Details(NamedTuple):
    """The parts of the details of a status that matter here; see LinkClosedError."""

    sequence: int | None = None
    reason: str = ""
    retry_after_s: float = 0.0


def decode_details(header: str) -> Details:
    """Return the details in the value of the trailer `grpc-status-details-bin`."""
    if not header:
        return Details()
    from google.rpc import status_pb2  # noqa: PLC0415 - only for errors

    try:
        status = status_pb2.Status.FromString(base64.b64decode(header + "=" * (-len(header) % 4)))
        return read_details(status)
    except Exception:  # noqa: BLE001 - DecodeError of either implementation
        return Details()


def read_details(status: Status) -> Details:
    """Return the details of a google.rpc.Status: those of its ErrorInfo and its RetryInfo."""
    from google.rpc import error_details_pb2  # noqa: PLC0415 - only for errors

    found = Details()
    for detail in status.details:
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            sequence = info.metadata.get("sequence", "")
            found = found._replace(
                reason=info.reason, sequence=int(sequence) if sequence.isdigit() else None
            )
        elif detail.Unpack(retry):
            delay = retry.retry_delay
            found = found._replace(retry_after_s=max(0.0, delay.seconds + delay.nanos / 1e9))
    return found


def _forget_links() -> None:
    """Close the parent's sockets in a forked child: peers must see the parent's end."""
    for link in list(_links):
        with contextlib.suppress(OSError):
            os.close(link.fileno())
        link._socket.detach()  # noqa: SLF001 - belongs to the class
    _links.clear()


os.register_at_fork(after_in_child=_forget_links)
