"""The trace contexts of runs whose client has no OpenTelemetry SDK: derived from the ids of runs.

They are derived when they are read, not when the run is created, because the parent may arrive
later than the run. A run with a derived context is stored with an empty traceparent.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from flowspan_service.domain.runs import TraceContext
from flowspan_service.domain.states import TERMINAL_TYPES, Cause

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan_service.domain.runs import Run

MAX_DEPTH = 1_000
"""The maximum number of ancestors that are searched for a trace context."""
_LOST = int(Cause.SESSION_LOST)
_ODD = frozenset("13579bdf")
DERIVED_FLAGS = "03"
"""Sampled, with a random trace id: the end of a UUIDv7 is random."""


class TraceNode(Protocol):
    """The fields of a run from which trace contexts are derived."""

    @property
    def id(self) -> str:
        """The id of the run."""
        ...

    @property
    def parent_run_id(self) -> str | None:
        """The parent of the run."""
        ...

    @property
    def root_run_id(self) -> str:
        """The root of its tree."""
        ...

    @property
    def trace(self) -> TraceContext | None:
        """The stored trace context."""
        ...


def needs_span(run: Run) -> bool:
    """Return True if the service must export the span of a run that has just ended.

    This holds for runs whose process fell silent, which cannot export the span, and for runs whose
    client asks the service for it. Runs that the client did not sample have no span.
    """
    # Asked about each run that ends: what most runs lack comes first.
    trace = run.trace
    if trace is None:
        return False
    if not trace.exported_by_service and (run.cause != _LOST or not trace.traceparent):
        return False
    is_unsampled = trace.traceparent and not is_sampled(trace.traceparent)
    return run.state.type in TERMINAL_TYPES and not is_unsampled


def is_sampled(traceparent: str) -> bool:
    """Return True if a traceparent has the flag of a sampled trace."""
    # The flags are two hexadecimal digits, of which the last bit counts.
    return traceparent[53:55][-1:] in _ODD


def exported_by_service(trace: TraceContext | None) -> TraceContext:
    """Return the context to store for a run whose spans the service exports.

    Args:
        trace: The context that the client sent; None for a derived one.
    """
    if trace is None:
        return TraceContext("", exported_by_service=True)
    return trace if trace.exported_by_service else replace(trace, exported_by_service=True)


def below_span(run_id: str, traceparent: str, tracestate: str) -> TraceContext:
    """Return the context to store for a run below a span that is not a run's.

    The service exports the span of the run, whose id is derived.

    Args:
        run_id: The run.
        traceparent: The W3C traceparent of the span.
        tracestate: The W3C tracestate of the span; may be empty.
    """
    _, trace_id, parent_span_id, flags = traceparent.split("-")
    return TraceContext(
        f"00-{trace_id}-{_span_id(run_id)}-{flags}",
        tracestate,
        parent_span_id,
        exported_by_service=True,
    )


def is_derived(trace: TraceContext | None) -> bool:
    """Return True if the ids of a stored context follow from the ids of runs."""
    return trace is not None and not trace.traceparent


WAITING_NUMBERS = 1 << 31
"""The number from which the id of the span of a wait is derived: this, and the attempt after it."""


def trace_of(run: TraceNode, find: Callable[[str], TraceNode | None]) -> TraceContext | None:
    """Return the trace context of a run; a derived one with its ids.

    The run is in the trace of its nearest ancestor that has a trace context, below that ancestor's
    span. Without such an ancestor, it is at the top of the trace of its root run.

    Args:
        run: The run.
        find: Returns the run of an id, as stored; None if it is unknown.
    """
    if not is_derived(run.trace):
        return run.trace
    chain, above = _derived_chain(run, find)
    for node in reversed(chain):
        above = _derived(node, above)
    return above


def attempt_span_id(run_id: str, attempt: int) -> str:
    """Return the id of the span of an attempt: 16 hex digits.

    Args:
        run_id: The run.
        attempt: The number of the attempt; 0 for the rollback of the run.
    """
    data = UUID(run_id).bytes + attempt.to_bytes(4, "big")
    return hashlib.sha256(data).hexdigest()[:16]


def _derived_chain(
    run: TraceNode, find: Callable[[str], TraceNode | None]
) -> tuple[list[TraceNode], TraceContext | None]:
    """Return the runs with derived contexts from a run upwards, and the first other context.

    Ancestors without a context are left out.
    """
    chain, node = [run], run
    seen = {run.id}  # clients may have reported a cycle of parents
    for _ in range(MAX_DEPTH):
        parent = find(node.parent_run_id) if node.parent_run_id else None
        if parent is None or parent.id in seen:
            break
        if parent.trace is not None:
            if parent.trace.traceparent:
                return chain, parent.trace
            chain.append(parent)
        seen.add(parent.id)
        node = parent
    return chain, None


def _derived(node: TraceNode, above: TraceContext | None) -> TraceContext:
    span_id = _span_id(node.id)
    by_service = node.trace is not None and node.trace.exported_by_service
    if above is None:
        trace_id = node.root_run_id.replace("-", "")
        return TraceContext(
            f"00-{trace_id}-{span_id}-{DERIVED_FLAGS}", exported_by_service=by_service
        )
    _, trace_id, parent_span_id, flags = above.traceparent.split("-")
    traceparent = f"00-{trace_id}-{span_id}-{flags}"
    return TraceContext(traceparent, above.tracestate, parent_span_id, by_service)


def _span_id(run_id: str) -> str:
    return run_id.replace("-", "")[16:]
