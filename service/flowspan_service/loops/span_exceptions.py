"""Exceptions on spans as log records, if OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN asks for them.

The variable: https://opentelemetry.io/docs/specs/semconv/exceptions/exceptions-logs/. With
``logs``, the records replace the events of the spans; with ``logs/dup``, there are both. It applies
to the service's own receiver, and only if that gets logs, too.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import structlog
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from flowspan_service.loops.log_requests import add_attribute, severity_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
    from opentelemetry.sdk.trace import Event

    from flowspan_service.loops.otlp_connections import Connection
    from flowspan_service.loops.span_senders import Sink

log = structlog.get_logger("flowspan.spans")

EVENT_NAME = "flowspan.run.exception"
"""As in the Python client."""
_EXCEPTION = "exception"
_ERROR = 40
_NAMES = (
    "flowspan.run.id",
    "flowspan.run.name",
    "flowspan.flow.name",
    "flowspan.flow_run.id",
    "flowspan.root_run.id",
    "flowspan.attempt",
)


class ExceptionLogs:
    """A sink of spans that sends their exceptions as log records.

    Args:
        sink: Sends the spans.
        logs: The connection to the receiver of logs.
        keeps_events: True if the spans keep their events as well.
    """

    def __init__(self, sink: Sink, logs: Connection, *, keeps_events: bool) -> None:
        self._sink = sink
        self._logs = logs
        self._keeps_events = keeps_events

    def export(self, spans: Sequence[ReadableSpan], /) -> SpanExportResult:
        """Send the log records, and then the spans; may block for seconds."""
        request = exception_request(spans)
        if request:
            try:
                self._logs.send(request)
            except Exception as error:  # noqa: BLE001 - whatever it is, both are sent again
                log.debug("exceptions_not_sent", error=str(error))
                return SpanExportResult.FAILURE
        if not self._keeps_events:
            spans = [_without_exceptions(span) for span in spans]
        return self._sink.export(spans)

    def shutdown(self) -> None:
        """Close both connections, and abort an export in flight."""
        self._logs.close()
        self._sink.shutdown()


def exception_request(spans: Sequence[ReadableSpan]) -> bytes:
    """Encode an ExportLogsServiceRequest with the exceptions of spans; empty if there are none.

    The span of a run and that of its last attempt have the same exception: it is sent once.
    """
    request = ExportLogsServiceRequest()
    groups: dict[int, Any] = {}
    seen: set[tuple[object, ...]] = set()
    for span in spans:
        for event in span.events:
            if event.name != _EXCEPTION or span.context is None:
                continue
            attributes = dict(event.attributes or {})
            key = span.context.trace_id, event.timestamp, *map(str, attributes.values())
            if key in seen:
                continue
            seen.add(key)
            records = groups.get(id(span.resource))
            if records is None:
                records = groups[id(span.resource)] = _add_group(request, span)
            _fill(records.add(), span, event, attributes)
    return request.SerializeToString() if groups else b""


def _add_group(request: ExportLogsServiceRequest, span: ReadableSpan) -> Any:
    """Add the resource and the scope of a span; return the records below."""
    group = request.resource_logs.add()
    for key, value in span.resource.attributes.items():
        add_attribute(group.resource.attributes, key, value)
    scope = group.scope_logs.add()
    if span.instrumentation_scope is not None:
        scope.scope.name = span.instrumentation_scope.name
    return scope.log_records


def _fill(
    record: LogRecord, span: ReadableSpan, event: Event, attributes: Mapping[str, Any]
) -> None:
    context, own = span.context, span.attributes or {}
    assert context is not None  # noqa: S101 - the caller has looked
    record.time_unix_nano = event.timestamp
    record.observed_time_unix_nano = time.time_ns()
    number, text = severity_of(_ERROR)
    record.severity_number = number  # type: ignore[assignment] # an enum of the stubs
    record.severity_text = text
    kind, message = attributes.get("exception.type"), attributes.get("exception.message")
    record.body.string_value = f"{kind}: {message}" if message else str(kind)
    for key in _NAMES:
        if key in own:
            add_attribute(record.attributes, key, own[key])
    for key, value in attributes.items():
        add_attribute(record.attributes, key, value)
    record.trace_id = context.trace_id.to_bytes(16, "big")
    record.span_id = context.span_id.to_bytes(8, "big")
    record.flags = int(context.trace_flags)
    record.event_name = EVENT_NAME


def _without_exceptions(span: ReadableSpan) -> ReadableSpan:
    events = [event for event in span.events if event.name != _EXCEPTION]
    if len(events) == len(span.events):
        return span
    return ReadableSpan(
        span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=span.attributes,
        events=events,
        links=span.links,
        kind=span.kind,
        status=span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )
