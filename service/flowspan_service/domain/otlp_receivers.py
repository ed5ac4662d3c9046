"""The receivers of what the service exports over OTLP: its own, and those that clients name."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from flowspan_service.domain.sessions import OTLP_GRPC, OTLP_HTTP

if TYPE_CHECKING:
    from flowspan_service.domain.sessions import OtlpTarget, SpanSource

_DEFAULT_PORTS = {"http": 80, "https": 443}
_USUAL_PORTS = {OTLP_GRPC: 4317, OTLP_HTTP: 4318}


class Signal(StrEnum):
    """A kind of data, by its name in the paths of OTLP over HTTP."""

    TRACES = "traces"
    LOGS = "logs"
    METRICS = "metrics"


class Receiver(NamedTuple):
    """A receiver of one signal.

    Attributes:
        protocol: OTLP_GRPC or OTLP_HTTP.
        url: For gRPC its scheme and authority, for HTTP its whole URL.
        is_own: True for the receiver of the service: it gets the headers and the certificates of
            the service's environment, and is never given up.
    """

    protocol: str
    url: str
    is_own: bool = False

    @property
    def shown(self) -> str:
        """The URL for logs: without user and password."""
        parts = urlsplit(self.url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

    @property
    def hint(self) -> str:
        """The probable reason why nothing arrives there; empty if unknown."""
        other = OTLP_HTTP if self.protocol == OTLP_GRPC else OTLP_GRPC
        place = place_of(self.url)
        if place is None or place[2] != _USUAL_PORTS[other]:
            return ""
        return (
            f"port {_USUAL_PORTS[other]} is usually that of {other}, and this is {self.protocol}: "
            f"set OTEL_EXPORTER_OTLP_PROTOCOL={other}"
            + (f", or --otlp-protocol {other}" if self.is_own else "")
        )


class Receivers:
    """Decides where the data of a session goes.

    Args:
        signal: TRACES or LOGS.
        own: The receiver of the service; None for none.
        allows_clients: True if the data goes to the receivers that clients name.
    """

    def __init__(
        self, signal: Signal, own: Receiver | None = None, *, allows_clients: bool = False
    ) -> None:
        self.own = own
        self.allows_clients = allows_clients
        self._signal = signal

    @property
    def has_any(self) -> bool:
        """True if the data of some session can have a receiver."""
        return self.own is not None or self.allows_clients

    def of(self, source: SpanSource | None) -> Receiver | None:
        """Return the receiver for a session; None without one."""
        return self.of_target(source.target if source is not None else None)

    def of_target(self, target: OtlpTarget | None) -> Receiver | None:
        """Return the receiver for a session whose client named these; None without one."""
        if target is None or not self.allows_clients:
            return self.own
        url = target.logs_url if self._signal == Signal.LOGS else target.traces_url
        return self._named(target.protocol, url) if url else self.own

    def _named(self, protocol: str, url: str) -> Receiver:
        own = self.own
        if own is not None and own.protocol == protocol:
            place = place_of(own.url)
            if place is not None and place == place_of(url):
                return own  # with its headers
        return Receiver(protocol, url)


def url_at(endpoint: str, protocol: str, signal: Signal) -> str:
    """Return the URL of a signal at an endpoint for all signals."""
    if protocol == OTLP_GRPC:
        return endpoint
    base, mark, query = endpoint.partition("?")
    return f"{base.rstrip('/')}/v1/{signal}{mark}{query}"


def place_of(url: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port; None for a text that is no URL of HTTP."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or not url.isprintable():
        return None
    return parts.scheme, parts.hostname, port or _DEFAULT_PORTS[parts.scheme]
