"""flowspan's OTLP encoder against the official one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
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

from flowspan.telemetry.otlp import encode_head, encode_request, encode_span

RESOURCE = Resource({"service.name": "shop", "process.pid": 7}, schema_url="https://schema/1")
SCOPE = InstrumentationScope("lib", "1.2", "https://schema/2", {"a": 1})


def make_span(**fields: Any) -> ReadableSpan:
    values: dict[str, Any] = {
        "name": "fetch",
        "context": SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(1)),
        "resource": RESOURCE,
        "instrumentation_scope": SCOPE,
        "start_time": 1_700_000_000_000_000_000,
        "end_time": 1_700_000_000_000_000_001,
    }
    return ReadableSpan(**(values | fields))


def ours(*spans: ReadableSpan) -> ExportTraceServiceRequest:
    groups = {}
    for span in spans:
        head = encode_head(span.resource, span.instrumentation_scope)
        groups.setdefault(head, []).append(encode_span(span))
    return in_order(ExportTraceServiceRequest.FromString(encode_request(groups.items())))


def theirs(*spans: ReadableSpan) -> ExportTraceServiceRequest:
    return in_order(encode_spans(spans))


def in_order(request: ExportTraceServiceRequest) -> ExportTraceServiceRequest:
    """Sort the attributes of spans by name: their order has no meaning."""
    for resource_spans in request.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                span.attributes.sort(key=lambda pair: pair.key)
    return request


# Releases of 2025 drop an attribute with the value None; later releases encode it, as we do.
OFFICIAL_KNOWS_NONE = bool(
    encode_spans([make_span(attributes={"none": None})])
    .resource_spans[0]
    .scope_spans[0]
    .spans[0]
    .attributes
)
attribute_values = st.recursive(
    (st.none() if OFFICIAL_KNOWS_NONE else st.nothing())
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab", min_size=1), inner),
    max_leaves=8,
)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(attributes=st.dictionaries(names, attribute_values, max_size=8))
def test_attributes_of_every_type(attributes: dict[str, Any]) -> None:
    span = make_span(attributes=attributes)
    assert ours(span) == theirs(span)


@given(
    name=names,
    trace_id=st.integers(1, 2**128 - 1),
    span_id=st.integers(1, 2**64 - 1),
    kind=st.sampled_from(list(SpanKind)),
    times=st.tuples(st.integers(1, 2**63), st.integers(1, 2**63)),
    status=st.sampled_from([Status(), Status(StatusCode.OK), Status(StatusCode.ERROR, "bad")]),
    is_remote=st.none() | st.booleans(),
)
def test_everything_else_of_a_span(name, trace_id, span_id, kind, times, status, is_remote) -> None:
    parent = None if is_remote is None else SpanContext(trace_id, 5, is_remote=is_remote)
    span = make_span(
        name=name,
        context=SpanContext(
            trace_id,
            span_id,
            is_remote=False,
            trace_state=TraceState([("vendor", "x"), ("b", "y")]),
        ),
        parent=parent,
        kind=kind,
        start_time=times[0],
        end_time=times[1],
        status=status,
    )
    assert ours(span) == theirs(span)


def test_events_and_links() -> None:
    other = SpanContext(1, 2, is_remote=True)
    span = make_span(
        events=[Event("a", None, 5), Event("exception", {"exception.type": "E", "n": 1}, 2**62)],
        links=[Link(other), Link(other, {"k": "v"})],
    )
    assert ours(span) == theirs(span)


def test_the_attributes_of_runs() -> None:
    attributes = {
        "flowspan.run.id": "r1",
        "flowspan.run.kind": "task",
        "flowspan.tags": ("a", "b"),
        "code.line.number": 300,
        "code.function.name": "m.f",
        "flowspan.attempts": 1,
        "flowspan.state.name": "Completed",
        "mine": 1.5,
    }
    for count in (1, 2, 2):
        span = make_span(attributes=attributes | {"flowspan.attempts": count})
        assert ours(span) == theirs(span)


@pytest.mark.parametrize(
    "size", [0, 1, 126, 127, 128, 498, 990, 999, 1_000, 1_023, 1_024, 16_383, 16_384, 70_000]
)
def test_lengths_around_the_steps_of_varints(size: int) -> None:
    span = make_span(name="n" * size, attributes={"k" * max(1, size): "v" * size, "b": b"x" * size})
    assert ours(span) == theirs(span)


def test_several_resources_and_scopes() -> None:
    bare = Resource({})
    spans = [
        make_span(),
        make_span(instrumentation_scope=None),
        make_span(instrumentation_scope=InstrumentationScope("x")),
        make_span(resource=bare),
    ]
    by_head = {
        (
            str(group.resource),
            str(scope.scope),
            len(scope.spans),
            scope.schema_url,
            group.schema_url,
        )
        for group in ours(*spans).resource_spans
        for scope in group.scope_spans
    }
    expected = {
        (
            str(group.resource),
            str(scope.scope),
            len(scope.spans),
            scope.schema_url,
            group.schema_url,
        )
        for group in theirs(*spans).resource_spans
        for scope in group.scope_spans
    }
    assert by_head == expected


def test_text_that_is_no_unicode_is_replaced() -> None:
    (group,) = ours(make_span(name="a\ud800b", attributes={"x": "\udfff"})).resource_spans
    assert group.scope_spans[0].spans[0].name == "a?b"
    assert group.scope_spans[0].spans[0].attributes[0].value.string_value == "?"
