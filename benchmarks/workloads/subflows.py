"""Cost of a no-op subflow, called sequentially in a flow."""

from __future__ import annotations

import time

from benchmarks.workloads.support import Outcome, checked, main
from flowspan import flow

WARM_UP = 50


@flow
def nothing() -> None:
    pass


@flow(name="subflows")
def subflows(count: int) -> None:
    for _ in range(count):
        nothing()


def measure(count: int) -> Outcome:
    subflows(WARM_UP)
    began = time.perf_counter()
    subflows(count)
    outcome = Outcome({"subflow": (time.perf_counter() - began) / count})
    return checked(outcome, flow_runs=WARM_UP + count + 2, task_runs=0)


if __name__ == "__main__":
    main(measure, count=1_000)
