"""The workloads with DBOS, where a workflow replaces a flow and a step replaces a task.

`python with_dbos.py WORKLOAD [--count N]` prints a line of JSON. DBOS_SYSTEM_DATABASE_URL is
the URL of its database. DBOS is a library without a server: each step is stored before the next
one starts. The script runs in an environment with only DBOS, so it imports no modules of ours.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from typing import TYPE_CHECKING, Any

from dbos import DBOS

if TYPE_CHECKING:
    from collections.abc import Callable


def fibo(number: int) -> int:
    return number if number <= 1 else fibo(number - 1) + fibo(number - 2)


@DBOS.step()
def nothing() -> None:
    pass


@DBOS.step()
def fibonacci(number: int) -> int:
    return fibo(number)


@DBOS.workflow()
def empty_flow() -> None:
    pass


@DBOS.workflow()
def top_level_flow() -> None:
    nothing()


@DBOS.workflow()
def same(number: int) -> int:
    return number


@DBOS.workflow()
def sequential_tasks(count: int) -> None:
    for _ in range(count):
        nothing()


@DBOS.workflow()
def mapped_tasks(count: int) -> int:
    # Steps run in the thread of their workflow, so parallel work needs one workflow each.
    handles = [DBOS.start_workflow(same, number) for number in range(count)]
    return sum(handle.get_result() for handle in handles)


@DBOS.workflow()
def subflows(count: int) -> None:
    for _ in range(count):
        empty_flow()


@DBOS.workflow()
def fibonacci_flow(count: int, number: int) -> None:
    for _ in range(count):
        fibonacci(number)


def timed(run: Callable[..., Any], *arguments: Any) -> float:
    """Call a workflow; return the seconds until it returned."""
    began = time.perf_counter()
    run(*arguments)
    return time.perf_counter() - began


def measure(workload: str, count: int) -> dict[str, float]:
    """Return the figures of a workload, in seconds."""
    if workload == "task":
        sequential_tasks(5)
        return {"task": timed(sequential_tasks, count) / count, "visible": 0.0}
    if workload == "mapped":
        mapped_tasks(5)
        return {"mapped": timed(mapped_tasks, count) / count}
    if workload == "subflow":
        subflows(5)
        return {"subflow": timed(subflows, count) / count}
    if workload == "flow":
        top_level_flow()
        return {"flow": statistics.median(timed(top_level_flow) for _ in range(count))}
    fibonacci_flow(2, 5)
    return {
        "fibo(10)": timed(fibonacci_flow, 40, 10),
        "fibo(33)": timed(fibonacci_flow, 10, 33),
    }


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("workload", choices=["task", "mapped", "subflow", "flow", "fibonacci"])
    parser.add_argument("--count", type=int, default=10)
    arguments = parser.parse_args()
    url = os.environ["DBOS_SYSTEM_DATABASE_URL"]
    DBOS(config={"name": "bench", "system_database_url": url, "log_level": "WARNING"})
    DBOS.launch()
    print(json.dumps(measure(arguments.workload, arguments.count)))
    DBOS.destroy()


if __name__ == "__main__":
    main()
