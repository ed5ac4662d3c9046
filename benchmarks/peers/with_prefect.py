"""The workloads with Prefect, which needs a running server.

`python with_prefect.py WORKLOAD [--count N] [--no-heartbeat]` prints a line of JSON. The script
runs in an environment with only Prefect, so it imports no modules of ours.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import time
from typing import TYPE_CHECKING, Any

from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

if TYPE_CHECKING:
    import uuid

    from prefect import Flow

# Prefect stores task states through a queue, at some tens per second.
VISIBLE_TIMEOUT_S = 120.0


@task
def nothing() -> None:
    pass


@task
def same(number: int) -> int:
    return number


def fibo(number: int) -> int:
    return number if number <= 1 else fibo(number - 1) + fibo(number - 2)


@task
def fibonacci(number: int) -> int:
    return fibo(number)


@flow
def empty_flow() -> None:
    pass


@flow
def sequential_tasks(count: int) -> None:
    for _ in range(count):
        nothing()


@flow
def mapped_tasks(count: int) -> int:
    return sum(same.map(range(count)).result())


@flow
def subflows(count: int) -> None:
    for _ in range(count):
        empty_flow()


@flow
def top_level_flow() -> None:
    nothing()


@flow
def fibonacci_flow(count: int, number: int) -> None:
    for _ in range(count):
        fibonacci(number)


def timed(run: Flow[..., Any], *arguments: Any) -> tuple[float, float]:
    """Call a flow; return the seconds to its return, and from there to the visible states."""
    began = time.perf_counter()
    state = run(*arguments, return_state=True)
    taken_s = time.perf_counter() - began
    assert state.is_completed()
    return taken_s, _until_visible(state.state_details.flow_run_id, arguments)


def _until_visible(flow_run_id: uuid.UUID, arguments: tuple[Any, ...]) -> float:
    wanted = arguments[0] if arguments else 1
    completed = {
        "flow_runs": {"id": {"any_": [str(flow_run_id)]}},
        "task_runs": {"state": {"type": {"any_": ["COMPLETED"]}}},
    }
    began = time.perf_counter()
    with get_client(sync_client=True) as client:
        while time.perf_counter() - began < VISIBLE_TIMEOUT_S:
            if client.request("POST", "/task_runs/count", json=completed).json() >= wanted:
                return time.perf_counter() - began
            time.sleep(0.02)
    raise SystemExit(f"the states of {wanted} tasks were not visible after {VISIBLE_TIMEOUT_S} s")


def measure(workload: str, count: int) -> dict[str, float]:
    """Return the figures of a workload, in seconds."""
    if workload == "task":
        sequential_tasks(5)
        taken_s, visible_s = timed(sequential_tasks, count)
        return {"task": taken_s / count, "visible": visible_s / count}
    if workload == "mapped":
        mapped_tasks(5)
        return {"mapped": timed(mapped_tasks, count)[0] / count}
    if workload == "subflow":
        subflows(1)
        began = time.perf_counter()
        subflows(count)
        return {"subflow": (time.perf_counter() - began) / count}
    if workload == "flow":
        top_level_flow()
        return {"flow": statistics.median(timed(top_level_flow)[0] for _ in range(count))}
    fibonacci_flow(2, 5)
    return {
        "fibo(10)": timed(fibonacci_flow, 40, 10)[0],
        "fibo(33)": timed(fibonacci_flow, 10, 33)[0],
    }


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("workload", choices=["task", "mapped", "subflow", "flow", "fibonacci"])
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--no-heartbeat", action="store_true")
    arguments = parser.parse_args()
    # An environment variable cannot express None, which disables heartbeats.
    heartbeat = (
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None})
        if arguments.no_heartbeat
        else contextlib.nullcontext()
    )
    with heartbeat:
        print(json.dumps(measure(arguments.workload, arguments.count)))


if __name__ == "__main__":
    main()
