"""flowspan's thread pool and concurrent.futures.ThreadPoolExecutor.

`python -m benchmarks.thread_pool [--json]`: the time and the number of threads for many calls that
do nothing, and for calls that wait. The pools have no limit of their own; the executor's default is
32 threads, or the number of processors plus 4 if that is less. Wall time, the median of several
rounds; `cpu` is the CPU time of the process.
"""

from __future__ import annotations

import argparse
import json
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from flowspan.drivers.task_runners.thread_pool import ThreadPool

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 5
CALLS = 10_000
WAITING_CALLS = 200
WAIT_S = 0.05
PREFIX = "measured"
EXECUTOR_THREADS = 1_000
"""A limit that no workload here reaches."""


class Executor:
    """ThreadPoolExecutor with the interface of ThreadPool."""

    def __init__(self, max_threads: int | None, name: str) -> None:
        self._executor = ThreadPoolExecutor(max_threads, thread_name_prefix=name)

    def put(self, call: Callable[[], object]) -> None:
        """Submit a call."""
        self._executor.submit(call)

    def close(self) -> None:
        """Let the threads end."""
        self._executor.shutdown(wait=False)


POOLS: dict[str, Callable[[], Any]] = {
    "flowspan": lambda: ThreadPool(None, PREFIX),
    "executor, default": lambda: Executor(None, PREFIX),
    f"executor, {EXECUTOR_THREADS:,} threads": lambda: Executor(EXECUTOR_THREADS, PREFIX),
}


def run(pool: Any, count: int, work: Callable[[], object]) -> tuple[float, float, int]:
    """Run calls; return the wall time, the CPU time in seconds, and the number of threads."""
    done, ended = threading.Event(), []

    def call() -> None:
        work()
        ended.append(None)
        if len(ended) == count:
            done.set()

    began, cpu_began = time.perf_counter(), time.process_time()
    for _ in range(count):
        pool.put(call)
    done.wait()
    took, cpu = time.perf_counter() - began, time.process_time() - cpu_began
    threads = sum(thread.name.startswith(PREFIX) for thread in threading.enumerate())
    pool.close()
    while any(thread.name.startswith(PREFIX) for thread in threading.enumerate()):
        time.sleep(0.001)
    return took, cpu, threads


def figures_of(make: Callable[[], Any]) -> dict[str, float]:
    """Measure one pool."""
    quick = [run(make(), CALLS, lambda: None) for _ in range(ROUNDS)]
    waiting = [run(make(), WAITING_CALLS, lambda: time.sleep(WAIT_S)) for _ in range(ROUNDS)]
    single = [run(make(), 1, lambda: None) for _ in range(20 * ROUNDS)]
    return {
        f"{CALLS:,} no-op calls (ms)": median(quick, 0) * 1e3,
        f"{CALLS:,} no-op calls, cpu (ms)": median(quick, 1) * 1e3,
        f"{CALLS:,} no-op calls, threads": median(quick, 2),
        f"{WAITING_CALLS} calls that wait for 50 ms (ms)": median(waiting, 0) * 1e3,
        f"{WAITING_CALLS} calls that wait, threads": median(waiting, 2),
        "the first call of a new pool (µs)": median(single, 0) * 1e6,
    }


def median(rows: list[tuple[float, float, int]], column: int) -> float:
    """Return the median of a column."""
    return statistics.median(row[column] for row in rows)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    figures = {name: figures_of(make) for name, make in POOLS.items()}
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return
    print(" " * 36 + "".join(f"{name:>26}" for name in figures))
    for name in next(iter(figures.values())):
        print(f"{name:36}" + "".join(f"{each[name]:26,.1f}" for each in figures.values()))


if __name__ == "__main__":
    main()
