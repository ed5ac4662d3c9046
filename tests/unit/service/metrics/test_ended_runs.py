"""Counts of ended runs, by flow and state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.store.builders import START_US, a_run, a_state

from flowspan_service.domain.runs import RunKind, TraceContext
from flowspan_service.domain.states import StateType
from flowspan_service.metrics import ended_runs, families
from flowspan_service.metrics.ended_runs import EndedRuns

if TYPE_CHECKING:
    from flowspan_service.domain.runs import Run
    from flowspan_service.metrics.families import Family
    from flowspan_service.metrics.points import Distribution


def an_ended_run(
    state: StateType = StateType.COMPLETED,
    *,
    waited_s: float = 1.0,
    ran_s: float = 2.0,
    **values: Any,
) -> Run:
    ended_us = START_US + round((waited_s + ran_s) * 1e6)
    run = a_run(state=a_state(state, ended_us), **values)
    run.started_us = START_US + round(waited_s * 1e6)
    run.run_duration_us = round(ran_s * 1e6)
    run.ended_us = ended_us
    return run


def told(counts: EndedRuns, *ended: Run, rolled_back: tuple[str, ...] = ()) -> None:
    counts(ended=ended, rolled_back=rolled_back, position=1, roots=())


def values_of(counts: EndedRuns, family: Family) -> dict[tuple[str, ...], Any]:
    (figure,) = (each for each in counts.figures() if each.family is family)
    return {point.attributes: point.value for point in figure.points}


def test_flow_runs_are_counted_by_flow_and_task_runs_by_state() -> None:
    counts = EndedRuns()
    root = an_ended_run(function_name="etl")
    told(
        counts,
        root,
        an_ended_run(StateType.FAILED, function_name="etl"),
        an_ended_run(function_name="load"),
        an_ended_run(StateType.CRASHED, parent=root),
    )
    told(counts, an_ended_run(function_name="etl"), an_ended_run(parent=root))
    assert values_of(counts, families.FLOW_RUNS_ENDED) == {
        ("etl", "COMPLETED"): 2,
        ("etl", "FAILED"): 1,
        ("load", "COMPLETED"): 1,
    }
    assert values_of(counts, families.TASK_RUNS_ENDED) == {("COMPLETED",): 1, ("CRASHED",): 1}


def test_durations_and_waits_are_those_of_the_runs() -> None:
    counts = EndedRuns()
    told(counts, an_ended_run(function_name="etl", waited_s=0.002, ran_s=7.0))
    told(counts, an_ended_run(function_name="etl", waited_s=20.0, ran_s=0.01))
    ran: Distribution = values_of(counts, families.FLOW_RUN_DURATION)["etl",]
    assert ran.total == pytest.approx(7.01)
    bounds = families.RUN_SECONDS
    assert [bounds[bucket] for bucket, count in enumerate(ran.counts) if count] == [0.025, 10.0]
    waited: Distribution = values_of(counts, families.FLOW_RUN_QUEUE_WAIT)["etl",]
    assert waited.total == pytest.approx(20.002)
    assert sum(values_of(counts, families.TASK_RUN_DURATION)[()].counts) == 0


def test_a_run_that_never_began_has_an_end_and_no_times() -> None:
    counts = EndedRuns()
    run = an_ended_run(StateType.CANCELLED, function_name="etl")
    run.started_us = None
    told(counts, run)
    assert values_of(counts, families.FLOW_RUNS_ENDED) == {("etl", "CANCELLED"): 1}
    assert sum(values_of(counts, families.FLOW_RUN_DURATION)["etl",].counts) == 0
    assert sum(values_of(counts, families.FLOW_RUN_QUEUE_WAIT)["etl",].counts) == 0


def test_a_rollback_is_no_second_end() -> None:
    counts = EndedRuns()
    root = a_run()
    run = an_ended_run(parent=root)
    told(counts, run)
    told(counts, run, an_ended_run(parent=root), rolled_back=(run.id,))
    assert values_of(counts, families.TASK_RUNS_ENDED) == {("COMPLETED",): 2}


def test_later_flows_share_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ended_runs, "MAX_FLOWS", 2)
    counts = EndedRuns()
    for name in ("a", "b", "c", "d", "a"):
        told(counts, an_ended_run(function_name=name))
    assert values_of(counts, families.FLOW_RUNS_ENDED) == {
        ("(other)", "COMPLETED"): 2,
        ("a", "COMPLETED"): 2,
        ("b", "COMPLETED"): 1,
    }
    assert set(values_of(counts, families.FLOW_RUN_DURATION)) == {("(other)",), ("a",), ("b",)}


def exemplar_of(run: Run) -> tuple[str, str] | None:
    counts = EndedRuns()
    told(counts, run)
    family = families.FLOW_RUN_DURATION if run.kind == RunKind.FLOW else families.TASK_RUN_DURATION
    (values,) = values_of(counts, family).values()
    found = [each for each in values.exemplars if each is not None]
    if not found:
        return None
    (exemplar,) = found
    assert exemplar.value == 2.0
    assert exemplar.time_us == run.ended_us
    return exemplar.trace_id, exemplar.span_id


def test_exemplars_name_the_span_of_the_run() -> None:
    trace = TraceContext(f"00-{'a' * 32}-{'b' * 16}-01")
    assert exemplar_of(an_ended_run(trace=trace)) == ("a" * 32, "b" * 16)
    assert exemplar_of(an_ended_run(parent=a_run(), trace=trace)) == ("a" * 32, "b" * 16)
    unsampled = TraceContext(f"00-{'a' * 32}-{'b' * 16}-00")
    assert exemplar_of(an_ended_run(trace=unsampled)) is None
    assert exemplar_of(an_ended_run()) is None


def test_the_span_of_a_root_follows_from_its_id_and_no_other_does() -> None:
    derived = TraceContext("", exported_by_service=True)
    root = an_ended_run(trace=derived)
    digits = root.id.replace("-", "")
    assert exemplar_of(root) == (digits, digits[16:])
    assert exemplar_of(an_ended_run(parent=root, trace=derived)) is None
