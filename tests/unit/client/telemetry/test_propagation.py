"""Span context across processes."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

from flowspan.telemetry import propagation

CONTEXT = SpanContext(
    0x0AF7651916CD43DD8448EB211C80319C,
    0xB7AD6B7169203331,
    is_remote=False,
    trace_flags=TraceFlags(1),
    trace_state=TraceState([("vendor", "x")]),
)
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_the_text_of_a_context() -> None:
    assert propagation.traceparent(CONTEXT) == TRACEPARENT
    assert propagation.tracestate(CONTEXT) == "vendor=x"


def test_a_tracestate_that_the_service_does_not_take_is_left_out() -> None:
    members = [(f"key{number}", "v" * 100) for number in range(6)]
    context = SpanContext(1, 2, is_remote=False, trace_state=TraceState(members))
    assert propagation.tracestate(context) == ""


def test_what_is_injected_is_extracted() -> None:
    with trace.use_span(NonRecordingSpan(CONTEXT)):
        carrier = propagation.inject()
    assert carrier == {"traceparent": TRACEPARENT, "tracestate": "vendor=x"}
    with propagation.continued(carrier):
        found = trace.get_current_span().get_span_context()
        assert (found.trace_id, found.span_id) == (CONTEXT.trace_id, CONTEXT.span_id)
        assert found.is_remote
    assert not trace.get_current_span().get_span_context().is_valid


def test_through_the_environment_of_a_child() -> None:
    outer = {"PATH": "/bin", "TRACEPARENT": "old", "TRACESTATE": "old=1"}
    assert propagation.inject_environ(outer) == {"PATH": "/bin"}
    with trace.use_span(NonRecordingSpan(CONTEXT)):
        environ = propagation.inject_environ(outer)
    assert environ == {"PATH": "/bin", "TRACEPARENT": TRACEPARENT, "TRACESTATE": "vendor=x"}
    context = propagation.environ_context(environ)
    assert trace.get_current_span(context).get_span_context().span_id == CONTEXT.span_id


def test_a_malformed_carrier_is_no_parent() -> None:
    for text in ("", "nonsense", TRACEPARENT[:-3], "00-" + "0" * 32 + TRACEPARENT[35:]):
        assert propagation.environ_context({"TRACEPARENT": text}) is None
        with propagation.continued({"traceparent": text}):
            assert not trace.get_current_span().get_span_context().is_valid
    assert propagation.environ_context({}) is None
