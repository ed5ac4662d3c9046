"""Cost of keeping task results in a flow with retries.

`python -m benchmarks.kept_results [--json]`: copying values of several kinds, reading the
copies, and calling tasks in a flow with and without retries. CPU time, the median of several
rounds; events are discarded.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowspan import flow, task
from flowspan.drivers.process import ProcessContext, set_process
from flowspan.results.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 7
CALLS = 2_000


@dataclass
class Point:
    """A small object."""

    x: int = 1
    y: int = 2


VALUES: dict[str, tuple[Any, int]] = {
    "a number": (7, 20_000),
    "a small dictionary": ({"day": "monday", "rows": 3}, 20_000),
    "a small object": (Point(), 20_000),
    "10,000 small dictionaries": ([{"day": "monday", "rows": n} for n in range(10_000)], 20),
    "100,000 numbers": (list(range(100_000)), 20),
}


@task
def noop(x: int) -> int:
    return x


def call_by_name(count: int) -> None:
    """Call a task that is an attribute of its module."""
    for i in range(count):
        noop(i)


def call_closure(count: int) -> None:
    """Call a task that is defined in a function and closes over a local variable."""
    step = 1

    @task
    def add(x: int) -> int:
        return x + step

    for i in range(count):
        add(i)


def cpu_us(function: Callable[[], Any], count: int, *, is_called_once: bool = False) -> float:
    """Return the CPU time of one of `count` calls in microseconds: the median of the rounds."""
    figures = []
    for _ in range(ROUNDS + 1):
        begun = time.process_time()
        for _ in range(1 if is_called_once else count):
            function()
        figures.append((time.process_time() - begun) / count * 1e6)
    return statistics.median(figures[1:])


def measure() -> dict[str, float]:
    """Return the figures, in microseconds."""
    figures = {}
    for name, (value, count) in VALUES.items():
        copy = Snapshot(value)
        figures[f"copy {name}"] = cpu_us(lambda value=value: Snapshot(value), count)
        figures[f"read {name}"] = cpu_us(copy.load, count)
    for name, function in {"a task by its name": call_by_name, "a closure": call_closure}.items():
        for retries in (0, 1):
            calls = flow(retries=retries)(function)
            kind = "with" if retries else "without"
            figures[f"call {name}, {kind} retries"] = cpu_us(
                lambda calls=calls: calls(CALLS), CALLS, is_called_once=True
            )
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    process = ProcessContext(
        lambda event: None,
        flush=lambda: None,
        watch_commands=lambda run_id, inbox: None,
        forget=lambda run_id: None,
    )
    before = set_process(process)
    try:
        figures = measure()
    finally:
        set_process(before)
    if arguments.json:
        sys.stdout.write(json.dumps(figures) + "\n")
        return
    for name, value in figures.items():
        sys.stdout.write(f"{name:<42} {value:10.2f} µs\n")


if __name__ == "__main__":
    main()
