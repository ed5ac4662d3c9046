"""The encoder of run spans against the official encoder, which reads the same span's attributes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span
from opentelemetry.sdk.trace import SpanLimits
from opentelemetry.trace import SpanContext, TraceState
from tests.support.traced_runs import S, Traced, make_definition

from flowspan.core.events import RunRecord
from flowspan.core.states import StateType
from flowspan.telemetry import run_encoding
from flowspan.telemetry.fast_span import FastRunSpan
from flowspan.telemetry.run_encoding import encode_run_span

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.telemetry.run_span import RunSpan

FLOW_ID, ROOT_ID = str(uuid4()), str(uuid4())
FLOW = RunRecord(
    FLOW_ID,
    is_flow=True,
    function_name="daily-étl",
    run_name="keen-otter",
    parent_run_id=ROOT_ID,
    root_run_id=ROOT_ID,
    flow_run_id=FLOW_ID,
)
COMPLETED, FAILED = StateType.COMPLETED.number, StateType.FAILED.number
REMOTE = SpanContext(7, 8, is_remote=True, trace_flags=trace.TraceFlags(1))


class Kept:
    """A processor that keeps the ended spans themselves."""

    def __init__(self) -> None:
        self.spans: list[FastRunSpan] = []

    def on_end(self, span: Any) -> None:
        self.spans.append(span)


def ended(do: Callable[[RunSpan, FastRunSpan], None], *, limits: Any = None, **fields: Any) -> Any:
    """Return the ended span of a run, whose course is `do`."""
    traced = Traced(is_fast=True, limits=limits)
    kept = Kept()
    traced.processors.only = kept
    values: dict[str, Any] = {
        "is_flow": False,
        "function_name": "fetch",
        "run_name": "fetch-1",
        "parent_run_id": FLOW_ID,
        "root_run_id": ROOT_ID,
        "flow_run_id": FLOW_ID,
        "details": make_definition("fetch").details,
    }
    flow, state = fields.pop("flow", FLOW), fields.pop("trace_state", None)
    context = trace.set_span_in_context(
        trace.NonRecordingSpan(
            SpanContext(7, 8, is_remote=True, trace_flags=REMOTE.trace_flags, trace_state=state)
        )
    )
    record = RunRecord(fields.pop("id", str(uuid4())), **(values | fields))
    token = trace.context_api.attach(context)
    try:
        span = traced.tracer.start_run(record, make_definition("fetch"), 10 * S, None, flow)
    finally:
        trace.context_api.detach(token)
    assert span is not None
    do(span, span._span)
    (made,) = kept.spans
    assert type(made) is FastRunSpan
    return made


def in_order(data: bytes) -> Span:
    (span,) = ScopeSpans.FromString(data).spans
    span.attributes.sort(key=lambda pair: pair.key)
    return span


def assert_same(span: FastRunSpan) -> Span:
    """Encode a span in both ways, twice (the second time from the caches); return it."""
    (group,) = encode_spans([span.readable()]).resource_spans
    expected = in_order(ScopeSpans(spans=group.scope_spans[0].spans).SerializeToString())
    for _ in range(2):
        assert in_order(encode_run_span(span)) == expected
    names = [pair.key for pair in expected.attributes]
    assert len(names) == len(set(names))
    return expected


def complete(span: RunSpan, _: FastRunSpan) -> None:
    span.attempt(1, 11 * S)
    span.end(COMPLETED, "Completed", "", None, 13 * S)


def fail(span: RunSpan, _: FastRunSpan) -> None:
    span.attempt(1, 11 * S)
    span.end(FAILED, "Failed", "no", ValueError("no"), 13 * S)


def never_begin(span: RunSpan, _: FastRunSpan) -> None:
    span.end(StateType.CANCELLED.number, "NotReady", "", None, 12 * S)


def use_span(span: RunSpan, fast: FastRunSpan) -> None:
    fast.set_attributes({"rows": 3, "names": ["a", "b"]})
    fast.add_event("checkpoint", {"at": 1}, 5)
    fast.add_link(REMOTE, {"why": "because"})
    fast.update_name("better")
    complete(span, fast)


def overwrite(span: RunSpan, fast: FastRunSpan) -> None:
    fast.set_attributes({"flowspan.run.name": "mine", "flowspan.attempts": 7})
    complete(span, fast)


def overwrite_own(span: RunSpan, fast: FastRunSpan) -> None:
    span.mapped(4)
    fast.set_attribute("flowspan.map.index", 5)
    complete(span, fast)


def set_many(span: RunSpan, fast: FastRunSpan) -> None:
    fast.set_attributes({f"key {number}": number for number in range(300)})
    complete(span, fast)


def end_by_user(span: RunSpan, fast: FastRunSpan) -> None:
    fast.end(12 * S)
    complete(span, fast)


COURSES = {
    "completes": complete,
    "fails": fail,
    "never begins": never_begin,
    "user's data": use_span,
    "user's data under flowspan's names": overwrite,
    "user's data under a rare name": overwrite_own,
    "too many attributes": set_many,
    "ended by the user": end_by_user,
}
RECORDS: dict[str, dict[str, Any]] = {
    "task": {},
    "flow": {"is_flow": True, "id": FLOW_ID},
    "no flow": {"flow": None, "flow_run_id": None, "root_run_id": ROOT_ID},
    "flow without a name": {"flow": None},
    "tags": {"tags": ("a", "é")},
    "no details": {"details": None},
    "no name": {"run_name": ""},
    "long name": {"run_name": "n" * 256},
    "id that is no UUID": {"id": "r1"},
    "tracestate": {"trace_state": TraceState([("vendor", "x")])},
}
LIMITS = {
    "none": None,
    "short texts": SpanLimits(max_span_attribute_length=3),
    "few attributes": SpanLimits(max_span_attributes=2),
}


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("record", RECORDS)
@pytest.mark.parametrize("course", COURSES)
def test_both_encoders_agree(course: str, record: str, limits: str) -> None:
    assert_same(ended(COURSES[course], limits=LIMITS[limits], **RECORDS[record]))


def test_name_that_is_no_unicode_is_replaced() -> None:
    span = in_order(encode_run_span(ended(complete, run_name="a\ud800b")))
    names = {pair.key: pair.value.string_value for pair in span.attributes}
    assert names["flowspan.run.name"] == "a?b"


@given(
    created=st.integers(0, 2**62),
    waits=st.integers(-(2**61), 2**61),
    runs=st.integers(-(2**61), 2**61),
    state=st.sampled_from(["Completed", "Mine"]),
    number=st.integers(1, 1_000),
)
def test_times_are_those_of_the_run(
    created: int, waits: int, runs: int, state: str, number: int
) -> None:
    began, end = max(created + waits, 0), max(created + waits + runs, 0)

    def course(span: RunSpan, fast: FastRunSpan) -> None:
        fast.start_time = created
        span.attempt(number, began)
        span.end(COMPLETED, state, "", None, end)

    traced = ended(course, run_name=f"fetch-{number}")
    values = {pair.key: pair.value for pair in assert_same(traced).attributes}
    assert values["flowspan.run_s"].double_value == max(end - began, 0) / 1e9
    assert values["flowspan.queued_s"].double_value >= 0


def test_queued_and_running_time_add_up_to_the_length() -> None:
    def course(span: RunSpan, _: FastRunSpan) -> None:
        span.attempt(1, 13 * S)
        span.attempt_failed(None, "no", 14 * S)
        span.awaiting_retry(2.0, 14 * S)
        span.attempt(2, 16 * S)
        span.end(COMPLETED, "Completed", "", None, 20 * S)

    traced = Traced(is_fast=True)
    span, _ = traced.start(at=10)
    course(span, span._span)
    attributes = traced.spans["fetch"].attributes
    assert attributes["flowspan.queued_s"] == 5.0
    assert attributes["flowspan.run_s"] == 5.0


def test_siblings_do_not_share_what_differs() -> None:
    """Equal parts come from caches, so a key that lacks a fact would show the fact of another."""
    other_flow = RunRecord(
        FLOW_ID,
        is_flow=True,
        function_name="other",
        run_name="",
        parent_run_id=None,
        root_run_id=ROOT_ID,
        flow_run_id=FLOW_ID,
    )
    thread_names = []

    def in_thread(span: RunSpan, fast: FastRunSpan) -> None:
        thread = threading.Thread(target=complete, args=(span, fast), name="loader")
        thread.start()
        thread.join()
        thread_names.append(thread.name)

    for fields in ({}, {"flow": other_flow}, {"root_run_id": FLOW_ID}, {"is_flow": True}):
        for course in (complete, in_thread, fail):
            assert_same(ended(course, **fields))
    assert set(thread_names) == {"loader"}


def test_caches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_encoding, "_CACHE_SIZE", 3)
    for name in ("_definitions", "_tags"):
        monkeypatch.setattr(run_encoding, name, {})
    for number in range(10):
        assert_same(ended(complete, function_name=f"fetch {number}", tags=(str(number),)))
    caches = run_encoding._definitions, run_encoding._tags
    assert [len(cache) <= 3 for cache in caches] == [True, True]
