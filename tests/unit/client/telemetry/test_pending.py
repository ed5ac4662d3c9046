"""The span that makes a running flow findable."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, get_value
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from tests.support.traced_runs import S, Traced

from flowspan import clock
from flowspan.core.states import StateType
from flowspan.telemetry import pending

if TYPE_CHECKING:
    from collections.abc import Callable

COMPLETED = StateType.COMPLETED.number


class Timers:
    """Stands in for the clock's timers: the test lets them fire."""

    def __init__(self) -> None:
        self.set: list[tuple[float, clock.Timer]] = []

    def call_later(self, seconds: float, callback: Callable[[], object]) -> clock.Timer:
        timer = clock.Timer(callback)
        self.set.append((seconds, timer))
        return timer

    def fire(self) -> None:
        """Let all timers fire, and wait for the threads that they start."""
        for _, timer in self.set:
            timer.fire()
        for thread in threading.enumerate():
            if thread.name == "flowspan-pending":
                thread.join(10)


@pytest.fixture
def timers(monkeypatch: pytest.MonkeyPatch) -> Timers:
    timers = Timers()
    monkeypatch.setattr(pending.clock, "call_later", timers.call_later)
    # A timer that is cancelled counts itself in the real ones.
    monkeypatch.setattr(clock._timers, "forget_one", lambda: None)
    return timers


@pytest.fixture(params=[True, False], ids=["fast", "sdk"])
def is_fast(request: pytest.FixtureRequest) -> bool:
    return request.param


@pytest.fixture
def traced(is_fast: bool) -> Traced:
    return Traced(is_fast=is_fast)


def flow_fields(**more: Any) -> dict[str, Any]:
    return {"is_flow": True, "flow_run_id": "r1", "tags": ("a",), **more}


def test_a_flow_that_still_runs_is_shown_once(traced: Traced, timers: Timers) -> None:
    flushed: list[tuple[int, object]] = []

    def force_flush(timeout_ms: int) -> bool:
        flushed.append((timeout_ms, get_value(_SUPPRESS_INSTRUMENTATION_KEY)))
        return True

    traced.provider.force_flush = force_flush  # type: ignore[method-assign]
    span, _ = traced.start("etl", at=10, **flow_fields())
    span.attempt(1, 10 * S)
    assert [seconds for seconds, _ in timers.set] == [2.0]
    timers.fire()
    timers.fire()

    (started,) = traced.exporter.get_finished_spans()
    assert started.name == "etl started"
    # Jaeger warns of spans without a length.
    assert (started.start_time, started.end_time) == (10 * S, 10 * S + 1)
    made = dict(started.attributes or {})
    assert made["flowspan.span.pending"] is True
    assert made["flowspan.run.id"] == "r1"
    assert made["flowspan.run.name"] == "etl-1"
    assert made["flowspan.run.kind"] == "flow"
    assert made["flowspan.tags"] == ("a",)
    assert flushed == [(5_000, True)], "it is sent at once, and sending makes no spans"
    span.end(COMPLETED, "Completed", "", None, 20 * S)
    run = traced.spans["etl"]
    assert started.parent.span_id == run.context.span_id
    assert "flowspan.span.pending" not in (run.attributes or {})


def test_a_flow_that_has_ended_is_not_shown(traced: Traced, timers: Timers) -> None:
    span, _ = traced.start("etl", **flow_fields())
    span.end(COMPLETED, "Completed", "", None, 1 * S)
    timers.fire()
    assert list(traced.spans) == ["etl"]


@pytest.mark.parametrize(
    "fields",
    [
        {"is_flow": False, "flow_run_id": None},
        {"parent_run_id": "r0", "root_run_id": "r0"},
    ],
    ids=["task", "nested flow"],
)
def test_other_runs_are_not_shown(traced: Traced, timers: Timers, fields: dict[str, Any]) -> None:
    traced.start("etl", **flow_fields(**fields))
    assert timers.set == []


def test_a_flow_below_the_span_of_a_request_is_shown(traced: Traced, timers: Timers) -> None:
    with traced.provider.get_tracer("web").start_as_current_span("GET /"):
        span, record = traced.start("etl", **flow_fields())
    timers.fire()
    assert traced.spans["etl started"].parent.span_id == int(record.traceparent[36:52], 16)
    span.end(COMPLETED, "Completed", "", None, 1 * S)


def test_a_flow_that_is_not_sampled_is_not_shown(is_fast: bool, timers: Timers) -> None:
    traced = Traced(is_fast=is_fast, sampler=ALWAYS_OFF)
    traced.start("etl", **flow_fields())
    assert timers.set == []


def test_many_flows_at_once(traced: Traced, timers: Timers) -> None:
    spans = [traced.start("etl", **flow_fields(id=f"r{n}"))[0] for n in range(50)]
    for span in spans[:25]:
        span.end(COMPLETED, "Completed", "", None, 1 * S)
    timers.fire()
    shown = [
        (span.attributes or {})["flowspan.run.id"]
        for span in traced.exporter.get_finished_spans()
        if span.name == "etl started"
    ]
    assert sorted(shown) == sorted(f"r{n}" for n in range(25, 50))


def test_a_failure_does_not_reach_the_flow(traced: Traced, timers: Timers) -> None:
    def force_flush(timeout_ms: int) -> bool:
        raise OSError("no receiver")

    traced.provider.force_flush = force_flush  # type: ignore[method-assign]
    span, _ = traced.start("etl", **flow_fields())
    timers.fire()
    span.end(COMPLETED, "Completed", "", None, 1 * S)
    assert set(traced.spans) == {"etl started", "etl"}
