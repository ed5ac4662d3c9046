"""Connections to receivers: OTLP over gRPC."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import grpc

from flowspan_service.domain.otlp_receivers import Signal
from flowspan_service.transports.otlp_settings import DEFLATE, GZIP, MAX_ANSWER_BYTES

if TYPE_CHECKING:
    from flowspan_service.transports.otlp_settings import RequestSettings

_METHODS = {
    Signal.TRACES: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    Signal.LOGS: "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    Signal.METRICS: "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}
_OPTIONS = (
    # Reconnect to a restarted receiver within seconds; gRPC's default limit is two minutes.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
)
_MAX_DETAILS = 200
"""The maximum length of a receiver's reason in an error."""
_COMPRESSIONS = {GZIP: grpc.Compression.Gzip, DEFLATE: grpc.Compression.Deflate}


class GrpcConnection:
    """A channel that opens with the first request.

    Args:
        signal: The kind of data.
        url: The scheme and the authority of the receiver.
        settings: The settings of the requests.
    """

    def __init__(self, signal: Signal, url: str, settings: RequestSettings) -> None:
        self._method = _METHODS[signal]
        self._url = url
        self._settings = settings
        self._lock = threading.Lock()
        self._channel: grpc.Channel | None = None
        self._is_closed = False

    def send(self, request: bytes) -> bytes:
        """Send a request, and return the response.

        Raises:
            OSError: The receiver did not accept it, or a file of a certificate cannot be read.
            ValueError: The connection is closed, or a header or the receiver's URL is malformed.
        """
        # Without (de)serializers, gRPC accepts and returns bytes.
        call: grpc.UnaryUnaryMultiCallable[Any, Any] = self._open().unary_unary(self._method)
        settings = self._settings
        try:
            answer: bytes = call(request, timeout=settings.timeout_s, metadata=settings.headers)
        except grpc.RpcError as error:
            details = str(error.details())[:_MAX_DETAILS]
            raise OSError(f"{error.code().name}: {details}") from None
        return answer

    def close(self) -> None:
        """Close the channel, and abort a request in flight."""
        with self._lock:
            self._is_closed = True
            if self._channel is not None:
                self._channel.close()

    def _open(self) -> grpc.Channel:
        with self._lock:
            if self._is_closed:
                raise ValueError("the connection is closed")
            if self._channel is None:
                self._channel = self._new_channel()
            return self._channel

    def _new_channel(self) -> grpc.Channel:
        settings, parts = self._settings, urlsplit(self._url)
        compression = _COMPRESSIONS.get(settings.compression)
        if parts.scheme != "https":
            return grpc.insecure_channel(parts.netloc, options=_OPTIONS, compression=compression)
        chain = settings.client_certificate
        credentials = grpc.ssl_channel_credentials(
            root_certificates=_read(settings.certificate),
            private_key=_read(chain and (settings.client_key or chain)),
            certificate_chain=_read(chain),
        )
        return grpc.secure_channel(
            parts.netloc, credentials, options=_OPTIONS, compression=compression
        )


def _read(path: str) -> bytes | None:
    return Path(path).read_bytes() if path else None
