"""CPU time of the engine alone: flows and tasks whose events are discarded.

`python -m benchmarks.engine_overhead [--json]`. The figures are CPU time of the process, which
other programs on the machine affect little: the median of several rounds. The workloads (`make
bench`) measure the cost of a run whose events a service stores.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from flowspan import flow, task
from flowspan.drivers.process import ProcessContext, set_process

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 7
TASKS = 5_000
FLOWS = 500

events: deque[Any] = deque()


def nothing(x: int) -> None:
    """Do nothing; the baseline function."""


noop = task(name="noop")(nothing)
subflow = flow(name="subflow")(nothing)


@task
async def noop_later(x: int) -> None:
    """Do nothing, asynchronously."""


@flow
def bare_calls(count: int) -> None:
    """Call the bare function."""
    for i in range(count):
        nothing(i)


@flow
def task_calls(count: int) -> None:
    """Call a task repeatedly."""
    for i in range(count):
        noop(i)


@flow
def task_map(count: int) -> None:
    """Map a task over threads."""
    noop.map(range(count))


@flow
def async_task_map(count: int) -> None:
    """Map an asynchronous task over an event loop."""
    noop_later.map(range(count))


@flow
def subflow_calls(count: int) -> None:
    """Call a subflow repeatedly."""
    for i in range(count):
        subflow(i)


@flow
async def async_task_calls(count: int) -> None:
    """Await an asynchronous task repeatedly."""
    for i in range(count):
        await noop_later(i)


def cpu_us(function: Callable[[int], Any], count: int) -> float:
    """Return the CPU time of one of `count` calls in microseconds: the median of the rounds."""
    figures = []
    for _ in range(ROUNDS + 1):
        events.clear()
        gc.collect()
        began = time.process_time()
        function(count)
        figures.append((time.process_time() - began) / count * 1e6)
    return statistics.median(figures[1:])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    process = ProcessContext(
        events.append,
        flush=lambda: None,
        watch_commands=lambda run_id, inbox: None,
        forget=lambda run_id: None,
    )
    before = set_process(process)
    try:
        figures = {
            "bare function call": cpu_us(bare_calls, TASKS),
            "task, sequential": cpu_us(task_calls, TASKS),
            "task, asynchronous": cpu_us(lambda n: asyncio.run(async_task_calls(n)), TASKS),
            "task, mapped on threads": cpu_us(task_map, TASKS),
            "task, asynchronous, mapped": cpu_us(async_task_map, TASKS),
            "subflow": cpu_us(subflow_calls, FLOWS),
            "top-level flow, not flushed": cpu_us(lambda n: [subflow(i) for i in range(n)], FLOWS),
        }
    finally:
        set_process(before)
    if arguments.json:
        json.dump({name: round(value, 2) for name, value in figures.items()}, sys.stdout)
        sys.stdout.write("\n")
        return
    for name, value in figures.items():
        sys.stdout.write(f"{name:<28} {value:8.2f} µs\n")


if __name__ == "__main__":
    main()
