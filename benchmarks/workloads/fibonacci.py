"""The public comparison of workflow engines: sequential tasks that compute Fibonacci numbers.

40 tasks of fibo(10) are nearly all overhead, 10 tasks of fibo(33) nearly none. Described at
https://www.windmill.dev/docs/misc/benchmarks/competitors.
"""

from __future__ import annotations

import time

from benchmarks.workloads.support import Outcome, checked, main
from flowspan import flow, task


def fibo(number: int) -> int:
    return number if number <= 1 else fibo(number - 1) + fibo(number - 2)


@task
def fibonacci(number: int) -> int:
    return fibo(number)


@flow(name="fibonacci")
def fibonacci_flow(count: int, number: int) -> None:
    for _ in range(count):
        fibonacci(number)


def measure(count: int) -> Outcome:
    outcome = Outcome({})
    fibonacci_flow(2, 5)
    began = time.perf_counter()
    fibonacci_flow(4 * count, 10)
    outcome.figures["fibo(10)"] = time.perf_counter() - began
    began = time.perf_counter()
    fibonacci_flow(count, 33)
    outcome.figures["fibo(33)"] = time.perf_counter() - began
    return checked(outcome, flow_runs=3, task_runs=2 + 5 * count)


if __name__ == "__main__":
    main(measure, count=10)
