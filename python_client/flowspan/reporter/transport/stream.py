"""One gRPC call over a socket of its own: the report stream, without threads and safe to fork.

This is the wire of gRPC (https://grpc.io/docs/guides/wire-protocol is PROTOCOL-HTTP2.md in the gRPC
repository) for exactly one bidirectional call: HTTP/2 by the h2 package, five bytes before each
message, a status in the trailers. Why not grpcio: docs/decisions/reporter-transport.md.

A Link never blocks, but for `connect` and `wait`; it belongs to one thread at a time.
"""

from __future__ import annotations

import base64
import contextlib
import os
import selectors
import struct
import weakref
from collections import deque
from typing import TYPE_CHECKING
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

    from h2.events import Event

    from flowspan.connection.address import Address

METHOD = "/flowspan.v1.ReportService/Report"

_STREAM_ID = 1
_RECEIVE_BYTES = 1 << 16
_RECEIVE_WINDOW = 1 << 20
_MAX_ANSWER_BYTES = 16 << 20
_PREFIX = struct.Struct(">BI")
_HTTP_OK = "200"
_FRAME_TYPE = 3
"""Where the type of a frame stands in its bytes."""
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
"""The names of gRPC's status codes, by number."""

_links: weakref.WeakSet[Link] = weakref.WeakSet()


class LinkClosedError(Exception):
    """The stream is over.

    Attributes:
        status: The name of the gRPC status; UNAVAILABLE where the connection broke; NOT_GRPC where
            the peer does not speak it.
        message: What the service said.
        sequence: The event that it is about, where the service named one.
    """

    def __init__(self, status: str, message: str, *, sequence: int | None = None) -> None:
        super().__init__(f"{status}: {message}" if message else status)
        self.status = status
        self.message = message
        self.sequence = sequence


class Link:
    """The report stream.

    Attributes:
        address: Where it leads.
    """

    def __init__(self, address: Address, sock: socket.socket) -> None:
        """Wraps a socket that is connected. Use `connect`."""
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
                # What this side makes is right as it is; of the peer, the status counts.
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
                (":scheme", "http"),
                (":path", METHOD),
                (":authority", address.authority),
                ("te", "trailers"),
                ("content-type", "application/grpc+proto"),
                ("user-agent", "flowspan-python"),
            ],
        )

    @classmethod
    def connect(cls, address: Address, *, timeout_s: float) -> Link:
        """Connects to the service and begins the call.

        Raises:
            OSError: There is no connection.
        """
        return cls(address, connect_socket(address, timeout_s=timeout_s))

    def fileno(self) -> int:
        """The socket's descriptor, for selectors."""
        return self._socket.fileno()

    @property
    def ended(self) -> LinkClosedError | None:
        """Why the stream is over; None while it is not."""
        return self._status

    @property
    def wants_to_write(self) -> bool:
        """Whether it has output that the socket did not take yet."""
        return bool(self._output)

    @property
    def unsent_bytes(self) -> int:
        """How much of the messages has not been handed to the socket."""
        return len(self._output) + sum(map(len, self._unsent))

    def send(self, message: bytes) -> None:
        """Queues a message and writes what goes out without waiting.

        Raises:
            LinkClosedError: The stream is over.
        """
        self._unsent.append(memoryview(_PREFIX.pack(0, len(message)) + message))
        self.pump()

    def half_close(self) -> None:
        """Says that no message follows, when those queued are out.

        Raises:
            LinkClosedError: The stream is over.
        """
        self._half_closing = True
        self.pump()

    def pump(self) -> None:
        """Writes as much as flow control and the socket take.

        Raises:
            LinkClosedError: The stream is over.
        """
        try:
            while self._flush() and self._feed():
                pass
        except ProtocolError as error:
            raise self._closed(f"HTTP/2: {error}") from error

    def receive(self) -> list[bytes]:
        """Reads what is there and returns the messages that it completes, in order.

        Raises:
            LinkClosedError: The stream is over; earlier calls returned all its messages.
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
            raise self._closed("the connection was closed")
        self._check_preface(data)
        try:
            self._take(self._http.receive_data(data))
        except ProtocolError as error:
            # It does speak HTTP/2 (`_check_preface`): a service that stops says GOAWAY, and h2
            # takes no frame behind that, such as gRPC's PING.
            self._closed(f"HTTP/2: {error}")
        messages = self._messages()
        if self._status is None:
            self.pump()
        elif not messages:
            raise self._status
        return messages

    def wait(self, timeout_s: float) -> list[bytes]:
        """As `receive`, but waits until a message is there or the time is over.

        Raises:
            LinkClosedError: The stream is over.
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
        """Takes messages back, for the next `receive` to return."""
        self._put_back = messages + self._put_back

    def close(self) -> None:
        """Closes the socket; what was queued and not written is lost."""
        _links.discard(self)
        self._socket.close()

    def _flush(self) -> bool:
        """Writes h2's output; False if the socket takes no more for now."""
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
        """Gives h2 the next piece of a message; False if there is none, or no room for it."""
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
            sequence = _sequence(headers.get("grpc-status-details-bin", ""))
            self._closed(message, status=name, sequence=sequence)
        elif headers.get(":status", _HTTP_OK) != _HTTP_OK:
            self._closed(f"it answered with HTTP status {headers[':status']}", status="NOT_GRPC")

    def _check_preface(self, data: bytes) -> None:
        """Looks whether the peer speaks HTTP/2: its first frame is SETTINGS (RFC 9113, 3.4)."""
        if len(self._preface) < _FRAME_TYPE + 1:
            self._preface += data[: _FRAME_TYPE + 1]
            if len(self._preface) > _FRAME_TYPE and self._preface[_FRAME_TYPE] != _SETTINGS:
                raise self._closed("it does not speak HTTP/2", status="NOT_GRPC")

    def _messages(self) -> list[bytes]:
        messages = []
        while len(self._input) >= _PREFIX.size:
            compressed, size = _PREFIX.unpack_from(self._input)
            if compressed or size > _MAX_ANSWER_BYTES:
                self._status = LinkClosedError("NOT_GRPC", "the answer is no gRPC message")
                break
            end = _PREFIX.size + size
            if len(self._input) < end:
                break
            messages.append(bytes(self._input[_PREFIX.size : end]))
            del self._input[:end]
        return messages

    def _closed(
        self, why: str, *, status: str = "UNAVAILABLE", sequence: int | None = None
    ) -> LinkClosedError:
        """Remembers the first reason why the stream is over, and returns it."""
        if self._status is None:
            self._status = LinkClosedError(status, why, sequence=sequence)
        return self._status


def _sequence(details: str) -> int | None:
    """The event that an error is about, from the google.rpc.ErrorInfo in its details."""
    if not details:
        return None
    from google.rpc import error_details_pb2, status_pb2  # noqa: PLC0415 - only for errors

    try:
        status = status_pb2.Status.FromString(base64.b64decode(details + "=" * (-len(details) % 4)))
        info = error_details_pb2.ErrorInfo()
        for detail in status.details:
            if detail.Unpack(info) and info.metadata["sequence"].isdigit():
                return int(info.metadata["sequence"])
    except Exception:  # noqa: BLE001 - DecodeError, whose home depends on protobuf's implementation
        return None
    return None


def _forget_links() -> None:
    """In a forked child: closes the parent's sockets, so that the parent's end is seen as such."""
    for link in list(_links):
        with contextlib.suppress(OSError):
            os.close(link.fileno())
        link._socket.detach()  # noqa: SLF001 - a function of this class in all but place
    _links.clear()


os.register_at_fork(after_in_child=_forget_links)
