"""OTLP over gRPC."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc

from flowspan.telemetry.channel_gate import ChannelGate
from flowspan.telemetry.endpoint import LOGS, METRICS, TRACES, SendError

if TYPE_CHECKING:
    from flowspan.telemetry.endpoint import Target

_METHODS = {
    TRACES: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    LOGS: "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    METRICS: "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}
_OPTIONS = (
    # Reconnect to a restarted receiver within seconds; gRPC's default limit is two minutes.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)

_RETRYABLE = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
"""The retryable codes of https://opentelemetry.io/docs/specs/otlp/#failures."""


class GrpcTransport:
    """A gRPC channel that opens with the first request."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._channel: grpc.Channel | None = None
        self._call: Any = None
        self._gate = ChannelGate()

    def send(self, body: bytes, timeout_s: float) -> bytes:
        """Send a request over the channel."""
        try:
            with self._gate:
                response = self._send(body, timeout_s)
        except grpc.RpcError as error:
            code = error.code()
            msg = self._target.explain(
                f"{code.name}: {error.details()}",
                is_unknown=code is grpc.StatusCode.UNIMPLEMENTED,
            )
            raise SendError(msg, retryable=code in _RETRYABLE) from None
        except OSError as error:  # a certificate's file
            raise SendError(str(error), retryable=False) from None
        return response

    def _send(self, body: bytes, timeout_s: float) -> bytes:
        if self._call is None:
            self._channel = self._open()
            # Without (de)serializers gRPC accepts and returns bytes.
            self._call = self._channel.unary_unary(_METHODS[self._target.signal])
        response: bytes = self._call(body, timeout=timeout_s, metadata=self._target.headers)
        return response

    def reset(self) -> None:
        """Drop the channel without closing it."""
        self._channel = self._call = None

    def close(self) -> None:
        """Close the channel."""
        if self._channel is not None:
            self._channel.close()
        self.reset()

    def _open(self) -> grpc.Channel:
        target = self._target
        compression = grpc.Compression.Gzip if target.gzip else None
        if not target.is_secure:
            return grpc.insecure_channel(
                target.authority, options=_OPTIONS, compression=compression
            )
        credentials = grpc.ssl_channel_credentials(
            root_certificates=_read(target.certificate),
            private_key=_read(target.client_key),
            certificate_chain=_read(target.client_certificate),
        )
        return grpc.secure_channel(
            target.authority, credentials, options=_OPTIONS, compression=compression
        )


def _read(path: str | None) -> bytes | None:
    return None if path is None else Path(path).read_bytes()
