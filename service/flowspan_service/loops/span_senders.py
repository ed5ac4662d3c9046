"""The sending of spans: runs become spans, spans become requests, and a connection takes these."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import structlog
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace.export import SpanExportResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan

    from flowspan_service.domain.runs import Run
    from flowspan_service.loops.otlp_connections import Connection
    from flowspan_service.loops.span_batches import SpanBatches

log = structlog.get_logger("flowspan.spans")


class Sink(Protocol):
    """A receiver of spans, such as an exporter of OpenTelemetry."""

    def export(self, spans: Sequence[ReadableSpan], /) -> SpanExportResult:
        """Send the spans; may block for seconds."""
        ...

    def shutdown(self) -> None:
        """Close the sink, and abort an export in flight."""
        ...


class SpanSender:
    """Makes the spans of runs, and sends them to a sink (see `span_lanes.Sender`).

    Args:
        batches: Makes the spans.
        sink: Sends them.
    """

    def __init__(self, batches: SpanBatches, sink: Sink) -> None:
        self._batches = batches
        self._sink = sink

    def send(self, runs: Sequence[Run]) -> bool:
        """Send the spans of the runs; return True if the receiver accepted all."""
        accepted = SpanExportResult.SUCCESS
        return all(self._sink.export(spans) is accepted for spans in self._batches.of(runs))

    def close(self) -> None:
        """Close the connection, and abort an export in flight."""
        self._sink.shutdown()


class SpanSink:
    """Sends spans over a connection.

    Args:
        connection: The connection to the receiver.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def export(self, spans: Sequence[ReadableSpan], /) -> SpanExportResult:
        """Send the spans; may block for seconds."""
        request = encode_spans(spans).SerializeToString()
        try:
            self._connection.send(request)
        except Exception as error:  # noqa: BLE001 - whatever it is, the spans are sent again
            log.debug("otlp_request_failed", error=str(error))
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Close the connection."""
        self._connection.close()
