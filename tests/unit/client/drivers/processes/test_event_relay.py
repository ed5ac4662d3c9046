"""The runs that a dead worker left open: how their spans end."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.trace import NoOpTracerProvider
from tests.support.traced_runs import S, Traced, make_record

from flowspan import telemetry
from flowspan.core.events import CREATED, STATE
from flowspan.core.states import StateType
from flowspan.drivers.processes.event_relay import Relay
from flowspan.telemetry.run_span import SpanTracer

if TYPE_CHECKING:
    from flowspan.core.events import Event, RunRecord

RUNNING, SCHEDULED = StateType.RUNNING.number, StateType.SCHEDULED.number
COMPLETED = StateType.COMPLETED.number


class Parent:
    """The process context of the parent, whose time stands still."""

    def __init__(self) -> None:
        self.relays: dict[int, Relay] = {}
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def now_ns(self) -> int:
        return 20 * S


@pytest.fixture(params=[True, False], ids=["fast", "sdk"])
def traced(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Traced:
    traced = Traced(is_fast=request.param)
    monkeypatch.setattr(telemetry, "_tracer", traced.tracer)
    return traced


def created(name: str, **fields: Any) -> tuple[RunRecord, Event]:
    """Return a run that the worker created ten seconds after 1970, with the ids of its span."""
    record = make_record(name, id=f"id of {name}", **fields)
    record.trace_ids, record.parent_span = (7, len(name), 1), 5
    return record, (CREATED, record, "Pending", 10 * S)


def entered(record: RunRecord, attempt: int, state_type: int, at: int) -> Event:
    return STATE, record.id, attempt, state_type, "", "", at * S, None, None


def test_spans_of_lost_runs_show_what_is_known(traced: Traced) -> None:
    flow, flow_created = created("inner-flow", is_flow=True, flow_run_id="id of inner-flow")
    task, task_created = created("retried", flow_run_id=flow.id)
    done, done_created = created("done", flow_run_id=flow.id)
    waiting, waiting_created = created("waiting", flow_run_id="id of outer")
    parent = Parent()
    relay = Relay(parent, lambda command: None)
    outer = make_record("outer", id="id of outer", is_flow=True)
    relay.caller = SimpleNamespace(flow_run=SimpleNamespace(record=outer))
    relay.open()
    relay.take(
        [
            flow_created,
            entered(flow, 1, RUNNING, 11),
            task_created,
            entered(task, 1, RUNNING, 12),
            entered(task, 1, SCHEDULED, 13),
            entered(task, 2, RUNNING, 17),
            done_created,
            entered(done, 1, RUNNING, 12),
            entered(done, 1, COMPLETED, 13),
            waiting_created,
        ]
    )
    assert relay.end_open(StateType.CRASHED, "The worker died.") == 3

    seen = {
        made.name: [
            made.attributes.get(f"flowspan.{name}")
            for name in ("flow.name", "flow_run.id", "attempts", "queued_s", "run_s")
        ]
        for made in traced.exporter.get_finished_spans()
    }
    assert seen == {
        "waiting": ["outer", "id of outer", 0, 10.0, 0.0],
        "retried": ["inner-flow", flow.id, 2, 6.0, 4.0],
        "inner-flow": ["inner-flow", flow.id, 1, 1.0, 9.0],
    }
    for made in traced.exporter.get_finished_spans():
        assert made.attributes["flowspan.span.synthetic"] is True
        assert made.attributes["error.type"] == "flowspan.crashed"
        assert (made.context.trace_id, made.parent.span_id) == (7, 5)
    assert [event[1:4] for event in parent.events[-3:]] == [
        (waiting.id, 1, StateType.CRASHED.number),
        (task.id, 2, StateType.CRASHED.number),
        (flow.id, 1, StateType.CRASHED.number),
    ]


def test_providers_that_are_not_of_the_sdk_get_no_spans_of_lost_runs(
    traced: Traced, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = SpanTracer(NoOpTracerProvider().get_tracer("x"), environ={}, provider=object())
    monkeypatch.setattr(telemetry, "_tracer", other)
    relay = Relay(Parent(), lambda command: None)
    relay.open()
    relay.take([created("waiting")[1]])
    assert relay.end_open(StateType.CRASHED, "The worker died.") == 1
    assert not traced.exporter.get_finished_spans()
