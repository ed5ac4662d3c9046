"""Senders of spans: the exporters of OpenTelemetry for the receiver of the service, and plain ones.

The exporters of OpenTelemetry follow the environment of the service: headers, certificates,
timeout, compression. That is for its own receiver only. Receivers that clients name get plain
requests.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace.export import SpanExportResult

from flowspan_service.domain.sessions import OTLP_GRPC

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    from opentelemetry.sdk.trace import ReadableSpan

    from flowspan_service.domain.runs import Run
    from flowspan_service.loops.span_batches import SpanBatches
    from flowspan_service.loops.span_receivers import Receiver


class Sink(Protocol):
    """A receiver of spans, such as an exporter of OpenTelemetry."""

    def export(self, spans: Sequence[ReadableSpan], /) -> SpanExportResult:
        """Send the spans; may block for seconds."""
        ...

    def shutdown(self) -> None:
        """Close the sink, and abort an export in flight."""
        ...


class RequestSender(Protocol):
    """A connection to a receiver that takes encoded requests."""

    def send(self, body: bytes) -> bool:
        """Send a request; return True if it was accepted. May block for seconds."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


RequestSenders: TypeAlias = "Callable[[str, str], RequestSender]"
"""Returns a sender of spans by the protocol and the URL of a receiver."""


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


class PlainSink:
    """Sends spans without headers and certificates of the service's environment.

    Args:
        sender: Sends the requests.
    """

    def __init__(self, sender: RequestSender) -> None:
        self._sender = sender

    def export(self, spans: Sequence[ReadableSpan], /) -> SpanExportResult:
        """Send the spans; may block for seconds."""
        accepted = self._sender.send(encode_spans(spans).SerializeToString())
        return SpanExportResult.SUCCESS if accepted else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """Close the connection."""
        self._sender.close()


def sink_of(receiver: Receiver, senders: RequestSenders) -> Sink:
    """Return a sink to a receiver.

    Args:
        receiver: The receiver.
        senders: Returns plain senders.
    """
    if not receiver.is_own:
        return PlainSink(senders(receiver.protocol, receiver.url))
    # They log each of their tries; the exporter says once that spans wait.
    logging.getLogger("opentelemetry.exporter.otlp").setLevel(logging.CRITICAL)
    logging.getLogger("opentelemetry.exporter.http").setLevel(logging.CRITICAL)
    if receiver.protocol == OTLP_GRPC:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415 - only one
            OTLPSpanExporter as GrpcExporter,
        )

        return GrpcExporter(endpoint=receiver.url)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - of them
        OTLPSpanExporter as HttpExporter,
    )

    return HttpExporter(endpoint=receiver.url)
