"""Trace contexts of runs: checks and conversions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flowspan.v1 import trace_pb2
from flowspan_service.api import limits
from flowspan_service.api.checks import check_hex, check_required_text, check_text, invalid, shown
from flowspan_service.domain.errors import TooLargeError
from flowspan_service.domain.runs import TraceContext

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_TRACEPARENT: Callable[[str], object] = re.compile(
    r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"
).fullmatch


def check_trace(trace: trace_pb2.TraceContext, field: str) -> None:
    """Check a trace context."""
    if not _TRACEPARENT(trace.traceparent):
        raise invalid(
            f"{field}.traceparent", f"{shown(trace.traceparent)} is not a W3C traceparent"
        )
    check_text(trace.tracestate, f"{field}.tracestate", limits.TRACESTATE)
    check_hex(trace.parent_span_id, f"{field}.parent_span_id", 16)


def check_resource(resource: Mapping[str, str], field: str) -> None:
    """Check the OpenTelemetry resource of a client."""
    if len(resource) > limits.RESOURCE_COUNT:
        raise TooLargeError(
            f"{field}: {len(resource)} attributes exceed the limit of {limits.RESOURCE_COUNT}",
            field=field,
        )
    for key, value in resource.items():
        check_required_text(key, f"{field} (a key)", limits.RESOURCE_KEY)
        check_text(value, f"{field}[{shown(key)}]", limits.RESOURCE_VALUE)


def new_trace(wire: trace_pb2.TraceContext) -> TraceContext:
    """Return the trace context of a message."""
    return TraceContext(
        wire.traceparent, wire.tracestate, wire.parent_span_id, wire.exported_by_service
    )


def trace_message(trace: TraceContext | None) -> trace_pb2.TraceContext | None:
    """Return the message of a trace context; None for None."""
    if trace is None:
        return None
    return trace_pb2.TraceContext(
        traceparent=trace.traceparent,
        tracestate=trace.tracestate,
        parent_span_id=trace.parent_span_id,
        exported_by_service=trace.exported_by_service,
    )
