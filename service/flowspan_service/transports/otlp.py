"""Connections to receivers of spans, logs and metrics: OTLP over gRPC and HTTP.

Only the service's own receiver gets the headers and certificates of the environment. A receiver
that a client names gets nothing but the requests. Over TLS, it must have a certificate of an
authority that the system trusts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan_service.domain.sessions import OTLP_GRPC
from flowspan_service.transports.otlp_settings import RequestSettings, own_settings, with_user_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowspan_service.domain.otlp_receivers import Receiver, Signal
    from flowspan_service.loops.otlp_connections import Connection


class OtlpConnections:
    """Connects to receivers (see `otlp_connections.Connect`).

    Args:
        environ: The environment of the service, for its own receivers.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def __call__(self, signal: Signal, receiver: Receiver) -> Connection:
        """Return a connection to a receiver of a signal; nothing is sent yet."""
        url, settings = receiver.url, RequestSettings()
        if receiver.is_own:
            url, settings = with_user_of(url, own_settings(signal, self._environ))
        if receiver.protocol == OTLP_GRPC:
            from flowspan_service.transports.otlp_grpc import GrpcConnection  # noqa: PLC0415 - one

            return GrpcConnection(signal, url, settings)
        from flowspan_service.transports.otlp_http import HttpConnection  # noqa: PLC0415 - of both

        return HttpConnection(url, settings)
