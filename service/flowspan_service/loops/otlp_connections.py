"""The connections to receivers, which the transports make for the loops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from flowspan_service.domain.otlp_receivers import Receiver, Signal


class Connection(Protocol):
    """A connection to a receiver of one signal."""

    def send(self, request: bytes) -> bytes:
        """Send a request, such as an ExportTraceServiceRequest; may block for seconds.

        Returns:
            The response, such as an ExportTraceServiceResponse; empty if it was too long.

        Raises:
            Exception: The receiver did not accept it.
        """
        ...

    def close(self) -> None:
        """Close the connection, and abort a request in flight if it can."""
        ...


Connect: TypeAlias = "Callable[[Signal, Receiver], Connection]"
"""Returns a connection to a receiver of a signal; nothing is sent yet."""


def suppress_instrumentation() -> None:
    """Keep an instrumented gRPC or HTTP library from tracing the exports of this thread."""
    # OpenTelemetry is slow to import and seldom needed.
    from opentelemetry.context import attach, set_value  # noqa: PLC0415 - start-up cost

    attach(set_value("suppress_instrumentation", value=True))
