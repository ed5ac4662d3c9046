"""The receivers of the logs that the service exports: its own, and those that clients name."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from flowspan_service.domain.sessions import OtlpTarget

_DEFAULT_PORTS = {"http": 80, "https": 443}


class LogReceiver(NamedTuple):
    """A receiver of logs."""

    protocol: str
    """OTLP_GRPC or OTLP_HTTP."""
    url: str
    """For gRPC the scheme and the authority, for HTTP the whole URL."""
    is_own: bool = False
    """True for the receiver of the service. It gets the headers and certificates of the service's
    environment, and is never given up."""


class LogReceivers:
    """Decides where the logs of a session go.

    Args:
        own: The receiver of the service; None for none.
        allows_clients: True if logs go to the receivers that clients name.
    """

    def __init__(self, own: LogReceiver | None = None, *, allows_clients: bool = False) -> None:
        self._own = own
        self._allows_clients = allows_clients

    @property
    def are_any(self) -> bool:
        """True if the logs of some session may be exported."""
        return self._own is not None or self._allows_clients

    def of(self, target: OtlpTarget | None) -> LogReceiver | None:
        """Return the receiver for a session whose client named these; None without a receiver."""
        if target is None or not target.logs_url or not self._allows_clients:
            return self._own
        named = LogReceiver(target.protocol, target.logs_url)
        own = self._own
        if own is not None and own.protocol == named.protocol and _place(own) == _place(named):
            return own  # with its headers
        return named


def _place(receiver: LogReceiver) -> tuple[str, str, int] | None:
    """Return scheme, host and port; None for a text that is no URL."""
    try:
        parts = urlsplit(receiver.url)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    except ValueError:
        return None
    return parts.scheme, parts.hostname or "", port
