"""Trace contexts that follow from the ids of runs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from uuid import UUID

import pytest

from flowspan_service.domain.runs import TraceContext
from flowspan_service.domain.traces import (
    MAX_DEPTH,
    attempt_span_id,
    below_span,
    exported_by_service,
    is_derived,
    trace_of,
)

DERIVED = TraceContext("", exported_by_service=True)
SENT = TraceContext(f"00-{'a' * 32}-{'b' * 16}-01", "vendor=x", "c" * 16)


@dataclass(frozen=True)
class Node:
    id: str
    parent_run_id: str | None
    root_run_id: str
    trace: TraceContext | None


def run_id(number: int) -> str:
    return f"0190a000-0000-7000-8000-{number:012x}"


def chain(*traces: TraceContext | None) -> dict[str, Node]:
    """Runs that call each other, the root first, with these stored contexts."""
    return {
        run_id(number): Node(
            run_id(number), run_id(number - 1) if number else None, run_id(0), trace
        )
        for number, trace in enumerate(traces)
    }


def derived_last(*traces: TraceContext | None) -> TraceContext | None:
    nodes = chain(*traces)
    return trace_of(nodes[run_id(len(traces) - 1)], nodes.get)


def test_the_root_is_the_trace() -> None:
    assert derived_last(DERIVED) == TraceContext(
        "00-0190a000000070008000000000000000-8000000000000000-03", exported_by_service=True
    )


def test_a_child_is_in_the_trace_of_its_parent() -> None:
    assert derived_last(DERIVED, DERIVED) == TraceContext(
        "00-0190a000000070008000000000000000-8000000000000001-03",
        parent_span_id="8000000000000000",
        exported_by_service=True,
    )


def test_the_parents_own_context_counts() -> None:
    assert derived_last(None, SENT, DERIVED) == TraceContext(
        f"00-{'a' * 32}-8000000000000002-01", "vendor=x", "b" * 16, exported_by_service=True
    )
    grandchild = derived_last(SENT, DERIVED, DERIVED)
    assert grandchild is not None
    assert grandchild.traceparent == f"00-{'a' * 32}-8000000000000002-01"
    assert grandchild.parent_span_id == "8000000000000001"


def test_ancestors_without_a_span_are_skipped() -> None:
    trace = derived_last(SENT, None, DERIVED)
    assert trace is not None
    assert trace.parent_span_id == "b" * 16
    alone = derived_last(None, None, DERIVED)
    assert alone is not None
    assert alone.traceparent.split("-")[1] == run_id(0).replace("-", "")
    assert alone.parent_span_id == "", "no span is missing above it"


def test_a_parent_that_has_not_arrived_yet() -> None:
    node = Node(run_id(5), run_id(4), run_id(3), DERIVED)
    assert trace_of(node, {}.get) == TraceContext(
        "00-0190a000000070008000000000000003-8000000000000005-03", exported_by_service=True
    )


@pytest.mark.parametrize("trace", [None, SENT])
def test_other_contexts_stay(trace: TraceContext | None) -> None:
    assert derived_last(DERIVED, trace) is trace


def test_parents_in_a_circle() -> None:
    one = Node(run_id(1), run_id(2), run_id(1), DERIVED)
    two = Node(run_id(2), run_id(1), run_id(1), DERIVED)
    trace = trace_of(one, {one.id: one, two.id: two}.get)
    assert trace is not None
    assert trace.parent_span_id == "8000000000000002"


def test_very_deep_trees() -> None:
    trace = derived_last(SENT, *[DERIVED] * (MAX_DEPTH + 50))
    assert trace is not None
    assert trace.traceparent.endswith("-03")


def test_contexts_to_store() -> None:
    assert exported_by_service(None) == DERIVED
    sent = exported_by_service(SENT)
    assert (sent.traceparent, sent.exported_by_service) == (SENT.traceparent, True)
    assert exported_by_service(sent) is sent
    assert is_derived(DERIVED)
    assert not is_derived(sent)
    assert not is_derived(None)


def test_the_span_of_an_attempt_has_an_id_of_its_own() -> None:
    number = (3).to_bytes(4, "big")
    expected = hashlib.sha256(UUID(run_id(1)).bytes + number).hexdigest()[:16]
    assert attempt_span_id(run_id(1), 3) == expected
    ids = {attempt_span_id(run_id(each), number) for each in range(9) for number in range(9)}
    assert len(ids) == 81


def test_run_below_a_span_that_is_not_a_runs() -> None:
    trace = below_span(run_id(5), SENT.traceparent, "vendor=x")
    assert trace == TraceContext(
        f"00-{'a' * 32}-8000000000000005-01", "vendor=x", "b" * 16, exported_by_service=True
    )
    assert not is_derived(trace)
