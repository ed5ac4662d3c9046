"""The spans that the service creates for runs."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import StatusCode

from flowspan_service.domain.runs import Run, RunKind, TraceContext
from flowspan_service.domain.states import Cause, State, StateType
from flowspan_service.loops.span_records import needs_span, span_of

RESOURCE = Resource({"service.name": "flowspan"})
SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03"


def make_run(
    kind: StateType = StateType.CRASHED, *, cause: int = Cause.SESSION_LOST, **fields: Any
) -> Run:
    state = State(kind, kind.name.capitalize(), "Process 7 fell silent.", time_us=5_000_000)
    values: dict[str, Any] = {
        "id": "r1",
        "kind": RunKind.TASK,
        "function_name": "fetch",
        "run_name": "fetch-1",
        "parent_run_id": None,
        "root_run_id": "r1",
        "flow_run_id": None,
        "tags": ("a", "b"),
        "parameters": None,
        "trace": TraceContext(SAMPLED, "vendor=x", "00f067aa0ba902b7"),
        "version": "",
        "created_us": 1_000_000,
        "started_us": 1_000_500,
        "ended_us": 5_000_000,
        "attempt": 2,
    }
    return Run(state=state, cause=cause, **(values | fields))


def test_the_span_of_a_crashed_run() -> None:
    span = span_of(make_run(), RESOURCE)
    assert span is not None
    assert span.name == "fetch"
    assert f"{span.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
    assert f"{span.context.span_id:016x}" == "b7ad6b7169203331"
    assert f"{span.parent.span_id:016x}" == "00f067aa0ba902b7"
    assert span.parent.trace_id == span.context.trace_id
    assert span.context.trace_state.to_header() == "vendor=x"
    assert (span.start_time, span.end_time) == (1_000_000_000, 5_000_000_000)
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == "Process 7 fell silent."
    assert span.resource is RESOURCE
    assert dict(span.attributes) == {
        "flowspan.run.id": "r1",
        "flowspan.run.kind": "task",
        "flowspan.run.name": "fetch-1",
        "flowspan.tags": ("a", "b"),
        "flowspan.attempts": 2,
        "flowspan.state.type": "CRASHED",
        "flowspan.state.name": "Crashed",
        "flowspan.span.synthetic": True,
        "error.type": "flowspan.crashed",
    }
    assert span.events == ()


def test_made_twice_it_is_the_same() -> None:
    assert span_of(make_run(), RESOURCE).to_json() == span_of(make_run(), RESOURCE).to_json()


def test_a_run_that_waited_says_how_long() -> None:
    (event,) = span_of(make_run(started_us=3_000_000), RESOURCE).events
    assert (event.name, event.timestamp) == ("flowspan.running", 3_000_000_000)
    assert dict(event.attributes) == {"flowspan.waited_s": 2.0}


def test_a_run_that_never_began() -> None:
    span = span_of(make_run(started_us=None, attempt=1), RESOURCE)
    assert span.attributes["flowspan.attempts"] == 0


@pytest.mark.parametrize(
    ("kind", "is_error", "error_type"),
    [
        (StateType.COMPLETED, False, None),
        (StateType.FAILED, True, "Failed"),
        (StateType.CANCELLED, False, None),
        (StateType.CRASHED, True, "Crashed"),
    ],
)
def test_the_span_of_a_client_without_an_sdk(
    kind: StateType, is_error: bool, error_type: str | None
) -> None:
    span = span_of(make_run(kind, cause=Cause.REPORTED), RESOURCE)
    assert (span.status.status_code is StatusCode.ERROR) is is_error
    assert span.attributes.get("error.type") == error_type
    assert "flowspan.span.synthetic" not in span.attributes
    assert ("flowspan.cancelled" in span.attributes) is (kind is StateType.CANCELLED)


@pytest.mark.parametrize(
    ("traceparent", "parent"),
    [
        (SAMPLED[:-2] + "02", ""),
        ("nonsense", ""),
        ("00-" + "0" * 32 + "-b7ad6b7169203331-01", ""),
        ("00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01", ""),
    ],
    ids=["not sampled", "no traceparent", "no trace id", "no span id"],
)
def test_who_gets_no_span(traceparent: str, parent: str) -> None:
    assert span_of(make_run(trace=TraceContext(traceparent, "", parent)), RESOURCE) is None


def test_a_root_has_no_parent() -> None:
    for parent in ("", "0" * 16):
        span = span_of(make_run(trace=TraceContext(SAMPLED, "", parent)), RESOURCE)
        assert span.parent is None


def test_a_span_does_not_end_before_it_starts() -> None:
    span = span_of(make_run(created_us=9_000_000), RESOURCE)
    assert span.start_time == span.end_time == 9_000_000_000


def test_who_needs_a_span() -> None:
    by_service = TraceContext(SAMPLED, exported_by_service=True)
    assert needs_span(make_run())
    assert not needs_span(make_run(trace=None))
    assert not needs_span(make_run(cause=Cause.REPORTED)), "the client exports this span"
    assert not needs_span(make_run(StateType.CANCELLED, cause=Cause.REQUESTED))
    assert not needs_span(make_run(StateType.RUNNING)), "the session came back"
    assert needs_span(make_run(StateType.COMPLETED, cause=Cause.REPORTED, trace=by_service))
    assert not needs_span(make_run(StateType.RUNNING, cause=Cause.REPORTED, trace=by_service))


def test_span_of_a_run_of_the_year_9999_can_be_sent() -> None:
    last_us = 253_402_300_799_999_999
    run = make_run(created_us=last_us - 2_000_000, started_us=last_us, ended_us=last_us)
    span = span_of(run, RESOURCE)
    assert span is not None
    assert encode_spans([span]).ByteSize() > 0
