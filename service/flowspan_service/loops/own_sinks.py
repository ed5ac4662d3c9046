"""The sending of what the service tells about itself: its metrics, and its own spans.

Neither is kept after a failure, so a request that failed is tried again for some seconds.

OpenTelemetry is slow to import and seldom needed, so `loops.own_telemetry` imports this late.
"""

from __future__ import annotations

import socket
import threading
import time
import uuid
from typing import TYPE_CHECKING

import structlog
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.metrics.export import MetricExportResult
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.sdk.metrics.export import MetricsData
    from opentelemetry.sdk.trace import ReadableSpan

    from flowspan_service.loops.otlp_connections import Connection

log = structlog.get_logger("flowspan.telemetry")

OWN_SERVICE_NAME = "flowspan-service"
RETRY_S = 10.0
"""The time for which a failed request is tried again."""
FIRST_PAUSE_S = 0.5


class _Tries:
    """Sends requests, and tries failed ones again.

    Args:
        connection: The connection to the receiver.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._closed = threading.Event()

    def send(self, request: bytes) -> bool:
        """Send a request; return True if it was accepted. May block for twenty seconds."""
        until_s = time.monotonic() + RETRY_S
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                self._connection.send(request)
            except Exception as error:  # noqa: BLE001 - the caller logs what matters
                log.debug("otlp_request_failed", error=str(error))
            else:
                return True
            if time.monotonic() + pause_s > until_s or self._closed.wait(pause_s):
                return False
            pause_s *= 2

    def close(self) -> None:
        """Close the connection, and end the tries."""
        self._closed.set()
        self._connection.close()


class OwnSpanSink(SpanExporter):
    """Sends the service's own spans.

    Args:
        connection: The connection to their receiver.
    """

    def __init__(self, connection: Connection) -> None:
        self._tries = _Tries(connection)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send the spans; may block for seconds."""
        accepted = self._tries.send(encode_spans(spans).SerializeToString())
        return SpanExportResult.SUCCESS if accepted else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """Close the connection, and end an export in flight."""
        self._tries.close()


class MetricSink:
    """Sends the metrics (see `metric_exporter.Sink`).

    Args:
        connection: The connection to their receiver.
    """

    def __init__(self, connection: Connection) -> None:
        self._tries = _Tries(connection)

    def export(self, metrics_data: MetricsData, /) -> MetricExportResult:
        """Send the metrics; may block for seconds."""
        accepted = self._tries.send(encode_metrics(metrics_data).SerializeToString())
        return MetricExportResult.SUCCESS if accepted else MetricExportResult.FAILURE

    def shutdown(self) -> None:
        """Close the connection, and end an export in flight."""
        self._tries.close()


def own_resource(environ: Mapping[str, str], *, version: str, is_embedded: bool) -> Resource:
    """Return the resource of the service itself.

    Args:
        environ: The environment. Its OTEL_RESOURCE_ATTRIBUTES apply; its OTEL_SERVICE_NAME, too,
            unless it is that of the program which started the service.
        version: The version of the service.
        is_embedded: True if a program started the service for itself.
    """
    attributes = {
        "service.version": version,
        "service.instance.id": str(uuid.uuid4()),
        "host.name": socket.gethostname(),
    }
    name = environ.get("OTEL_SERVICE_NAME", "").strip()
    attributes[SERVICE_NAME] = OWN_SERVICE_NAME if is_embedded or not name else name
    return Resource.create().merge(Resource(attributes))
