"""Asynchronous flows and tasks: a hundred concurrent waits without threads.

python examples/async_flow.py && flowspan run show latest
"""

from __future__ import annotations

import asyncio
import time

from flowspan import flow, task


@task
async def ask(number: int) -> int:
    """Simulate a network call."""
    await asyncio.sleep(0.2)
    return number * number


@task
def add_up(numbers: list[int]) -> int:
    """Add numbers. Asynchronous flows may call plain tasks."""
    return sum(numbers)


@flow
async def squares(count: int = 100) -> int:
    answers = await asyncio.gather(*(ask(number) for number in range(count)))
    return add_up(answers)


if __name__ == "__main__":
    began_s = time.monotonic()
    print(asyncio.run(squares()), f"after {time.monotonic() - began_s:.1f} s")
