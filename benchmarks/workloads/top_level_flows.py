"""Cost of a top-level flow of one task, which returns when all its states are acknowledged.

The figure is the median time of one call.
"""

from __future__ import annotations

import statistics
import time

from benchmarks.workloads.support import Outcome, checked, main
from flowspan import flow, task

WARM_UP = 20


@task
def nothing() -> None:
    pass


@flow(name="top-level-flow")
def top_level_flow() -> None:
    nothing()


def measure(count: int) -> Outcome:
    for _ in range(WARM_UP):
        top_level_flow()
    taken_s = []
    for _ in range(count):
        began = time.perf_counter()
        top_level_flow()
        taken_s.append(time.perf_counter() - began)
    outcome = Outcome(
        {"flow": statistics.median(taken_s)},
        {"flow, p99 (s)": statistics.quantiles(taken_s, n=100)[98]},
    )
    return checked(outcome, flow_runs=WARM_UP + count, task_runs=WARM_UP + count)


if __name__ == "__main__":
    main(measure, count=200)
