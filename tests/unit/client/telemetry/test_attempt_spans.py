"""The span of the first attempt of a run that may be retried."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from tests.support.traced_runs import S, Traced, sample

from flowspan.core.retries import RetryPolicy
from flowspan.core.run_details import RunDetails
from flowspan.core.states import StateType
from flowspan.telemetry.propagation import inject

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from flowspan.core.events import RunRecord
    from flowspan.telemetry.run_span import RunSpan

COMPLETED, FAILED = StateType.COMPLETED.number, StateType.FAILED.number
OTHER = trace.SpanContext(1, 2, is_remote=True)


@pytest.fixture(params=[True, False], ids=["fast", "sdk"])
def traced(request: pytest.FixtureRequest) -> Traced:
    return Traced(is_fast=request.param)


@pytest.fixture
def fast() -> Traced:
    return Traced(is_fast=True)


def start(traced: Traced) -> tuple[RunSpan, RunRecord]:
    """Start a run that may be retried, and its first attempt."""
    details = RunDetails(sample, None, RetryPolicy(2))
    span, record = traced.start("fetch", id=str(uuid4()), details=details)
    span.attempt(1, 1 * S)
    return span, record


def named(traced: Traced, name: str) -> list[ReadableSpan]:
    return [span for span in traced.exporter.get_finished_spans() if span.name == name]


def test_spans_of_the_first_attempt_are_its_children(traced: Traced) -> None:
    span, _ = start(traced)
    token = span.enter()
    with traced.provider.get_tracer("library").start_as_current_span("first"):
        pass
    traced.start("inner")[0].end(COMPLETED, "Completed", "", None, 1 * S)
    span.leave(token)
    span.attempt_failed(ValueError("no"), "ValueError: no", 2 * S)
    span.attempt(2, 2 * S)
    token = span.enter()
    with traced.provider.get_tracer("library").start_as_current_span("second"):
        pass
    span.leave(token)
    span.end(COMPLETED, "Completed", "", None, 3 * S)

    first, second = named(traced, "fetch attempt")
    assert traced.spans["first"].parent.span_id == first.context.span_id
    assert traced.spans["inner"].parent.span_id == first.context.span_id
    assert traced.spans["second"].parent.span_id == second.context.span_id
    assert first.attributes["error.type"] == "ValueError"
    assert (first.start_time, first.end_time) == (1 * S, 2 * S)


def test_attempt_to_which_nothing_refers_is_not_exported(fast: Traced) -> None:
    span, _ = start(fast)
    span.leave(span.enter())
    span.end(COMPLETED, "Completed", "", None, 2 * S)
    assert list(fast.spans) == ["fetch"]


@pytest.mark.parametrize("use", ["library", "run", "injection", "context"])
def test_attempt_to_which_something_refers_is_exported(fast: Traced, use: str) -> None:
    span, _ = start(fast)
    token = span.enter()
    if use == "library":
        fast.provider.get_tracer("library").start_span("SELECT").end()
    elif use == "run":
        fast.start("inner")[0].end(COMPLETED, "Completed", "", None, 1 * S)
    elif use == "injection":
        inject()
    else:
        trace.get_current_span().get_span_context()
    span.leave(token)
    span.end(FAILED, "Failed", "no", ValueError("no"), 2 * S)

    attempt, run = fast.spans["fetch attempt"], fast.spans["fetch"]
    assert attempt.parent.span_id == run.context.span_id
    assert attempt.attributes["flowspan.attempt"] == 1
    assert attempt.attributes["error.type"] == run.attributes["error.type"] == "ValueError"
    others = [made for made in fast.spans.values() if made.name in {"SELECT", "inner"}]
    assert all(made.parent.span_id == attempt.context.span_id for made in others)


def test_data_of_user_code_is_on_the_run_if_the_attempt_is_not_exported(fast: Traced) -> None:
    span, _ = start(fast)
    token = span.enter()
    current = trace.get_current_span()
    current.set_attribute("rows", 3)
    current.add_event("checkpoint", {"at": 1}, 1 * S)
    current.add_link(OTHER, {"why": "because"})
    current.set_status(trace.StatusCode.OK)
    span.made_artifact("a1", "table", "", 1 * S)
    span.leave(token)
    span.end(COMPLETED, "Completed", "", None, 2 * S)

    (run,) = fast.exporter.get_finished_spans()
    assert run.attributes["rows"] == 3
    assert [event.name for event in run.events] == [
        "flowspan.running",
        "checkpoint",
        "flowspan.artifact",
    ]
    assert [link.context for link in run.links] == [OTHER]
    assert run.status.status_code is trace.StatusCode.OK
    current.set_attribute("late", 1)
    assert "late" not in run.attributes


def test_ids_of_attempts_follow_from_the_run(fast: Traced) -> None:
    """The service derives the same ids when the process dies (proto/flowspan/v1/trace.proto)."""
    span, record = start(fast)
    span.attempt_failed(None, "no", 2 * S)
    span.attempt(2, 2 * S)
    span.end(COMPLETED, "Completed", "", None, 3 * S)

    run_id = bytes.fromhex(record.id.replace("-", ""))
    for number, made in enumerate(named(fast, "fetch attempt"), start=1):
        digest = sha256(run_id + number.to_bytes(4, "big")).digest()
        assert made.context.span_id == int.from_bytes(digest[:8], "big")


def test_logs_name_an_exported_span(fast: Traced) -> None:
    span, record = start(fast)
    own = tuple(record.traceparent.split("-")[1:3])
    token = span.enter()
    assert span.current_ids() == span.own_ids() == own, "nothing refers to the attempt yet"
    fast.provider.get_tracer("library").start_span("SELECT").end()
    ids = span.current_ids(), span.own_ids()
    span.leave(token)
    span.end(COMPLETED, "Completed", "", None, 2 * S)
    attempt = fast.spans["fetch attempt"].context
    assert set(ids) == {(own[0], f"{attempt.span_id:016x}")}


def test_run_without_retries_has_no_attempt(traced: Traced) -> None:
    span, _ = traced.start("fetch")
    span.attempt(1, 1 * S)
    token = span.enter()
    traced.provider.get_tracer("library").start_span("SELECT").end()
    span.leave(token)
    span.end(COMPLETED, "Completed", "", None, 2 * S)
    assert traced.spans["SELECT"].parent.span_id == traced.spans["fetch"].context.span_id
    assert len(traced.spans) == 2


def test_unsampled_run_exports_no_attempt() -> None:
    traced = Traced(is_fast=True, sampler=ALWAYS_OFF)
    span, _ = start(traced)
    token = span.enter()
    inject()
    span.leave(token)
    span.attempt_failed(None, "no", 2 * S)
    span.end(FAILED, "Failed", "no", None, 3 * S)
    assert traced.exporter.get_finished_spans() == ()


def set_many_attributes(span: RunSpan) -> None:
    """Set more attributes on the current span of a run than the limit of a span."""
    token = span.enter()
    for number in range(300):
        trace.get_current_span().set_attribute(f"key {number}", number)
    span.leave(token)


def test_attempts_keep_their_number_beside_many_attributes_of_user_code(traced: Traced) -> None:
    span, _ = start(traced)
    set_many_attributes(span)
    span.attempt_failed(ValueError("no"), "ValueError: no", 2 * S)
    span.attempt(2, 2 * S)
    set_many_attributes(span)
    span.attempt(3, 3 * S)  # the second one ends without a failure, as that of a paused run
    set_many_attributes(span)
    span.end(COMPLETED, "Completed", "", None, 4 * S)

    attempts = [each.attributes or {} for each in named(traced, "fetch attempt")]
    assert [each["flowspan.attempt"] for each in attempts] == [1, 2, 3]
    assert {len(each) for each in attempts} == {128}
