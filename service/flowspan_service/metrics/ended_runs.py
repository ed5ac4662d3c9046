"""Counts of ended runs: how they ended, how long they ran, and how long they waited before.

They count the commits of this process since its start. An event that arrives again changes no run,
so it is not counted again.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from flowspan_service.domain.runs import RunKind
from flowspan_service.domain.states import StateType
from flowspan_service.domain.traces import is_derived, trace_of
from flowspan_service.metrics import families
from flowspan_service.metrics.histograms import Histogram
from flowspan_service.metrics.points import Figure, Point

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from flowspan_service.domain.runs import Run
    from flowspan_service.metrics.families import Family

MAX_FLOWS = 100
"""The number of flows with figures of their own: each has about sixty series."""
OTHER_FLOWS = "(other)"
"""The name under which all later flows are counted together."""

_FLOW = int(RunKind.FLOW)
_STATES = {int(each): each.name for each in StateType}


class _Timing(NamedTuple):
    """The histograms of a flow, or of all task runs."""

    ran: Histogram
    waited: Histogram


class EndedRuns:
    """A commit listener that counts the runs that ended. Any thread may read it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flow_ends: Counter[tuple[str, int]] = Counter()
        self._task_ends: Counter[int] = Counter()
        self._flows: dict[str, _Timing] = {}
        self._tasks = _Timing(
            Histogram(families.TASK_RUN_DURATION), Histogram(families.TASK_RUN_QUEUE_WAIT)
        )

    def __call__(self, *, ended: Sequence[Run], rolled_back: Collection[str], **_: object) -> None:
        """Count the runs of a commit, in the writer's thread."""
        if not ended:
            return
        with self._lock:
            for run in ended:
                if run.id not in rolled_back:
                    self._count(run)

    def figures(self) -> list[Figure]:
        """Return the counts so far."""
        with self._lock:
            flows = {name: self._flows[name] for name in sorted(self._flows)}
            return [
                Figure(
                    families.FLOW_RUNS_ENDED,
                    [
                        Point((flow, _STATES[state]), count)
                        for (flow, state), count in sorted(self._flow_ends.items())
                    ],
                ),
                Figure(
                    families.TASK_RUNS_ENDED,
                    [
                        Point((_STATES[state],), count)
                        for state, count in sorted(self._task_ends.items())
                    ],
                ),
                _by_flow(
                    families.FLOW_RUN_DURATION, ((name, each.ran) for name, each in flows.items())
                ),
                Figure(families.TASK_RUN_DURATION, [Point((), self._tasks.ran.read())]),
                _by_flow(
                    families.FLOW_RUN_QUEUE_WAIT,
                    ((name, each.waited) for name, each in flows.items()),
                ),
                Figure(families.TASK_RUN_QUEUE_WAIT, [Point((), self._tasks.waited.read())]),
            ]

    def _count(self, run: Run) -> None:
        if run.kind == _FLOW:
            flow, timing = self._flow(run.function_name)
            self._flow_ends[flow, +run.state.type] += 1
        else:
            timing = self._tasks
            self._task_ends[+run.state.type] += 1
        started_us = run.started_us
        if started_us is None:
            return
        traceparent = _traceparent(run)
        time_us = run.ended_us or started_us
        timing.ran.add_traced(run.run_duration_us / 1e6, time_us, traceparent)
        timing.waited.add_traced((started_us - run.created_us) / 1e6, time_us, traceparent)

    def _flow(self, name: str) -> tuple[str, _Timing]:
        timing = self._flows.get(name)
        if timing is None:
            if len(self._flows) >= MAX_FLOWS:
                name = OTHER_FLOWS
            timing = self._flows.setdefault(
                name,
                _Timing(
                    Histogram(families.FLOW_RUN_DURATION), Histogram(families.FLOW_RUN_QUEUE_WAIT)
                ),
            )
        return name, timing


def _traceparent(run: Run) -> str:
    """Return the traceparent of a run; empty if it has none, or if only its ancestors tell it."""
    trace = run.trace
    if trace is None:
        return ""
    if is_derived(trace):
        if run.parent_run_id is not None:
            return ""
        trace = trace_of(run, lambda _: None)
    return "" if trace is None else trace.traceparent


def _by_flow(family: Family, histograms: Iterable[tuple[str, Histogram]]) -> Figure:
    return Figure(family, [Point((name,), histogram.read()) for name, histogram in histograms])
