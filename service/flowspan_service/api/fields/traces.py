"""Trace contexts of runs: checks and conversions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flowspan.v1 import trace_pb2
from flowspan_service.api import limits
from flowspan_service.api.fields.checks import (
    check_hex,
    check_required_text,
    check_text,
    invalid,
    shown,
)
from flowspan_service.domain.errors import TooLargeError
from flowspan_service.domain.run_context import MEMBER
from flowspan_service.domain.runs import TraceContext
from flowspan_service.domain.sessions import OTLP_GRPC, OTLP_PROTOCOLS, OtlpTarget

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


_TRACEPARENT: Callable[[str], object] = re.compile(
    r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"
).fullmatch


_SPAN: Callable[[str], re.Match[str] | None] = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
).fullmatch
"""A traceparent that names a span. Versions after 00 may have further fields."""
_TRACESTATE: Callable[[str], object] = re.compile(r"[\x20-\x7e]*").fullmatch


def check_trace(trace: trace_pb2.TraceContext, field: str) -> None:
    """Check a trace context."""
    if not _TRACEPARENT(trace.traceparent):
        raise invalid(
            f"{field}.traceparent", f"{shown(trace.traceparent)} is not a W3C traceparent"
        )
    check_text(trace.tracestate, f"{field}.tracestate", limits.TRACESTATE)
    check_hex(trace.parent_span_id, f"{field}.parent_span_id", 16)


def check_traceparent(text: str, field: str) -> None:
    """Check the W3C traceparent of a span, or an empty string."""
    if text and _normal(text) is None:
        raise invalid(field, f"{shown(text)} is not a W3C traceparent")


def span_of(traceparent: str, headers: Mapping[str, str | bytes]) -> tuple[str, str] | None:
    """Return the span that started a program, as a traceparent and a tracestate; None for none.

    Args:
        traceparent: The traceparent in the request, which was checked; empty without one.
        headers: The headers of the call (`Call.metadata`), which name a span otherwise. As the
            standard demands, headers of the wrong form are ignored: often they are not the
            caller's, but a proxy's.
    """
    if traceparent:
        found = _normal(traceparent)
        return None if found is None else (found, "")
    header, state = headers.get("traceparent"), headers.get("tracestate")
    found = _normal(header.strip()) if isinstance(header, str) else None
    if found is None:
        return None
    return found, _foreign_members(state) if isinstance(state, str) else ""


def _normal(traceparent: str) -> str | None:
    """Return a traceparent as version 00; None if it names no span."""
    match = _SPAN(traceparent)
    if match is None or (match[1] == "00" and match[5]):
        return None
    return f"00-{match[2]}-{match[3]}-{match[4]}"


def _foreign_members(tracestate: str) -> str:
    """Return a tracestate without our own member, which names the caller and not the new run."""
    members = [member.strip() for member in tracestate.split(",")]
    kept = [member for member in members if member and member.partition("=")[0] != MEMBER]
    text = ",".join(kept)
    return text if len(text) <= limits.TRACESTATE and _TRACESTATE(text) else ""


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


def check_otlp_target(target: trace_pb2.OtlpTarget, field: str) -> None:
    """Check the receivers of a client's spans and logs."""
    if target.protocol and target.protocol not in OTLP_PROTOCOLS:
        raise invalid(
            f"{field}.protocol",
            f"{shown(target.protocol)} is not one of {', '.join(OTLP_PROTOCOLS)}",
        )
    for name in ("traces_url", "logs_url"):
        url = getattr(target, name)
        check_text(url, f"{field}.{name}", limits.OTLP_URL)
        if url and not is_receiver(url):
            raise invalid(
                f"{field}.{name}",
                f"{shown(url)} is not the URL of a receiver, such as http://host:4317, "
                "without user, password, query and fragment",
            )


def is_receiver(url: str) -> bool:
    """Return True for the URL of a host over HTTP, without credentials, query and fragment."""
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    extra = parts.query or parts.fragment or "@" in parts.netloc or not url.isprintable()
    return parts.scheme in ("http", "https") and has_host and not extra and " " not in url


def new_otlp_target(wire: trace_pb2.OtlpTarget) -> OtlpTarget | None:
    """Return the receivers in a message; None if it names none."""
    if not (wire.traces_url or wire.logs_url):
        return None
    return OtlpTarget(wire.protocol or OTLP_GRPC, wire.traces_url, wire.logs_url)


def otlp_target_message(target: OtlpTarget | None) -> trace_pb2.OtlpTarget | None:
    """Return the message of receivers; None for None."""
    return None if target is None else trace_pb2.OtlpTarget(**target._asdict())


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
