"""The interface of a report stream, which the reporter requires of its transport.

`flowspan.reporter.transport.stream.H2Transport` is the implementation in use. A second one over
grpcio (`tests/support/grpcio_transport.py`) passes the same contract tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from flowspan.connection.address import Address
    from flowspan.reporter.transport.stream import LinkClosedError


class ReportTransport(Protocol):
    """One call of `ReportService.Report`: an ordered stream of messages in each direction.

    A message is a serialized `ReportRequest` (sent) or `ReportResponse` (received). Only one thread
    may use a transport at a time, and only `wait` blocks. If the stream has ended, methods raise
    LinkClosedError with the gRPC status, always the same one.
    """

    @classmethod
    def connect(cls, address: Address, *, timeout_s: float) -> Self:
        """Connect to the service and begin the call.

        Raises:
            OSError: The connection failed.
        """

    @property
    def address(self) -> Address:
        """The address of the service."""

    def fileno(self) -> int:
        """Return a descriptor that is readable if `receive` has news, for selectors."""

    @property
    def ended(self) -> LinkClosedError | None:
        """The reason why the stream has ended; None while it is open."""

    @property
    def wants_to_write(self) -> bool:
        """True if `pump` should be called as soon as the descriptor is writable."""

    @property
    def unsent_bytes(self) -> int:
        """Number of message bytes that were not handed to the connection yet."""

    def send(self, message: bytes) -> None:
        """Queue a message and write as much as possible without blocking.

        Raises:
            LinkClosedError: The stream has ended.
        """

    def half_close(self) -> None:
        """Close the sending side of the stream after the queued messages.

        Raises:
            LinkClosedError: The stream has ended.
        """

    def pump(self) -> None:
        """Write as much of the queued messages as possible without blocking.

        Raises:
            LinkClosedError: The stream has ended.
        """

    def receive(self) -> list[bytes]:
        """Return the messages that have arrived, in order.

        Raises:
            LinkClosedError: The stream has ended, and earlier calls returned all its messages.
        """

    def wait(self, timeout_s: float) -> list[bytes]:
        """Wait for messages as `receive` returns them; return an empty list at the timeout.

        Raises:
            LinkClosedError: The stream has ended.
        """

    def put_back(self, messages: list[bytes]) -> None:
        """Return messages to the transport, for the next `receive`."""

    def close(self) -> None:
        """Close the connection; queued messages that were not written are lost."""
