"""Propagation of the trace context between processes, by W3C Trace Context.

Inside a process the context travels with `contextvars`. Between processes it travels as text, in a
*carrier*: a dict with the keys of the W3C recommendation (https://www.w3.org/TR/trace-context/),
or the environment variables TRACEPARENT and TRACESTATE. Baggage is not propagated.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import SpanContext, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from flowspan.core.limits import MAX_TRACESTATE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opentelemetry.context import Context

_propagator = TraceContextTextMapPropagator()


def traceparent(span_context: SpanContext) -> str:
    """Format a span context as a W3C traceparent."""
    return (
        f"00-{span_context.trace_id:032x}-{span_context.span_id:016x}"
        f"-{span_context.trace_flags & 0xFF:02x}"
    )


def span_context(traceparent: str) -> SpanContext:
    """Parse a traceparent written by `traceparent`."""
    _, trace_id, span_id, flags = traceparent.split("-")
    return SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=TraceFlags(int(flags, 16))
    )


def tracestate(span_context: SpanContext) -> str:
    """Return the W3C tracestate of a span; usually empty.

    A tracestate above the service's limit is dropped. The recommendation requires support for 512
    characters, and allows dropping a longer one.
    """
    header = span_context.trace_state.to_header() if span_context.trace_state else ""
    return header if len(header) <= MAX_TRACESTATE_BYTES else ""


def inject(carrier: dict[str, str] | None = None) -> dict[str, str]:
    """Write the current span into a carrier, for another process.

    Args:
        carrier: The dict to write to; a new one by default.

    Returns:
        The carrier, with ``traceparent`` and, if there is one, ``tracestate``; unchanged if no span
        is current.
    """
    carrier = {} if carrier is None else carrier
    _propagator.inject(carrier)
    return carrier


def inject_environ(environ: dict[str, str]) -> dict[str, str]:
    """Add the current span to the environment for a child process.

    Returns:
        A copy of the environment with TRACEPARENT and TRACESTATE, which replace those of any older
        trace.
    """
    result = {name: text for name, text in environ.items() if name not in _VARIABLES}
    result.update((name.upper(), text) for name, text in inject().items())
    return result


def extract(carrier: Mapping[str, str]) -> Context:
    """Return the OpenTelemetry context in a carrier, on top of the current one.

    Keys may be in lower or upper case. A malformed carrier results in the current context, as W3C
    requires.
    """
    current = otel_context.get_current()
    lower = {name.lower(): text for name, text in carrier.items() if name.lower() in _KEYS}
    if not lower:
        return current
    return _propagator.extract(lower, context=current)


@contextmanager
def continued(carrier: Mapping[str, str]) -> Iterator[None]:
    """Make runs and spans within the block children of the carrier's span."""
    token = otel_context.attach(extract(carrier))
    try:
        yield
    finally:
        otel_context.detach(token)


def environ_context(environ: Mapping[str, str]) -> Context | None:
    """Return the context in which this process was started (TRACEPARENT), or None."""
    if "TRACEPARENT" not in environ:
        return None
    carrier = {name: environ[name] for name in _VARIABLES if name in environ}
    context = extract(carrier)
    if not trace.get_current_span(context).get_span_context().is_valid:
        return None
    return context


_KEYS = frozenset({"traceparent", "tracestate"})
_VARIABLES = ("TRACEPARENT", "TRACESTATE")
