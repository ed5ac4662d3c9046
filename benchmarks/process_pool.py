"""Cost of tasks in worker processes: the first task, further tasks, and the speedup.

`python -m benchmarks.process_pool [--json]`. Events are discarded, so that only the task runner
is measured. Wall time, because several processes are involved and waiting is part of it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import TYPE_CHECKING

from flowspan import flow, task
from flowspan.drivers.process import ProcessContext, set_process
from flowspan.task_runners import ProcessPoolTaskRunner

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 5
TASKS = 500
SUM_TO = 3_000_000
LARGE_BYTES = 50_000_000


@task
def nothing(x: int) -> int:
    return x


@task
def add_up(size: int) -> int:
    return sum(x * x for x in range(size))


@task
def echo(data: bytes) -> bytes:
    return data


@flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
def first_and_further() -> tuple[float, float, float]:
    """Return the seconds for the first task, for each further one, and for a large round trip."""
    begun = time.perf_counter()
    nothing.submit(0).result()
    first = time.perf_counter() - begun
    begun = time.perf_counter()
    nothing.map(range(TASKS)).result()
    further = (time.perf_counter() - begun) / TASKS
    data = bytes(LARGE_BYTES)
    begun = time.perf_counter()
    echo.submit(data).result()
    return first, further, time.perf_counter() - begun


def busy(workers: int) -> float:
    """Return the seconds for eight CPU-bound tasks on workers that have been started."""

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=workers))
    def compute() -> float:
        add_up.map([10_000] * workers).result()
        begun = time.perf_counter()
        add_up.map([SUM_TO] * 8).result()
        return time.perf_counter() - begun

    return compute()


def measure() -> dict[str, float]:
    """Return the figures by name."""
    rounds = [first_and_further() for _ in range(ROUNDS)]
    first, further, large = (statistics.median(column) for column in zip(*rounds, strict=True))
    one, two = (statistics.median(busy(workers) for _ in range(3)) for workers in (1, 2))
    return {
        "first_task_ms": first * 1e3,
        "further_task_us": further * 1e6,
        "tasks_per_second": 1 / further,
        "megabytes_per_second": 2 * LARGE_BYTES / large / 1e6,
        "speedup_of_two": one / two,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    ignore: Callable[..., None] = lambda *_: None  # noqa: E731 - shorter
    set_process(ProcessContext(ignore, flush=ignore, watch_commands=ignore, forget=ignore))
    figures = measure()
    if options.json:
        print(json.dumps(figures))
        return
    print(f"first task, including process start           {figures['first_task_ms']:8.0f} ms")
    print(f"no-op task, one worker                       {figures['further_task_us']:8.0f} µs")
    print(f"no-op tasks, one worker                      {figures['tasks_per_second']:8.0f} /s")
    print(
        f"50 MB round trip                             {figures['megabytes_per_second']:8.0f} MB/s"
    )
    print(f"speedup with two workers                     {figures['speedup_of_two']:8.2f} ×")


if __name__ == "__main__":
    main()
