"""The receivers of the spans that the service exports: its own, and those that clients name."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import structlog

from flowspan_service.domain.sessions import OTLP_GRPC, OTLP_HTTP

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowspan_service.config import Config
    from flowspan_service.domain.sessions import OtlpTarget, SpanSource

log = structlog.get_logger("flowspan.spans")

_DEFAULT_PORTS = {"http": 80, "https": 443}
_USUAL_PORTS = {OTLP_GRPC: 4317, OTLP_HTTP: 4318}
_HTTP_PATH = "/v1/traces"


class Receiver(NamedTuple):
    """A receiver of spans.

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
    def hint(self) -> str:
        """The probable reason why nothing arrives there; empty if unknown."""
        other = OTLP_HTTP if self.protocol == OTLP_GRPC else OTLP_GRPC
        place = _place(self.url)
        if place is None or place[2] != _USUAL_PORTS[other]:
            return ""
        return (
            f"port {_USUAL_PORTS[other]} is usually that of {other}, and this is {self.protocol}: "
            f"set OTEL_EXPORTER_OTLP_PROTOCOL={other}"
            + (f", or --otlp-protocol {other}" if self.is_own else "")
        )


class Receivers:
    """Decides where the spans of a run go.

    Args:
        own: The receiver of the service; None for none.
        allows_clients: True if spans go to the receivers that clients name.
    """

    def __init__(self, own: Receiver | None, *, allows_clients: bool) -> None:
        self.own = own
        self.allows_clients = allows_clients

    @property
    def has_any(self) -> bool:
        """True if spans can have a receiver."""
        return self.own is not None or self.allows_clients

    def of(self, source: SpanSource | None) -> Receiver | None:
        """Return the receiver for the spans of a session; None without one."""
        target = source.target if source is not None else None
        if target is None or not target.traces_url or not self.allows_clients:
            return self.own
        return self._named(target)

    def _named(self, target: OtlpTarget) -> Receiver:
        own = self.own
        if own is not None and own.protocol == target.protocol:
            place = _place(own.url)
            if place is not None and place == _place(target.traces_url):
                return own  # with its headers
        return Receiver(target.protocol, target.traces_url)


def receivers_of(config: Config, environ: Mapping[str, str], *, is_private: bool) -> Receivers:
    """Return the receivers by the settings and the environment of the service.

    Args:
        config: The settings.
        environ: The environment.
        is_private: True if only this machine can reach the service.
    """
    allows_clients = is_private if config.client_otlp == "auto" else config.client_otlp == "always"
    return Receivers(own_receiver(config, environ), allows_clients=allows_clients)


def own_receiver(config: Config, environ: Mapping[str, str]) -> Receiver | None:
    """Return the receiver of the service; None if none is configured.

    It is the one of ``--otlp-endpoint``, or else of the standard OTEL_EXPORTER_OTLP_* variables.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    protocol, url = config.otlp_protocol, config.otlp_endpoint.strip()
    is_base = True
    if not url:
        url = environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "").strip()
        is_base = not url
        url = url or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip()
    if not url:
        return None
    if "://" not in url:
        url = f"http://{url}"
    if _place(url) is None:
        log.warning(
            "otlp_endpoint_invalid",
            reason="the service has no receiver of its own: expected a URL such as "
            "http://localhost:4317 in --otlp-endpoint, FLOWSPAN_OTLP_ENDPOINT or "
            "OTEL_EXPORTER_OTLP_ENDPOINT",
        )
        return None
    if protocol == OTLP_HTTP and is_base:
        url = url.rstrip("/") + _HTTP_PATH
    return Receiver(protocol, url, is_own=True)


def _place(url: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port; None for a text that is no URL of HTTP."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or not url.isprintable():
        return None
    return parts.scheme, parts.hostname, port or _DEFAULT_PORTS[parts.scheme]
