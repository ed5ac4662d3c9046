"""The span of a run, as exported to memory."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, Sampler, SamplingResult
from opentelemetry.trace import StatusCode, TraceState
from tests.support.traced_runs import S, Traced, make_definition, make_record, sample

from flowspan.core import waits
from flowspan.core.states import StateType
from flowspan.exceptions import CancelRun, RunTimeout
from flowspan.telemetry.run_span import SpanTracer

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

# The engine passes states to spans as numbers.
CANCELLED, COMPLETED = StateType.CANCELLED.number, StateType.COMPLETED.number
CRASHED, FAILED = StateType.CRASHED.number, StateType.FAILED.number


def event_names(span: ReadableSpan) -> list[str]:
    return [event.name for event in span.events]


@pytest.fixture(params=[True, False], ids=["fast", "sdk"])
def is_fast(request: pytest.FixtureRequest) -> bool:
    """Return True for flowspan's own provider, False for the program's."""
    return request.param


@pytest.fixture
def traced(is_fast: bool) -> Traced:
    return Traced(is_fast=is_fast)


def raised(error: BaseException) -> BaseException:
    """Return the error with a traceback."""
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001 - any error can be passed
        return caught


def test_a_run_is_one_span_named_after_its_function(traced: Traced) -> None:
    span, record = traced.start("fetch", at=10, tags=("a", "b"))
    span.attempt(1, 10 * S)
    span.end(COMPLETED, "Completed", "", None, 12 * S)

    (made,) = traced.exporter.get_finished_spans()
    assert made.name == "fetch"
    assert (made.start_time, made.end_time) == (10 * S, 12 * S)
    assert made.status.status_code is StatusCode.UNSET
    assert made.events == ()
    assert dict(made.attributes) == {
        "flowspan.run.id": "r1",
        "flowspan.root_run.id": "r1",
        "flowspan.run.kind": "task",
        "flowspan.run.name": "fetch-1",
        "flowspan.tags": ("a", "b"),
        "code.function.name": f"{sample.__module__}.sample",
        "code.file.path": sample.__code__.co_filename,
        "code.line.number": sample.__code__.co_firstlineno,
        "flowspan.state.type": "COMPLETED",
        "flowspan.state.name": "Completed",
        "flowspan.attempts": 1,
        "flowspan.queued_s": 0.0,
        "flowspan.run_s": 2.0,
        "thread.id": threading.get_ident(),
        "thread.name": threading.current_thread().name,
    }
    context = made.context
    assert record.traceparent.startswith(f"00-{context.trace_id:032x}-{context.span_id:016x}-")
    assert int(record.traceparent[-2:], 16) & 1, "sampled"
    assert record.parent_span_id == ""


def test_the_current_span_of_the_caller_is_the_parent(traced: Traced) -> None:
    tracer = traced.provider.get_tracer("web")
    with tracer.start_as_current_span("GET /") as request:
        span, record = traced.start("outer")
    span.end(COMPLETED, "Completed", "", None, 1 * S)

    made = traced.spans["outer"]
    assert made.parent.span_id == request.get_span_context().span_id
    assert record.parent_span_id == f"{request.get_span_context().span_id:016x}"


def test_what_user_code_traces_is_a_child_of_the_run(traced: Traced) -> None:
    library = traced.provider.get_tracer("library")
    span, record = traced.start()
    span.attempt(1, 0)
    token = span.enter()
    with library.start_as_current_span("SELECT"):
        inner_ids = span.current_ids()
    outer_ids = span.current_ids()
    span.leave(token)
    span.end(COMPLETED, "Completed", "", None, 1 * S)

    query, run = traced.spans["SELECT"], traced.spans["fetch"]
    assert query.parent.span_id == run.context.span_id
    assert inner_ids == (f"{query.context.trace_id:032x}", f"{query.context.span_id:016x}")
    assert outer_ids == tuple(record.traceparent.split("-")[1:3])
    assert not trace.get_current_span().get_span_context().is_valid


def test_limit_1_a_retry_that_succeeds_is_not_red_and_every_attempt_has_a_span(
    traced: Traced,
) -> None:
    library = traced.provider.get_tracer("library")
    span, _ = traced.start(at=10)
    span.attempt(1, 10 * S)
    token = span.enter()
    library.start_span("first call").end()
    span.leave(token)
    span.attempt_failed(raised(ValueError("no")), "ValueError: no", 11 * S)
    span.awaiting_retry(5.0, 11 * S)
    span.attempt(2, 16 * S)
    token = span.enter()
    library.start_span("second call").end()
    span.leave(token)
    span.end(COMPLETED, "Completed", "", None, 17 * S)

    spans = traced.exporter.get_finished_spans()
    run = next(item for item in spans if item.name == "fetch")
    first, second = [item for item in spans if item.name == "fetch attempt"]
    assert run.status.status_code is StatusCode.UNSET
    assert (run.start_time, run.end_time) == (10 * S, 17 * S)
    assert run.attributes["flowspan.attempts"] == 2
    assert (first.start_time, first.end_time) == (10 * S, 11 * S)
    assert first.attributes["flowspan.attempt"] == 1
    assert first.status.status_code is StatusCode.ERROR
    assert first.attributes["error.type"] == "ValueError"
    assert event_names(first) == ["exception"]
    assert (second.start_time, second.end_time) == (16 * S, 17 * S)
    assert second.attributes["flowspan.attempt"] == 2
    assert second.status.status_code is StatusCode.UNSET
    assert {first.parent.span_id, second.parent.span_id} == {run.context.span_id}
    assert traced.spans["first call"].parent.span_id == run.context.span_id
    assert traced.spans["second call"].parent.span_id == second.context.span_id


def test_a_run_that_fails_for_good_shows_its_exception(traced: Traced) -> None:
    span, _ = traced.start()
    span.attempt(1, 0)
    span.attempt_failed(raised(KeyError("a")), "KeyError: 'a'", 1 * S)
    span.attempt(2, 1 * S)
    span.end(FAILED, "Failed", "ValueError: b", raised(ValueError("b")), 2 * S)

    spans = traced.exporter.get_finished_spans()
    assert [item.name for item in spans] == ["fetch attempt", "fetch attempt", "fetch"]
    for item, kind in zip(spans, ["KeyError", "ValueError", "ValueError"], strict=True):
        assert item.status.status_code is StatusCode.ERROR
        assert item.attributes["error.type"] == kind
        (event,) = [event for event in item.events if event.name == "exception"]
        assert event.attributes["exception.type"] == kind
        assert "raised" in event.attributes["exception.stacktrace"]
    assert spans[-1].status.description == "ValueError: b"


def test_limit_2_a_run_that_timed_out_ends_its_span_red(traced: Traced) -> None:
    span, _ = traced.start()
    span.attempt(1, 0)
    error = RunTimeout("Exceeded 1 second.")
    span.end(FAILED, "TimedOut", "Exceeded 1 second.", error, 1 * S)

    made = traced.spans["fetch"]
    assert made.status.status_code is StatusCode.ERROR
    assert made.status.description == "Exceeded 1 second."
    assert made.attributes["flowspan.state.name"] == "TimedOut"
    assert made.attributes["error.type"] == "flowspan.exceptions.RunTimeout"


def test_limit_3_a_run_that_returned_failed_is_red(traced: Traced) -> None:
    span, _ = traced.start()
    span.attempt(1, 0)
    span.end(FAILED, "Failed", "not today", None, 1 * S)

    made = traced.spans["fetch"]
    assert made.status.status_code is StatusCode.ERROR
    assert made.status.description == "not today"
    assert made.attributes["error.type"] == "Failed"


def test_limit_4_a_run_that_never_began_ends_its_span(traced: Traced) -> None:
    span, _ = traced.start()
    span.end(CANCELLED, "NotReady", "Upstream failed.", None, 1 * S)

    made = traced.spans["fetch"]
    assert made.end_time == 1 * S
    assert made.status.status_code is StatusCode.UNSET
    assert made.attributes["flowspan.state.name"] == "NotReady"
    assert made.attributes["flowspan.attempts"] == 0


def test_limit_5_the_runs_name_is_an_attribute_only(traced: Traced) -> None:
    for number in (1, 2):
        span, _ = traced.start("fetch", run_name=f"brave-otter-{number}")
        span.end(COMPLETED, "Completed", "", None, 1 * S)

    spans = traced.exporter.get_finished_spans()
    assert [item.name for item in spans] == ["fetch", "fetch"]
    assert [item.attributes["flowspan.run.name"] for item in spans] == [
        "brave-otter-1",
        "brave-otter-2",
    ]


def test_limit_6_waits_are_events(traced: Traced) -> None:
    span, _ = traced.start(at=10)
    span.attempt(1, 13 * S)
    span.attempt_failed(None, "returned Failed", 14 * S)
    span.awaiting_retry(2.5, 14 * S)
    span.attempt(2, 17 * S)
    span.end(COMPLETED, "Completed", "", None, 18 * S)

    events = [
        (event.name, event.timestamp, dict(event.attributes))
        for event in traced.spans["fetch"].events
    ]
    assert events == [
        ("flowspan.running", 13 * S, {"flowspan.waited_s": 3.0}),
        ("flowspan.awaiting_retry", 14 * S, {"flowspan.delay_s": 2.5, "flowspan.attempt": 2}),
        ("flowspan.retrying", 17 * S, {"flowspan.attempt": 2}),
    ]


MS = 1_000_000


def waiting(traced: Traced) -> list[tuple[int, int, str | None]]:
    """Return the begin and the end of each waiting span, in ms, and its reason."""
    return [
        (
            (span.start_time or 0) // MS,
            (span.end_time or 0) // MS,
            (span.attributes or {}).get("flowspan.wait.reason"),
        )
        for span in traced.exporter.get_finished_spans()
        if span.name == "waiting"
    ]


def test_each_wait_has_a_span_with_its_reason(traced: Traced) -> None:
    span, _ = traced.start()
    span.waits_for(waits.INPUT, 0)
    span.waits_for(waits.THREAD, 30 * MS)
    span.waits_for(waits.NOTHING, 45 * MS)
    span.attempt(1, 54 * MS)
    span.attempt_failed(None, "", 60 * MS)
    span.awaiting_retry(0.1, 60 * MS)
    span.waits_for(waits.PROCESS, 160 * MS)
    span.attempt(2, 180 * MS)
    span.end(COMPLETED, "Completed", "", None, 200 * MS)

    assert waiting(traced) == [
        (0, 30, "input"),
        (30, 45, "thread"),
        (60, 160, "retry"),
        (160, 180, "process"),
    ]
    run = traced.spans["fetch"]
    for each in traced.exporter.get_finished_spans():
        if each.name == "waiting":
            assert each.parent.span_id == run.context.span_id
            assert each.kind is trace.SpanKind.INTERNAL
            assert each.status.status_code is StatusCode.UNSET


def test_a_wait_without_a_reason_has_no_span(traced: Traced) -> None:
    span, _ = traced.start()
    span.attempt(1, 10 * MS)
    span.end(COMPLETED, "Completed", "", None, 20 * MS)
    assert waiting(traced) == []
    assert event_names(traced.spans["fetch"]) == ["flowspan.running"]


def test_a_wait_of_less_than_ten_milliseconds_has_no_span(traced: Traced) -> None:
    span, _ = traced.start()
    span.waits_for(waits.INPUT, 0)
    span.waits_for(waits.THREAD, 10 * MS - 1)
    span.attempt(1, 19 * MS)
    span.end(COMPLETED, "Completed", "", None, 100 * MS)
    assert waiting(traced) == []
    assert event_names(traced.spans["fetch"]) == ["flowspan.running"]


@pytest.mark.parametrize("state", ["NotReady", "Cancelled"])
def test_a_run_that_ends_while_it_waits_shows_that(traced: Traced, state: str) -> None:
    span, _ = traced.start()
    span.waits_for(waits.INPUT, 0)
    span.end(CANCELLED, state, "", None, 50 * MS)
    assert waiting(traced) == [(0, 50, "input")]


def test_looking_up_a_result_is_no_wait(traced: Traced) -> None:
    span, _ = traced.start()
    span.waits_for(waits.LOCK, 5 * MS)
    span.waits_for(waits.NOTHING, 25 * MS)
    span.end(COMPLETED, "Cached", "", None, 90 * MS)
    assert waiting(traced) == [(5, 25, "lock")]


def test_artifacts_are_events(traced: Traced) -> None:
    span, _ = traced.start(at=10)
    span.attempt(1, 10 * S)
    span.made_artifact("a1", "table", "", 11 * S)
    span.attempt_failed(ValueError(), "", 12 * S)
    span.attempt(2, 13 * S)
    span.made_artifact("a2", "link", "report", 14 * S)
    span.end(COMPLETED, "Completed", "", None, 15 * S)
    said = [
        (span.name, event.name, event.timestamp, dict(event.attributes or {}))
        for span in traced.exporter.get_finished_spans()
        for event in span.events
        if event.name == "flowspan.artifact"
    ]
    first = {"flowspan.artifact.id": "a1", "flowspan.artifact.type": "table"}
    second = {
        "flowspan.artifact.id": "a2",
        "flowspan.artifact.type": "link",
        "flowspan.artifact.key": "report",
    }
    assert sorted(said, key=lambda each: each[2]) == [
        ("fetch", "flowspan.artifact", 11 * S, first),
        ("fetch attempt", "flowspan.artifact", 14 * S, second),
    ]


def test_a_wait_that_nobody_notices_is_no_event(traced: Traced) -> None:
    span, _ = traced.start(at=10)
    span.attempt(1, 10 * S + 999_999)
    span.end(COMPLETED, "Completed", "", None, 11 * S)

    assert traced.spans["fetch"].events == ()


def test_limit_7_log_ids_are_those_of_the_innermost_span_of_the_trace(traced: Traced) -> None:
    span, record = traced.start()
    own = tuple(record.traceparent.split("-")[1:3])
    assert span.current_ids() == own, "this must hold in a thread without the run's context too"

    with traced.provider.get_tracer("other").start_as_current_span("unrelated"):
        assert span.current_ids() == own
    span.attempt(1, 0)
    span.attempt_failed(None, "", 1 * S)
    span.attempt(2, 1 * S)
    token = span.enter()
    ids = span.current_ids()
    span.leave(token)
    span.end(COMPLETED, "Completed", "", None, 2 * S)
    *_, second, _run = traced.exporter.get_finished_spans()
    assert ids == (own[0], f"{second.context.span_id:016x}")


def test_a_cancelled_run_is_marked_and_not_red(traced: Traced) -> None:
    span, _ = traced.start()
    span.attempt(1, 0)
    span.end(CANCELLED, "Cancelled", "asked to", CancelRun("asked to"), 1 * S)

    made = traced.spans["fetch"]
    assert made.status.status_code is StatusCode.UNSET
    assert made.attributes["flowspan.cancelled"] is True
    assert made.attributes["flowspan.state.type"] == "CANCELLED"
    assert made.events == ()


def test_a_run_broken_off_is_red(traced: Traced) -> None:
    span, _ = traced.start()
    span.attempt(1, 0)
    span.end(CRASHED, "Crashed", "Interrupted.", raised(KeyboardInterrupt()), 1 * S)

    made = traced.spans["fetch"]
    assert made.status.status_code is StatusCode.ERROR
    assert made.attributes["error.type"] == "KeyboardInterrupt"


def test_cancelled_while_waiting_for_a_retry(traced: Traced) -> None:
    span, _ = traced.start()
    span.attempt(1, 0)
    span.attempt_failed(raised(ValueError("no")), "ValueError: no", 1 * S)
    span.awaiting_retry(60.0, 1 * S)
    span.end(CANCELLED, "Cancelled", "", CancelRun(""), 2 * S)

    attempt, waiting, run = traced.exporter.get_finished_spans()
    assert attempt.name == "fetch attempt"
    assert (waiting.name, waiting.start_time, waiting.end_time) == ("waiting", 1 * S, 2 * S)
    assert attempt.attributes["error.type"] == "ValueError"
    assert run.attributes["flowspan.attempts"] == 1
    assert run.status.status_code is StatusCode.UNSET


def test_a_cached_run_has_a_short_span_without_an_attempt(traced: Traced) -> None:
    span, _ = traced.start(at=10)
    span.end(COMPLETED, "Cached", "Found under key k.", None, 11 * S)

    (made,) = traced.exporter.get_finished_spans()
    assert made.status.status_code is StatusCode.UNSET
    assert made.attributes["flowspan.state.name"] == "Cached"
    assert made.attributes["flowspan.attempts"] == 0
    (event,) = made.events
    assert (event.name, event.timestamp) == ("flowspan.cached", 11 * S)
    assert dict(event.attributes) == {"flowspan.state.message": "Found under key k."}


def test_a_name_of_the_users_own_makes_no_event(traced: Traced) -> None:
    span, _ = traced.start()
    span.attempt(1, 0)
    span.end(COMPLETED, "Skipped", "", None, 1 * S)
    (made,) = traced.exporter.get_finished_spans()
    assert (made.attributes["flowspan.state.name"], made.events) == ("Skipped", ())


def test_a_run_that_is_rolled_back_later_has_a_child_for_that(traced: Traced) -> None:
    span, _ = traced.start("book")
    span.attempt(1, 0)
    span.end(COMPLETED, "Completed", "", None, 1 * S)
    span.rolled_back("With its transaction.", 3 * S)

    run, rollback = traced.spans["book"], traced.spans["book rollback"]
    assert run.end_time == 1 * S
    assert rollback.parent.span_id == run.context.span_id
    assert (rollback.start_time, rollback.end_time) == (3 * S, 3 * S + 1)
    assert rollback.attributes["flowspan.state.name"] == "RolledBack"
    assert event_names(rollback) == ["flowspan.rolled_back"]
    assert rollback.status.status_code is StatusCode.UNSET


def test_a_run_that_ends_rolled_back_says_so_itself(traced: Traced) -> None:
    span, _ = traced.start("book")
    span.attempt(1, 0)
    span.end(COMPLETED, "RolledBack", "", None, 1 * S)
    (made,) = traced.exporter.get_finished_spans()
    assert made.attributes["flowspan.state.name"] == "RolledBack"
    assert event_names(made) == ["flowspan.rolled_back"]


def test_an_unsampled_run_has_ids_and_no_span(is_fast: bool) -> None:
    traced = Traced(is_fast=is_fast, sampler=ALWAYS_OFF)
    span, record = traced.start()
    span.attempt(1, 0)
    token = span.enter()
    assert span.current_ids() == tuple(record.traceparent.split("-")[1:3])
    span.leave(token)
    span.attempt_failed(raised(ValueError("no")), "", 1 * S)
    span.attempt(2, 1 * S)
    span.end(FAILED, "Failed", "", raised(ValueError("no")), 2 * S)

    assert int(record.traceparent[-2:], 16) & 1 == 0
    assert traced.exporter.get_finished_spans() == ()


def test_a_provider_that_makes_no_spans_costs_the_run_nothing() -> None:
    tracer = SpanTracer(trace.NoOpTracer(), environ={})
    record = make_record("fetch")
    assert tracer.start_run(record, make_definition("fetch"), 0) is None
    assert record.traceparent == ""


def test_the_environment_of_the_process_is_the_outermost_parent(is_fast: bool) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    traced = Traced(is_fast=is_fast, environ={"TRACEPARENT": parent, "TRACESTATE": "vendor=x"})
    span, record = traced.start()
    assert record.parent_span_id == "b7ad6b7169203331"
    assert record.traceparent.split("-")[1] == "0af7651916cd43dd8448eb211c80319c"
    assert record.tracestate == "vendor=x"
    token = span.enter()
    _, inner = traced.start("inner")
    span.leave(token)
    assert inner.parent_span_id == record.traceparent.split("-")[2]


def test_tracing_that_fails_does_not_fail_the_run(traced: Traced) -> None:
    class Broken(SimpleSpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            raise OSError("disk full")

    traced.provider.add_span_processor(Broken(traced.exporter))
    span, _ = traced.start()
    span.attempt(1, 0)
    span.end(COMPLETED, "Completed", "", None, 1 * S)

    def breaks(*args: object, **kwargs: object) -> None:
        raise OSError("no entropy")

    traced.provider.id_generator.generate_span_id = breaks
    assert traced.tracer.start_run(make_record("x"), make_definition("x"), 0) is None


def test_what_user_code_puts_on_the_current_span_is_there(traced: Traced) -> None:
    span, _ = traced.start("fetch")
    span.attempt(1, 0)
    token = span.enter()
    current = trace.get_current_span()
    assert current.is_recording()
    current.set_attribute("items", 3)
    current.set_attributes({"tags": ["a", "b"], "flowspan.run.name": "renamed"})
    current.add_event("checkpoint", {"at": 1}, 5)
    current.add_link(trace.SpanContext(1, 2, is_remote=True), {"why": "because"})
    current.record_exception(raised(KeyError("k")))
    current.set_status(StatusCode.OK)
    current.set_status(StatusCode.ERROR, "comes too late: OK is final")
    current.update_name("better")
    span.leave(token)
    span.end(COMPLETED, "Completed", "", None, 1 * S)
    current.set_attribute("late", 1)
    current.add_event("late")
    current.end()

    (made,) = traced.exporter.get_finished_spans()
    assert made.name == "better"
    assert made.attributes["items"] == 3
    assert made.attributes["tags"] == ("a", "b")
    assert made.attributes["flowspan.run.name"] == "renamed"
    assert "late" not in made.attributes
    assert event_names(made) == ["checkpoint", "exception"]
    assert made.events[0].timestamp == 5
    assert dict(made.events[0].attributes) == {"at": 1}
    assert made.events[1].attributes["exception.type"] == "KeyError"
    (link,) = made.links
    assert (link.context.span_id, dict(link.attributes)) == (2, {"why": "because"})
    assert made.status.status_code is StatusCode.OK
    assert made.instrumentation_scope.name == "flowspan"
    assert made.resource is traced.provider.resource


def test_user_code_is_held_to_the_limits(
    is_fast: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_SPAN_EVENT_COUNT_LIMIT", "2")
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "100")
    traced = Traced(is_fast=is_fast)
    span, _ = traced.start("fetch")
    token = span.enter()
    for number in range(5):
        trace.get_current_span().add_event(str(number))
    trace.get_current_span().set_attribute("long", "x" * 1_000)
    span.leave(token)
    span.end(COMPLETED, "Completed", "", None, 1 * S)

    (made,) = traced.exporter.get_finished_spans()
    assert event_names(made) == ["3", "4"]
    assert made.dropped_events == 3
    assert made.attributes["long"] == "x" * 100


def test_a_sampler_sees_runs_and_may_add_to_them(is_fast: bool) -> None:
    class Picky(Sampler):
        def should_sample(self, context, trace_id, name, kind=None, attributes=None, links=None):
            if name != "fetch" or attributes["flowspan.run.kind"] != "task":
                return SamplingResult(Decision.DROP)
            return SamplingResult(
                Decision.RECORD_AND_SAMPLE, {**attributes, "picked": True}, TraceState([("p", "1")])
            )

        def get_description(self) -> str:
            return "picky"

    traced = Traced(is_fast=is_fast, sampler=Picky())
    span, record = traced.start("fetch")
    span.end(COMPLETED, "Completed", "", None, 1 * S)
    other, _ = traced.start("other")
    other.end(COMPLETED, "Completed", "", None, 1 * S)

    (made,) = traced.exporter.get_finished_spans()
    assert made.attributes["picked"] is True
    assert record.tracestate == "p=1"
