"""Propagation of the trace context between processes, by W3C Trace Context.

Inside a process the context travels with `contextvars`. Between processes it travels as text, in a
*carrier*: a dict with the keys of the W3C recommendation (https://www.w3.org/TR/trace-context/),
or the environment variables TRACEPARENT and TRACESTATE. Baggage is not propagated.

The tracestate of a run's span contains its run context (`flowspan.core.run_context`).
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import UUID

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import SpanContext, TraceFlags, TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from flowspan.connection.run_context import parse_or_warn
from flowspan.core.limits import MAX_TRACESTATE_BYTES
from flowspan.core.run import current_run
from flowspan.core.run_context import (
    HEADER,
    MEMBER,
    VARIABLE,
    called_by,
    format_run_context,
    with_member,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opentelemetry.context import Context

    from flowspan.core.events import RunRecord
    from flowspan.core.run_context import OuterRun
    from flowspan.core.span import RunSpan

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


def naming_run(span_context: SpanContext, record: RunRecord) -> SpanContext:
    """Return the context of a run's span with the run context in its tracestate."""
    text = format_run_context(record.id, record.root_run_id)
    return SpanContext(
        span_context.trace_id,
        span_context.span_id,
        is_remote=span_context.is_remote,
        trace_flags=span_context.trace_flags,
        trace_state=TraceState(with_member(span_context.trace_state.items(), text)),
    )


def tracestate(span_context: SpanContext) -> str:
    """Return the W3C tracestate of a span without a run context; usually empty.

    A tracestate above the service's limit is dropped. The recommendation requires support for 512
    characters, and allows dropping a longer one.
    """
    state = span_context.trace_state
    header = ",".join(f"{key}={value}" for key, value in state.items() if key != MEMBER)
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


def inject_run(span: RunSpan | None, record: RunRecord) -> dict[str, str]:
    """Return the current span and the run context of a run as a carrier.

    Args:
        span: The span of the run, in case the thread has no current span or one of another trace;
            None if the run is not traced.
        record: The run.

    Returns:
        A dict with ``traceparent`` and ``tracestate``; empty if there is no span.
    """
    here = trace.get_current_span().get_span_context()
    if span is not None and span.own_ids()[0] != f"{here.trace_id:032x}":
        token = span.enter()
        here = trace.get_current_span().get_span_context()
        span.leave(token)
    if not here.is_valid:
        return {}
    state = naming_run(here, record).trace_state
    return {"traceparent": traceparent(here), "tracestate": state.to_header()}


def inject_environ(environ: dict[str, str]) -> dict[str, str]:
    """Add the current span and the current run to the environment for a child process.

    Returns:
        A copy of the environment with TRACEPARENT, TRACESTATE and FLOWSPAN_RUN, which replace those
        of any older trace and run.
    """
    run = current_run.get()
    outdated = _VARIABLES if run is None else (*_VARIABLES, VARIABLE)
    result = {name: text for name, text in environ.items() if name not in outdated}
    result.update((name.upper(), text) for name, text in inject().items())
    if run is not None:
        result[VARIABLE] = format_run_context(run.record.id, run.record.root_run_id)
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
    """Make runs and spans within the block children of the carrier's run and span.

    The run is the one of the key ``flowspan-run``, or else of the ``tracestate``.
    """
    token = otel_context.attach(extract(carrier))
    text = next((text for name, text in carrier.items() if name.lower() == HEADER), "")
    caller = called_by.set(parse_or_warn(text, HEADER))
    try:
        yield
    finally:
        called_by.reset(caller)
        otel_context.detach(token)


def current_member() -> str | None:
    """Return the run context in the tracestate of the current span; None without one."""
    return trace.get_current_span().get_span_context().trace_state.get(MEMBER)


def context_below(outer: OuterRun) -> Context:
    """Return a context whose span is that of a run in another process, which has no known span.

    Its ids follow from those of the run, as for every run without a trace context of its own
    (`proto/flowspan/v1/trace.proto`).
    """
    parent = SpanContext(
        UUID(outer.root_run_id).int,
        UUID(outer.run_id).int & _SPAN_ID_BITS,
        is_remote=True,
        trace_flags=_DERIVED_FLAGS,
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(parent), otel_context.get_current())


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
_SPAN_ID_BITS = (1 << 64) - 1
_DERIVED_FLAGS = TraceFlags(3)
"""Sampled, and with a random trace id."""
