"""Cost of a no-op task, called sequentially in a flow.

The figure is the time from the call of the flow to its return, when every state is stored and
acknowledged, divided by the number of tasks.
"""

from __future__ import annotations

import time

from benchmarks.workloads.support import Outcome, checked, main
from flowspan import flow, task

WARM_UP = 500


@task
def nothing() -> None:
    pass


@flow(name="sequential-tasks")
def sequential_tasks(count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        nothing()
    return time.perf_counter() - began


def measure(count: int) -> Outcome:
    sequential_tasks(WARM_UP)
    began = time.perf_counter()
    in_flow_s = sequential_tasks(count)
    whole_s = time.perf_counter() - began
    outcome = Outcome({"task": whole_s / count}, {"task, within the flow (s)": in_flow_s / count})
    return checked(outcome, flow_runs=2, task_runs=WARM_UP + count)


if __name__ == "__main__":
    main(measure, count=10_000)
