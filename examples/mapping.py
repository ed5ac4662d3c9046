"""Mapping: one task per item on threads, and handling of failed tasks.

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
    # One task per divisor. An unmapped argument is passed to all of them.
    futures = divide.map(unmapped(dividend), range(count))

    # The first task divides by zero. Its future has failed; the flow continues.
    futures.wait()
    failed = [future for future in futures if future.state.is_failed()]
    print(f"{len(failed)} of {len(futures)} failed: {failed[0].state.message}")

    # Futures can be passed to tasks directly: a task waits for its inputs.
    return mean([future for future in futures if future not in failed])


if __name__ == "__main__":
    # A flow fails if it raises or returns a failed state. This one does neither.
    print(f"the mean is {quotients():.2f}")
