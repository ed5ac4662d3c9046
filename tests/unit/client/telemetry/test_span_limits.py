"""The limits of a provider, on runs: they cut texts, and keep flowspan's own data."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanLimits
from tests.support.traced_runs import S, Traced

from flowspan.core.states import StateType

COMPLETED, FAILED = StateType.COMPLETED.number, StateType.FAILED.number


@pytest.fixture(params=[True, False], ids=["fast", "sdk"])
def is_fast(request: pytest.FixtureRequest) -> bool:
    return request.param


@pytest.mark.parametrize(
    "variable", ["OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT"]
)
def test_texts_of_runs_are_cut(
    is_fast: bool, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "4")
    traced = Traced(is_fast=is_fast, limits=SpanLimits())
    span, _ = traced.start("fetch", run_name="x" * 10, tags=("a" * 10, "b"))
    span.attempt(1, 0)
    span.end(FAILED, "Failed", "", ValueError("no"), 1 * S)

    made = traced.spans["fetch"]
    assert made.attributes["flowspan.run.name"] == "xxxx"
    assert made.attributes["flowspan.tags"] == ("aaaa", "b")
    assert made.attributes["flowspan.state.name"] == "Fail"
    assert made.attributes["error.type"] == "Valu"
    (event,) = made.events
    longer = variable == "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT"  # not for events
    assert event.attributes["exception.type"] == ("ValueError" if longer else "Valu")


def test_many_attributes_of_user_code_evict_none_of_flowspan(is_fast: bool) -> None:
    traced = Traced(is_fast=is_fast)
    span, record = traced.start("fetch", tags=("a",))
    span.attempt(1, 0)
    token = span.enter()
    for number in range(300):
        trace.get_current_span().set_attribute(f"key {number}", number)
    span.leave(token)
    span.end(COMPLETED, "Completed", "", None, 1 * S)

    attributes = traced.spans["fetch"].attributes
    assert attributes["flowspan.run.id"] == record.id
    assert attributes["flowspan.run.name"] == "fetch-1"
    assert attributes["flowspan.tags"] == ("a",)
    assert attributes["flowspan.state.type"] == "COMPLETED"
    assert attributes["code.function.name"].endswith("sample")
    assert attributes["key 299"] == 299, "the oldest ones are dropped"
    assert "key 0" not in attributes
    assert len(attributes) == 128
    kept = sum(key.startswith("key ") for key in attributes)
    dropped = traced.spans["fetch"].dropped_attributes
    # The SDK also counts those of flowspan, which are set once more at the end.
    assert dropped == 300 - kept if is_fast else dropped > 300 - kept


def test_events_of_user_code_evict_none_of_flowspan() -> None:
    """This holds for fast spans; the SDK's keep the newest events, whosever they are."""
    traced = Traced(is_fast=True)
    span, _ = traced.start("fetch", at=10)
    span.attempt(1, 13 * S)
    token = span.enter()
    for number in range(200):
        trace.get_current_span().add_event(f"event {number}", None, 14 * S)
    span.made_artifact("a1", "table", "", 15 * S)
    for number in range(200, 300):
        trace.get_current_span().add_event(f"event {number}", None, 16 * S)
    span.leave(token)
    span.end(FAILED, "Failed", "", ValueError("no"), 17 * S)

    made = traced.spans["fetch"]
    names = [event.name for event in made.events]
    assert [name for name in names if not name.startswith("event ")] == [
        "flowspan.running",
        "flowspan.artifact",
        "exception",
    ]
    assert names[-2] == "event 299"
    assert (len(names), made.dropped_events) == (128, 300 - 125)


def test_flowspan_evicts_its_oldest_events_if_there_are_no_others() -> None:
    traced = Traced(is_fast=True, limits=SpanLimits(max_events=2))
    span, _ = traced.start("fetch")
    span.attempt(1, 0)
    for number in range(5):
        span.made_artifact(f"a{number}", "table", "", number)
    trace.get_current_span()
    span.end(COMPLETED, "Completed", "", None, 1 * S)

    made = traced.spans["fetch"]
    assert [event.attributes["flowspan.artifact.id"] for event in made.events] == ["a3", "a4"]
    assert made.dropped_events == 3


def test_links_of_user_code_evict_none_of_flowspan() -> None:
    traced = Traced(is_fast=True)
    span, _ = traced.start("fetch")
    span.link(f"00-{7:032x}-{8:016x}-01", "r0", "rows")
    token = span.enter()
    for number in range(1, 201):
        trace.get_current_span().add_link(trace.SpanContext(number, 1, is_remote=True))
    span.leave(token)
    span.end(COMPLETED, "Completed", "", None, 1 * S)

    made = traced.spans["fetch"]
    traces = [link.context.trace_id for link in made.links]
    assert traces == [7, *range(74, 201)]
    assert made.dropped_links == 73
