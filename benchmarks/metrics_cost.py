"""CPU time that metrics add to one task run: `python -m benchmarks.metrics_cost`.

In the client, the reporter's thread counts the events of a batch. In the service, the writer's
thread counts the ended runs of a commit, and each transaction. The figures are the minimum of
several rounds, and the variants take turns, so that other load on the machine hardly matters.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from flowspan.core.events import CREATED, STATE, RunRecord
from flowspan.reporter.intake import Builder, Intake
from flowspan.reporter.tally import Tally
from flowspan.telemetry.metric_counts import RunCounts
from flowspan.telemetry.metric_instruments import ProviderMeter
from flowspan_service.app.ports import Written
from flowspan_service.domain.runs import Run, RunKind, TraceContext
from flowspan_service.domain.states import State, StateType
from flowspan_service.metrics.ended_runs import EndedRuns
from flowspan_service.metrics.writes import Writes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROUNDS = 15
RUNS = 1_200
"""The runs of a batch, in about as many events as a batch has at most."""
TRACEPARENT = f"00-{'a' * 32}-{'b' * 16}-01"


class CountingMeter:
    """The client's own counts, without the thread that exports them."""

    def __init__(self) -> None:
        self.observe = RunCounts().note


def events() -> list[Any]:
    """Return the events of task runs."""
    found: list[Any] = []
    for number in range(RUNS):
        run_id = f"0199c0de-0000-7000-8000-{number:012d}"
        record = RunRecord(
            run_id,
            is_flow=False,
            function_name="noop",
            run_name="noop-1",
            parent_run_id=None,
            root_run_id=run_id,
            flow_run_id=None,
        )
        found.append((CREATED, record, "Pending", 1_000))
        found.append((STATE, run_id, 1, 3, "Running", "", 2_000, None, None))
        found.append((STATE, run_id, 1, 6, "Completed", "", 3_000, None, None))
    return found


def build(meter: Any, reported: Sequence[Any]) -> float:
    """Return the CPU time of building a batch for one run, in seconds."""
    intake, tally = Intake(), Tally()
    tally.meter = meter
    intake.states.extend(reported)
    builder = Builder(intake, lambda event, error: None, tally)
    began = time.thread_time()
    builder.build(0, joins=True)
    took = time.thread_time() - began
    assert not intake, "the events did not fit into one batch"
    return took / RUNS


def ended_runs() -> list[Run]:
    """Return task runs that ended."""
    state = State(StateType.COMPLETED, "Completed", "", 3)
    trace = TraceContext(TRACEPARENT)
    ids = [f"0199c0de-0000-7000-8000-{number:012d}" for number in range(RUNS)]
    root = ids[0]
    fixed = ("noop", "noop-1", root, root, root, (), None, trace, "", 1, state)
    runs = [Run(each, RunKind.TASK, *fixed) for each in ids]
    for run in runs:
        run.started_us, run.ended_us, run.run_duration_us = 2, 3, 1
    return runs


def count_commit(runs: Sequence[Run]) -> float:
    """Return the CPU time of counting a commit for one run, in seconds."""
    counts, writes = EndedRuns(), Writes()
    written = Written(0, took_s=0.02, waited_s=0.001, operation_count=1, transition_count=3 * RUNS)
    began = time.thread_time()
    counts(ended=runs, rolled_back=())
    writes(written)
    return (time.thread_time() - began) / RUNS


def main() -> None:
    """Print a line for each place."""
    metrics.set_meter_provider(MeterProvider(metric_readers=[InMemoryMetricReader()]))
    reported, runs = events(), ended_runs()
    variants: dict[str, Callable[[], float]] = {
        "off": lambda: build(None, reported),
        "own": lambda: build(CountingMeter(), reported),
        "provider": lambda: build(ProviderMeter(Tally()), reported),
        "service": lambda: count_commit(runs),
    }
    best = dict.fromkeys(variants, float("inf"))
    for _ in range(ROUNDS):
        for name, measure in variants.items():
            best[name] = min(best[name], measure())
    print("CPU time that metrics add to a task run, in µs")
    for title, value in (
        ("client, reporter's thread", best["own"] - best["off"]),
        ("client, with a meter provider of the program", best["provider"] - best["off"]),
        ("service, writer's thread", best["service"]),
    ):
        print(f"{title:50}{value * 1e6:6.2f}")


if __name__ == "__main__":
    main()
