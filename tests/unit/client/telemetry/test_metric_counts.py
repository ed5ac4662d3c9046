"""Counts of runs from the events that they report."""

from __future__ import annotations

from typing import Any

import pytest

from flowspan.core.events import ARTIFACT, CREATED, LOG, STATE, RunRecord
from flowspan.reporter.intake import FLUSH
from flowspan.telemetry.metric_counts import RunCounts
from flowspan.telemetry.metric_families import RUN_SECONDS

SECOND = 1_000_000_000
SCHEDULED, PENDING, RUNNING, CANCELLING, COMPLETED, FAILED = 1, 2, 3, 5, 6, 7


def created(counts: RunCounts, run_id: str, *, is_flow: bool = False) -> None:
    record = RunRecord(
        run_id,
        is_flow=is_flow,
        function_name="f",
        run_name="",
        parent_run_id=None,
        root_run_id=run_id,
        flow_run_id=None,
    )
    counts.note([(CREATED, record, "Pending", 0)])


def entered(counts: RunCounts, run_id: str, state: int, at_s: float, **_: Any) -> None:
    counts.note([(STATE, run_id, 1, state, "", "", round(at_s * SECOND), None, None)])


def test_a_run_is_counted_when_it_ends() -> None:
    counts = RunCounts()
    created(counts, "a", is_flow=True)
    created(counts, "b")
    entered(counts, "a", RUNNING, 1)
    entered(counts, "b", RUNNING, 2)
    assert counts.ended == {}
    entered(counts, "b", FAILED, 2.5)
    entered(counts, "a", COMPLETED, 31)
    assert counts.ended == {(False, FAILED): 1, (True, COMPLETED): 1}
    assert counts.durations[True].total == 30
    assert counts.durations[False].total == 0.5
    assert counts.durations[True].counts[RUN_SECONDS.index(30)] == 1


def test_the_waits_between_attempts_are_no_duration() -> None:
    counts = RunCounts()
    created(counts, "a")
    for state, at_s in ((PENDING, 0), (RUNNING, 1), (SCHEDULED, 3), (RUNNING, 10), (COMPLETED, 11)):
        entered(counts, "a", state, at_s)
    assert counts.durations[False].total == 3


def test_a_cancelling_run_still_works() -> None:
    counts = RunCounts()
    created(counts, "a")
    for state, at_s in ((RUNNING, 1), (CANCELLING, 2), (COMPLETED + 2, 5)):
        entered(counts, "a", state, at_s)
    assert counts.durations[False].total == 4
    assert counts.ended == {(False, COMPLETED + 2): 1}


def test_a_run_that_never_began_has_no_duration() -> None:
    counts = RunCounts()
    created(counts, "a")
    entered(counts, "a", COMPLETED, 5)
    assert counts.ended == {(False, COMPLETED): 1}
    assert sum(counts.durations[False].counts) == 0


def test_a_clock_that_goes_back_makes_no_negative_duration() -> None:
    counts = RunCounts()
    created(counts, "a")
    entered(counts, "a", RUNNING, 5)
    entered(counts, "a", COMPLETED, 3)
    assert counts.durations[False].total == 0


def test_a_rollback_after_the_end_is_not_counted() -> None:
    counts = RunCounts()
    created(counts, "a")
    entered(counts, "a", RUNNING, 1)
    entered(counts, "a", COMPLETED, 2)
    entered(counts, "a", COMPLETED, 3)
    assert counts.ended == {(False, COMPLETED): 1}


@pytest.mark.parametrize("code", [LOG, ARTIFACT, FLUSH])
def test_other_events_are_ignored(code: int) -> None:
    counts = RunCounts()
    counts.note([(code, object())])
    assert counts.ended == {}


def test_the_child_of_a_fork_counts_from_zero() -> None:
    counts = RunCounts()
    created(counts, "a")
    created(counts, "b")
    entered(counts, "a", COMPLETED, 1)
    counts.reset()
    entered(counts, "b", COMPLETED, 1)
    assert counts.ended == {}


def test_each_duration_is_told() -> None:
    told: list[tuple[float, bool]] = []
    counts = RunCounts(lambda seconds, is_flow: told.append((seconds, is_flow)))
    created(counts, "a", is_flow=True)
    entered(counts, "a", RUNNING, 1)
    entered(counts, "a", COMPLETED, 3)
    assert told == [(2.0, True)]
