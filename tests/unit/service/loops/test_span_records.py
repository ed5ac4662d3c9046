"""The spans that the service creates for runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import StatusCode

from flowspan.v1.failure_pb2 import Failure
from flowspan.v1.flow_run_pb2 import FlowRun
from flowspan_service.api.span_facts import MessageDecoder
from flowspan_service.domain.runs import Definition, Run, RunDetails, RunKind, TraceContext
from flowspan_service.domain.span_facts import InputFacts
from flowspan_service.domain.states import Cause, State, StateType
from flowspan_service.domain.traces import needs_span
from flowspan_service.loops.span_courses import course_of
from flowspan_service.loops.span_records import CAUSE_DEPTH, link_to, spans_of

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

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


def span_of(run: Run, resource: Resource) -> ReadableSpan | None:
    """The only span of a run, made without its history."""
    spans = spans_of(run, course_of(run), resource, decoder=MessageDecoder())
    assert len(spans) <= 1
    return spans[0] if spans else None


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
        "flowspan.root_run.id": "r1",
        "flowspan.queued_s": 0.0005,
        "flowspan.run_s": 3.9995,
    }
    assert [(event.name, event.timestamp) for event in span.events] == [
        ("flowspan.declared_crashed", 5_000_000_000)
    ]


def test_made_twice_it_is_the_same() -> None:
    assert span_of(make_run(), RESOURCE).to_json() == span_of(make_run(), RESOURCE).to_json()


def test_a_run_that_waited_says_how_long() -> None:
    event, _ = span_of(make_run(started_us=3_000_000), RESOURCE).events
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


def test_the_flow_of_a_run() -> None:
    task = make_run(flow_run_id="f1")
    spans = spans_of(task, course_of(task), RESOURCE, decoder=MessageDecoder(), flow_name="etl")
    assert spans[0].attributes["flowspan.flow.name"] == "etl"
    assert spans[0].attributes["flowspan.flow_run.id"] == "f1"
    alone = span_of(make_run(), RESOURCE)
    assert not {"flowspan.flow.name", "flowspan.flow_run.id"} & alone.attributes.keys()
    subflow = make_run(id="f2", flow_run_id="f1")
    subflow.kind = RunKind.FLOW
    flow = span_of(subflow, RESOURCE)
    assert flow.attributes["flowspan.flow_run.id"] == "f2"


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


def test_who_needs_a_span_without_ids_of_the_client() -> None:
    """The ids of a run without a trace context are derived only if the service exports its span."""
    derived = TraceContext("", exported_by_service=True)
    assert needs_span(make_run(StateType.COMPLETED, cause=Cause.REPORTED, trace=derived))
    assert not needs_span(make_run(trace=TraceContext("")))


def failed(failure: Failure, **fields: Any) -> ReadableSpan:
    run = make_run(StateType.FAILED, cause=Cause.REPORTED, **fields)
    run.state.failure = failure.SerializeToString()
    span = span_of(run, RESOURCE)
    assert span is not None
    return span


def test_the_error_of_a_failed_run_and_its_causes_are_events() -> None:
    disk = Failure(type="OSError", message="disk full", stack_trace="trace 2")
    span = failed(Failure(type="app.LoadError", message="no", stack_trace="trace 1", cause=disk))
    assert span.attributes["error.type"] == "app.LoadError"
    assert span.status.description == "Process 7 fell silent.", "the message of the state"
    error, cause = span.events
    assert (error.name, error.timestamp) == (cause.name, cause.timestamp)
    assert (error.name, error.timestamp) == ("exception", span.end_time)
    assert dict(error.attributes) == {
        "exception.type": "app.LoadError",
        "exception.message": "no",
        "exception.stacktrace": "trace 1",
    }
    assert dict(cause.attributes) == {
        "exception.type": "OSError",
        "exception.message": "disk full",
        "exception.stacktrace": "trace 2",
        CAUSE_DEPTH: 1,
    }


def test_the_error_describes_a_state_without_a_message() -> None:
    run = make_run(StateType.FAILED, cause=Cause.REPORTED)
    run.state.message = ""
    for failure, description in (
        (Failure(type="OSError", message="disk full"), "OSError: disk full"),
        (Failure(type="OSError"), "OSError"),
    ):
        run.state.failure = failure.SerializeToString()
        span = span_of(run, RESOURCE)
        assert span is not None
        assert span.status.description == description
        assert "exception.stacktrace" not in span.events[0].attributes


def test_causes_beyond_what_a_receiver_takes_are_left_out() -> None:
    failure = Failure(type="last", message="m")
    for number in range(15):
        failure = Failure(type=f"E{number}", stack_trace="x" * 60_000, cause=failure)
    span = failed(failure)
    assert [event.attributes["exception.type"] for event in span.events] == ["E14"]
    assert encode_spans([span]).ByteSize() < 100_000


def test_the_code_of_a_run() -> None:
    code = FlowRun(description="loads", code={"function": "etl.load", "file_path": "/app/etl.go"})
    details = RunDetails(Definition(b"key", code.SerializeToString()), None)
    span = span_of(make_run(details=details), RESOURCE)
    assert span is not None
    assert span.attributes["code.function.name"] == "etl.load"
    assert span.attributes["code.file.path"] == "/app/etl.go"
    assert "code.line.number" not in span.attributes


def test_links_to_the_runs_whose_results_were_taken() -> None:
    taken = InputFacts("r2", "rows")
    link = link_to(taken, TraceContext(SAMPLED))
    assert link is not None
    assert f"{link.context.span_id:016x}" == "b7ad6b7169203331"
    assert dict(link.attributes) == {"flowspan.input.name": "rows", "flowspan.run.id": "r2"}
    assert link_to(taken, None) is None
    assert link_to(taken, TraceContext("")) is None
    (span,) = spans_of(
        run := make_run(), course_of(run), RESOURCE, decoder=MessageDecoder(), links=[link]
    )
    assert span.links == (link,)


def test_span_of_a_run_of_the_year_9999_can_be_sent() -> None:
    last_us = 253_402_300_799_999_999
    run = make_run(created_us=last_us - 2_000_000, started_us=last_us, ended_us=last_us)
    span = span_of(run, RESOURCE)
    assert span is not None
    assert encode_spans([span]).ByteSize() > 0
