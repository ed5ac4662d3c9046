"""The span of a run, built from the stored run.

The client chose the ids of the span when it created the run, so the span fits into the client's
trace. Everything else follows from the run alone: a span that is built twice is the same.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags, TraceState

from flowspan_service.domain.runs import RunKind
from flowspan_service.domain.states import TERMINAL_TYPES, Cause, StateType

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

    from flowspan_service.domain.runs import Run

SCOPE = InstrumentationScope("flowspan-service")

CRASHED_ERROR = "flowspan.crashed"
"""The value of error.type in the span of a run whose process died."""
MAX_MESSAGE_CHARS = 4_096

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NOTICEABLE_WAIT_US = 1_000
_LAST_NS = (1 << 63) - 1


def needs_span(run: Run) -> bool:
    """Return True if the service must export the span of a run that has just ended.

    This holds for runs whose process fell silent, which cannot export the span, and for runs whose
    client asks the service for it. Runs that the client did not sample have no span.
    """
    trace = run.trace
    if trace is None or run.state.type not in TERMINAL_TYPES:
        return False
    return trace.exported_by_service or run.cause == Cause.SESSION_LOST


def span_of(run: Run, resource: Resource) -> ReadableSpan | None:
    """Return the span of a run that has ended.

    Args:
        run: The run.
        resource: The resource of the span.

    Returns:
        The span; None if the run is not sampled or its ids are invalid.
    """
    context = _context_of(run)
    if context is None or not context.trace_flags.sampled:
        return None
    start_ns = _nanoseconds(run.created_us)
    ended_us = run.state.time_us if run.ended_us is None else run.ended_us
    return ReadableSpan(
        run.function_name,
        context=context,
        parent=_parent_of(run, context),
        resource=resource,
        attributes=_attributes_of(run),
        events=_events_of(run),
        status=_status_of(run),
        start_time=start_ns,
        end_time=max(start_ns, _nanoseconds(ended_us)),
        instrumentation_scope=SCOPE,
    )


def _nanoseconds(at_us: int) -> int:
    """Return the time, capped at the largest that OTLP can carry: years can be up to 9999."""
    return min(at_us * 1000, _LAST_NS)


def _context_of(run: Run) -> SpanContext | None:
    if run.trace is None:
        return None
    match = _TRACEPARENT.fullmatch(run.trace.traceparent)
    if match is None:
        return None
    context = SpanContext(
        int(match[1], 16),
        int(match[2], 16),
        is_remote=False,
        trace_flags=TraceFlags(int(match[3], 16)),
        trace_state=_state_of(run.trace.tracestate),
    )
    return context if context.is_valid else None


def _state_of(text: str) -> TraceState:
    return TraceState.from_header([text]) if text else TraceState()


def _parent_of(run: Run, own: SpanContext) -> SpanContext | None:
    text = run.trace.parent_span_id if run.trace is not None else ""
    if not text:
        return None
    parent_id = int(text, 16)
    if not parent_id:
        return None
    return SpanContext(own.trace_id, parent_id, is_remote=True, trace_flags=own.trace_flags)


def _attributes_of(run: Run) -> dict[str, str | int | bool | tuple[str, ...]]:
    """Return the attributes of the client's own span that the service knows."""
    attributes: dict[str, str | int | bool | tuple[str, ...]] = {
        "flowspan.run.id": run.id,
        "flowspan.run.kind": "flow" if run.kind == RunKind.FLOW else "task",
        "flowspan.attempts": run.attempt if run.started_us is not None else 0,
        "flowspan.state.type": StateType(run.state.type).name,
        "flowspan.state.name": run.state.name,
    }
    if run.run_name:
        attributes["flowspan.run.name"] = run.run_name
    if run.tags:
        attributes["flowspan.tags"] = run.tags
    if run.state.type == StateType.CANCELLED:
        attributes["flowspan.cancelled"] = True
    if run.cause == Cause.SESSION_LOST:
        attributes["flowspan.span.synthetic"] = True
        attributes["error.type"] = CRASHED_ERROR
    elif _is_error(run):
        attributes["error.type"] = run.state.name
    return attributes


def _events_of(run: Run) -> tuple[Event, ...]:
    if run.started_us is None or run.started_us - run.created_us < _NOTICEABLE_WAIT_US:
        return ()
    waited_s = (run.started_us - run.created_us) / 1e6
    started_ns = _nanoseconds(run.started_us)
    return (Event("flowspan.running", {"flowspan.waited_s": waited_s}, started_ns),)


def _status_of(run: Run) -> Status:
    if not _is_error(run):
        return Status(StatusCode.UNSET)
    return Status(StatusCode.ERROR, (run.state.message or run.state.name)[:MAX_MESSAGE_CHARS])


def _is_error(run: Run) -> bool:
    return run.state.type in {StateType.FAILED, StateType.CRASHED}
