"""Runs below a run of another process, and what a run hands on to other programs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

from flowspan import flow, runtime, task
from flowspan.connection import run_context
from flowspan.connection.run_context import call_metadata
from flowspan.context import get_run_context, run_environ, run_headers
from flowspan.core.run_context import parse_run_context
from flowspan.telemetry.propagation import continued, inject_environ

if TYPE_CHECKING:
    from tests.support.recorder import Recorder

RUN = "0199c0de-0000-7000-8000-000000000001"
OTHER = "0199c0de-0000-7000-8000-000000000002"
ROOT = "0199c0de-0000-7000-8000-0000000000ff"


def digits(run_id: str) -> str:
    return run_id.replace("-", "")


def span_with(member: str) -> NonRecordingSpan:
    state = TraceState([("rojo", "1"), ("flowspan", member)])
    return NonRecordingSpan(
        SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1), trace_state=state)
    )


@task
def step() -> None:
    """Do nothing."""


@flow
def pipeline() -> None:
    step()


@pytest.fixture(autouse=True)
def outer_runs(recorder: Recorder) -> None:
    recorder.outer_runs |= {RUN, OTHER, ROOT}


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the environment as a run does for its child process."""
    monkeypatch.setenv("FLOWSPAN_RUN", f"r:{digits(RUN)};t:{digits(ROOT)}")


@pytest.fixture
def warnings(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> pytest.LogCaptureFixture:
    """Forget earlier warnings; capture those of the test."""
    monkeypatch.setattr(run_context, "_warned", set())
    caplog.set_level(logging.WARNING, "flowspan")
    return caplog


def test_top_level_run_is_a_child_of_the_run_that_started_the_process(
    recorder: Recorder, started: None
) -> None:
    pipeline()
    run, below = recorder.run("pipeline"), recorder.run("step")
    assert (run.parent_run_id, run.root_run_id, run.flow_run_id) == (RUN, ROOT, run.id)
    assert (below.parent_run_id, below.root_run_id) == (run.id, ROOT)


def test_task_outside_flows_is_a_child_as_well(recorder: Recorder, started: None) -> None:
    step()
    run = recorder.run("step")
    assert (run.parent_run_id, run.root_run_id, run.flow_run_id) == (RUN, ROOT, None)


def test_runtime_says_the_root_of_the_tree(recorder: Recorder, started: None) -> None:
    seen = []

    @flow
    def inner() -> None:
        seen.append((runtime.flow_run.root_flow_run_id, runtime.flow_run.parent_flow_run_id))

    @flow
    def outer() -> None:
        seen.append((runtime.flow_run.root_flow_run_id, runtime.flow_run.parent_flow_run_id))
        inner()

    outer()
    assert seen == [(ROOT, None), (ROOT, recorder.run("outer").id)]


def test_order_of_the_carriers(
    recorder: Recorder, started: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACESTATE", f"flowspan=r:{digits(ROOT)}")
    step()
    with trace.use_span(span_with(f"r:{digits(OTHER)}")):
        step()
        with continued({"Flowspan-Run": f"r:{digits(ROOT)}"}):
            step()
            with continued({"tracestate": "x=1"}):
                step()
    monkeypatch.delenv("FLOWSPAN_RUN")
    step()
    assert [run.parent_run_id for run in recorder.runs] == [RUN, OTHER, ROOT, OTHER, ROOT]


@pytest.mark.parametrize("text", ["", "rojo=1", "flowspan"])
def test_tracestate_of_others_names_no_run(
    recorder: Recorder,
    warnings: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
) -> None:
    monkeypatch.setenv("TRACESTATE", text)
    step()
    (run,) = recorder.runs
    assert (run.parent_run_id, run.root_run_id) == (None, run.id)
    assert warnings.messages == []


def test_malformed_context_is_ignored_with_one_warning_per_carrier(
    recorder: Recorder, warnings: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in ("r:42", "\udcff", "r:43"):
        monkeypatch.setenv("FLOWSPAN_RUN", text)
        with trace.use_span(span_with(text if text.isascii() else "x")):
            step()
    assert [run.parent_run_id for run in recorder.runs] == [None] * 3
    assert [text.partition(" is ignored")[0] for text in warnings.messages] == [
        "flowspan= in the tracestate of the current span",
        "FLOWSPAN_RUN",
    ]


def test_run_hands_itself_on(recorder: Recorder, started: None) -> None:
    handed = []

    @task
    def calls() -> None:
        handed.extend([run_headers(), run_environ(), dict(call_metadata() or ())])
        handed.append(inject_environ({"FLOWSPAN_RUN": "older", "TRACESTATE": "older", "A": "b"}))
        assert get_run_context().run.record.id == recorder.run("calls").id

    calls()
    text = f"r:{digits(recorder.run('calls').id)};t:{digits(ROOT)}"
    headers, environ, metadata, injected = handed
    assert headers == metadata == {"flowspan-run": text}
    assert environ == {"FLOWSPAN_RUN": text}
    assert injected == {"FLOWSPAN_RUN": text, "A": "b"}


def test_nothing_is_handed_on_outside_runs(started: None) -> None:
    with trace.use_span(span_with(f"r:{digits(OTHER)}")):
        assert run_headers() == run_environ() == {}
        assert call_metadata() is None


def test_span_of_the_program_is_handed_on_in_the_name_of_the_run(recorder: Recorder) -> None:
    handed = {}

    @flow
    def calls() -> None:
        with trace.use_span(span_with(f"r:{digits(OTHER)}")):
            handed.update(run_environ())

    calls()
    run = recorder.run("calls")
    assert parse_run_context(handed["FLOWSPAN_RUN"]).run_id == run.id
    assert handed["TRACEPARENT"] == f"00-{1:032x}-{2:016x}-01"
    assert handed["TRACESTATE"] == f"flowspan=r:{digits(run.id)},rojo=1"
