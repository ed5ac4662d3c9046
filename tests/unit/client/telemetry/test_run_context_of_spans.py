"""The run context in the tracestate of spans."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState
from tests.support.traced_runs import S, Traced, make_definition, make_record

from flowspan.core.run_context import OuterRun
from flowspan.core.states import StateType
from flowspan.telemetry.propagation import inject_run

COMPLETED = StateType.COMPLETED.number
RUN, ROOT = "0199c0de-0000-7000-8000-000000000001", "0199c0de-0000-7000-8000-0000000000ff"


@pytest.fixture(params=[True, False], ids=["fast", "sdk"])
def is_fast(request: pytest.FixtureRequest) -> bool:
    """Return True for flowspan's own provider, False for the program's."""
    return request.param


@pytest.fixture
def traced(is_fast: bool) -> Traced:
    return Traced(is_fast=is_fast)


def test_spans_inside_a_run_name_it_in_their_tracestate(traced: Traced) -> None:
    state = TraceState([("rojo", "1"), ("flowspan", "r:above")])
    above = SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1), trace_state=state)
    with trace.use_span(NonRecordingSpan(above)):
        span, record = traced.start("fetch", root_run_id="r0")
    assert record.tracestate == "rojo=1"
    seen = []
    for number in (1, 2):
        span.attempt(number, number * S)
        token = span.enter()
        seen.append(trace.get_current_span().get_span_context())
        with traced.provider.get_tracer("library").start_as_current_span("SELECT"):
            seen.append(trace.get_current_span().get_span_context())
        span.leave(token)
        if number == 1:
            span.attempt_failed(None, "no", number * S + 1)
    span.end(COMPLETED, "Completed", "", None, 3 * S)
    assert {context.trace_state.to_header() for context in seen} == {"flowspan=r:r1;t:r0,rojo=1"}
    assert len({context.span_id for context in seen}) == 4
    assert span.own_ids() == (f"{1:032x}", record.traceparent.split("-")[2])


def test_run_below_a_span_of_another_run_names_itself(traced: Traced) -> None:
    outer, _ = traced.start("outer")
    token = outer.enter()
    with traced.provider.get_tracer("library").start_as_current_span("SELECT"):
        inner, record = traced.start("inner", id="r2")
        token_inside = inner.enter()
        header = trace.get_current_span().get_span_context().trace_state.to_header()
        inner.leave(token_inside)
    outer.leave(token)
    assert header == "flowspan=r:r2;t:r1"
    assert record.tracestate == ""


def test_unsampled_span_names_the_run(is_fast: bool) -> None:
    traced = Traced(is_fast=is_fast, sampler=ALWAYS_OFF)
    span, _ = traced.start("fetch")
    token = span.enter()
    context = trace.get_current_span().get_span_context()
    span.leave(token)
    assert context.trace_state.to_header() == "flowspan=r:r1"
    assert not context.trace_flags.sampled


@pytest.mark.parametrize("traceparent", ["", f"00-{7:032x}-{8:016x}-01"])
def test_run_below_one_of_another_process_is_in_its_trace(is_fast: bool, traceparent: str) -> None:
    environ = {"TRACEPARENT": traceparent} if traceparent else {}
    traced = Traced(is_fast=is_fast, environ=environ)
    record = make_record("fetch", parent_run_id=RUN, root_run_id=ROOT)
    span = traced.tracer.start_run(record, make_definition("fetch"), 0, OuterRun(RUN, ROOT))
    assert span is not None
    if traceparent:
        assert (record.traceparent[3:35], record.parent_span_id) == (f"{7:032x}", f"{8:016x}")
    else:
        assert record.traceparent[3:35] == ROOT.replace("-", "")
        assert record.parent_span_id == RUN.replace("-", "")[16:]
        assert record.traceparent[-2:] in {"01", "03"}


def test_thread_without_a_span_hands_on_the_span_of_its_run(traced: Traced) -> None:
    span, record = traced.start("fetch")
    handed = inject_run(span, record)
    assert handed == {"traceparent": record.traceparent, "tracestate": "flowspan=r:r1"}
    assert not trace.get_current_span().get_span_context().is_valid
    assert inject_run(None, record) == {}
