"""Plain senders of spans over OTLP: gRPC and HTTP.

They send nothing but the request: no headers and no certificates of the service's environment. A
server over TLS must have a certificate of an authority that the system trusts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import grpc
import structlog

from flowspan_service.domain.sessions import OTLP_GRPC

if TYPE_CHECKING:
    from typing import TypeAlias

    from flowspan_service.loops.span_senders import RequestSender

    _Stub: TypeAlias = "grpc.UnaryUnaryMultiCallable[Any, Any]"

log = structlog.get_logger("flowspan.spans")

TIMEOUT_S = 10.0
_EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def span_sender(protocol: str, url: str) -> RequestSender:
    """Return a sender of spans to a receiver.

    Args:
        protocol: OTLP_GRPC or OTLP_HTTP.
        url: For gRPC its scheme and authority, for HTTP its whole URL.
    """
    if protocol == OTLP_GRPC:
        return GrpcSender(url)
    from flowspan_service.transports.otlp_http import HttpSender  # noqa: PLC0415 - start-up cost

    return HttpSender(url, TIMEOUT_S)


class GrpcSender:
    """Sends requests over gRPC.

    Args:
        url: The scheme and the authority of the receiver.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme == "https":
            credentials = grpc.ssl_channel_credentials()
            self._channel = grpc.secure_channel(parts.netloc, credentials)
        else:
            self._channel = grpc.insecure_channel(parts.netloc)
        self._export: _Stub = self._channel.unary_unary(_EXPORT)

    def send(self, body: bytes) -> bool:
        """Send a request; return True if it was accepted. May block for ten seconds."""
        try:
            self._export(body, timeout=TIMEOUT_S)
        except (grpc.RpcError, ValueError) as error:  # ValueError: the channel was closed
            log.debug("otlp_request_failed", error=str(error))
            return False
        return True

    def close(self) -> None:
        """Close the connection, and abort a request in flight."""
        self._channel.close()
