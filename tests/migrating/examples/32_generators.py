"""Tasks and flows that yield: batches of rows as they come."""

import asyncio
from typing import AsyncGenerator, Generator, Iterator

from prefect import flow, task

LOG: list[str] = []


@task
def read_batches(rows: int, size: int) -> Iterator[list[int]]:
    for start in range(0, rows, size):
        LOG.append(f"read {start}")
        yield list(range(start, min(start + size, rows)))


@task
def write(batch: list[int]) -> int:
    LOG.append(f"write {batch[0]}")
    return len(batch)


@flow
def copy(rows: int, size: int) -> int:
    return sum(write(batch) for batch in read_batches(rows, size))


@flow
def numbers(limit: int) -> Generator[int, None, str]:
    for number in range(limit):
        yield number
    return "the end"


@task
async def stream(limit: int) -> AsyncGenerator[str, None]:
    for number in range(limit):
        await asyncio.sleep(0)
        yield f"event {number}"


@flow
async def consume(limit: int) -> list[str]:
    return [event async for event in stream(limit)]


@flow
async def ticks(limit: int):
    for number in range(limit):
        yield number


@task
def breaks() -> Iterator[int]:
    yield 1
    raise ValueError("the source is gone")


@flow
def careful() -> list[int]:
    got = []
    try:
        for number in breaks():
            got.append(number)
    except ValueError as error:
        print("stopped:", error)
    return got


print(copy(7, 3))
print(LOG)
print(list(numbers(3)))
numbered = numbers(2)
print(next(numbered), next(numbered), next(numbered, "exhausted"))
print(asyncio.run(consume(3)))
print(careful())


async def main():
    print([number async for number in ticks(4)])


asyncio.run(main())
submitted = flow(name="submits")(lambda: read_batches.submit(4, 2).result())
print(submitted())

# prints: 7
# prints: ['read 0', 'write 0', 'read 3', 'write 3', 'read 6', 'write 6']
# prints: [0, 1, 2]
# prints: 0 1 exhausted
# prints: ['event 0', 'event 1', 'event 2']
# prints: stopped: the source is gone
# prints: [1]
# prints: [0, 1, 2, 3]
# prints: [[0, 1], [2, 3]]
