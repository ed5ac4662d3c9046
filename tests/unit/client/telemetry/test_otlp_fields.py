"""flowspan's OTLP encoder, for every field of OTLP's messages.

`test_otlp.py` compares values with the official encoder. These tests enumerate the fields: one that
a newer OTLP adds fails them until it is encoded or listed as not encoded.
"""

from __future__ import annotations

import pytest
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)
from tests.support.fields import possible_fields, set_fields

from flowspan.telemetry.otlp import encode_head, encode_request, encode_span

SPAN = "resource_spans.scope_spans.spans."
NOT_ENCODED = {
    # The SDK does not count them.
    "resource_spans.resource.dropped_attributes_count",
    "resource_spans.scope_spans.scope.dropped_attributes_count",
    # The official encoder omits it, too.
    f"{SPAN}links.trace_state",
}
IN_DEVELOPMENT = {"entity_refs", "key_strindex", "string_value_strindex"}
"""Fields that OTLP marks as in development, or reserves for profiles."""


EVERY_TYPE = {
    "text": "x",
    "flag": True,
    "number": 7,
    "float": 1.5,
    "bytes": b"b",
    "list": ("a", "b"),
    "map": {"inner": "x"},
}


def too_many() -> BoundedAttributes:
    """Return attributes of every type, one of which did not fit."""
    return BoundedAttributes(len(EVERY_TYPE), {"dropped": 1, **EVERY_TYPE})


def full_span() -> ReadableSpan:
    """Return a span with all fields set, including the counts of dropped items."""
    other = SpanContext(1, 2, is_remote=True, trace_state=TraceState([("b", "y")]))
    events: BoundedList[Event] = BoundedList(1)
    links: BoundedList[Link] = BoundedList(1)
    for _ in range(2):
        events.append(Event("event", too_many(), 5))
        links.append(Link(other, too_many()))
    return ReadableSpan(
        "fetch",
        context=SpanContext(
            0xABC,
            0xDEF,
            is_remote=False,
            trace_flags=TraceFlags(1),
            trace_state=TraceState([("vendor", "x")]),
        ),
        parent=SpanContext(0xABC, 5, is_remote=True),
        kind=SpanKind.CLIENT,
        attributes=too_many(),
        events=events,
        links=links,
        status=Status(StatusCode.ERROR, "bad"),
        resource=Resource(EVERY_TYPE, schema_url="https://schema/1"),
        instrumentation_scope=InstrumentationScope("lib", "1", "https://schema/2", EVERY_TYPE),
        start_time=1,
        end_time=2,
    )


def encoded(span: ReadableSpan) -> ExportTraceServiceRequest:
    head = encode_head(span.resource, span.instrumentation_scope)
    return ExportTraceServiceRequest.FromString(encode_request([(head, [encode_span(span)])]))


def test_a_full_span_is_encoded_as_by_the_official_encoder() -> None:
    assert encoded(full_span()) == encode_spans([full_span()])


@pytest.mark.skipif(
    not BoundedAttributes(attributes={"map": {"key": 1}}),
    reason="this release of OpenTelemetry refuses attributes that are maps",
)
def test_promise_every_field_of_otlp_is_encoded_or_listed() -> None:
    written = set_fields(encoded(full_span()))
    possible = possible_fields(ExportTraceServiceRequest.DESCRIPTOR)
    missing = possible - written
    assert {path for path in missing if IN_DEVELOPMENT.isdisjoint(path.split("."))} == NOT_ENCODED
