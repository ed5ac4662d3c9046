"""The report stream over grpcio: the ordinary implementation of `ReportTransport`.

flowspan uses `flowspan.reporter.transport.stream.H2Transport` instead, for the reasons in
docs/decisions/reporter-transport.md. The contract tests run the same scenarios over both.
"""

from __future__ import annotations

import select
import socket
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

import grpc
from grpc_status import rpc_status

from flowspan import clock
from flowspan.reporter.transport.stream import METHOD, Details, LinkClosedError, read_details

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowspan.connection.address import Address

_OPTIONS = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", 16 << 20),
    ("grpc.max_send_message_length", -1),
]


class GrpcioTransport:
    """A report stream over grpcio. Use `connect`; see `ReportTransport` for the methods.

    grpcio takes the messages from one thread of its own, and another thread receives the answers. A
    socket pair makes their arrival visible to selectors.
    """

    def __init__(self, address: Address, channel: grpc.Channel) -> None:
        self.address = address
        self._channel = channel
        self._changed = threading.Condition()
        self._outgoing: deque[bytes] = deque()
        self._writing_bytes = 0
        """Size of the message that grpcio has taken and is still writing."""
        self._arrived: deque[bytes] = deque()
        self._status: LinkClosedError | None = None
        self._half_closed = False
        self._readable, self._signal = socket.socketpair()
        self._readable.setblocking(False)
        self._signal.setblocking(False)
        self._call = channel.stream_stream(METHOD)(self._requests())
        threading.Thread(target=self._read, name="grpcio-transport", daemon=True).start()

    @classmethod
    def connect(cls, address: Address, *, timeout_s: float) -> GrpcioTransport:
        """Connect to the service and begin the call.

        Raises:
            OSError: The connection failed.
        """
        channel = grpc.insecure_channel(address.grpc_target, options=_OPTIONS)
        try:
            grpc.channel_ready_future(channel).result(timeout_s)
        except grpc.FutureTimeoutError:
            channel.close()
            raise TimeoutError(f"no connection to {address} in {timeout_s:g} s") from None
        return cls(address, channel)

    def fileno(self) -> int:
        return self._readable.fileno()

    @property
    def ended(self) -> LinkClosedError | None:
        with self._changed:
            return None if self._arrived else self._status

    @property
    def wants_to_write(self) -> bool:
        return False

    @property
    def unsent_bytes(self) -> int:
        with self._changed:
            return self._writing_bytes + sum(map(len, self._outgoing))

    def send(self, message: bytes) -> None:
        with self._changed:
            if self._status is not None:
                raise self._status
            self._outgoing.append(message)
            self._changed.notify()

    def half_close(self) -> None:
        with self._changed:
            self._half_closed = True
            self._changed.notify()

    def pump(self) -> None:
        if self._status is not None and self.unsent_bytes:
            raise self._status

    def receive(self) -> list[bytes]:
        with suppress(BlockingIOError):
            self._readable.recv(1 << 16)
        with self._changed:
            messages = list(self._arrived)
            self._arrived.clear()
            if not messages and self._status is not None:
                raise self._status
            return messages

    def wait(self, timeout_s: float) -> list[bytes]:
        deadline = clock.monotonic() + timeout_s
        while not (messages := self.receive()):
            left = deadline - clock.monotonic()
            if left <= 0 or not select.select([self], [], [], left)[0]:
                return self.receive()
        return messages

    def put_back(self, messages: list[bytes]) -> None:
        with self._changed:
            self._arrived.extendleft(reversed(messages))
            self._wake()

    def close(self) -> None:
        self._call.cancel()
        self._channel.close()
        with self._changed:
            self._half_closed = True
            self._changed.notify()
            self._readable.close()
            self._signal.close()

    def _requests(self) -> Iterator[bytes]:
        while True:
            with self._changed:
                # grpcio asks for the next message when the previous one is written.
                self._writing_bytes = 0
                while not self._outgoing:
                    if self._half_closed or self._status is not None:
                        return
                    self._changed.wait()
                message = self._outgoing.popleft()
                self._writing_bytes = len(message)
            yield message

    def _read(self) -> None:
        error: grpc.RpcError | None = None
        try:
            for message in self._call:
                with self._changed:
                    self._arrived.append(message)
                    self._wake()
        except grpc.RpcError as caught:
            error = caught
        with self._changed:
            code = self._call.code()
            status = rpc_status.from_call(error) if error is not None else None
            details = read_details(status) if status is not None else Details()
            self._status = LinkClosedError(
                code.name, self._call.details() or "", **details._asdict()
            )
            self._changed.notify()
            self._wake()

    def _wake(self) -> None:
        with suppress(OSError):  # it is full, or closed
            self._signal.send(b"x")
