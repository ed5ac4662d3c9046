"""Mapping: a task for each item, on threads, and what to do with those that fail.

python examples/mapping.py && flowspan run show latest
"""

from __future__ import annotations

from flowspan import flow, task, unmapped
from flowspan.task_runners import ThreadPoolTaskRunner


@task
def divide(dividend: int, divisor: int) -> float:
    return dividend / divisor


@task
def mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers)


@flow(task_runner=ThreadPoolTaskRunner(max_workers=4))
def quotients(dividend: int = 120, count: int = 12) -> float:
    # One task for each divisor; what is unmapped is the same for all of them.
    futures = divide.map(unmapped(dividend), range(count))

    # The first divides by zero. Its future knows, and the flow goes on.
    futures.wait()
    failed = [future for future in futures if future.state.is_failed()]
    print(f"{len(failed)} of {len(futures)} failed: {failed[0].state.message}")

    # Futures may be given to tasks as they are: a task waits for its inputs.
    return mean([future for future in futures if future not in failed])


if __name__ == "__main__":
    # A flow fails if it raises, or if it returns a state that failed; this one does neither.
    print(f"the mean is {quotients():.2f}")
