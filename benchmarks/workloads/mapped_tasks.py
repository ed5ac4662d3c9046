"""A flow that maps a no-op task over threads, measured from the flow's call to its return."""

from __future__ import annotations

import time

from benchmarks.workloads.support import Outcome, checked, main
from flowspan import flow, task

WARM_UP = 200


@task
def same(number: int) -> int:
    return number


@flow(name="mapped-tasks")
def mapped_tasks(count: int) -> int:
    return sum(same.map(range(count)).result())


def measure(count: int) -> Outcome:
    mapped_tasks(WARM_UP)
    began = time.perf_counter()
    total = mapped_tasks(count)
    whole_s = time.perf_counter() - began
    assert total == count * (count - 1) // 2
    outcome = Outcome({"whole": whole_s, "task": whole_s / count})
    return checked(outcome, flow_runs=2, task_runs=WARM_UP + count)


if __name__ == "__main__":
    main(measure, count=10_000)
