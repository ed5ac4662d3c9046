"""Helpers for coroutines in plain code, and plain code in coroutines."""

import asyncio

from prefect import flow, task
from prefect.utilities.asyncutils import (
    is_async_fn,
    run_coro_as_sync,
    run_sync_in_worker_thread,
    sync_compatible,
)


@sync_compatible
async def double(x: int) -> int:
    return 2 * x


@sync_compatible
async def quadruple(x: int) -> int:
    return await double(await double(x))


@task
def plain_task(x: int) -> int:
    return quadruple(x)


@task
async def async_task(x: int) -> int:
    return await quadruple(x)


@flow
def plain_flow() -> list:
    return [double(1), quadruple(1), plain_task(2), run_coro_as_sync(double(3, _sync=False))]


@flow
async def async_flow() -> list:
    results = [await double(1), await quadruple(1), await async_task(2)]
    return [*results, await run_sync_in_worker_thread(plain_task, 3), plain_task(4)]


async def outside() -> list:
    return [await double(5), double(5, _sync=True)]


print(double(1), quadruple(1), double.__name__, is_async_fn(async_flow.fn))
print(plain_flow())
print(asyncio.run(async_flow()))
print(asyncio.run(outside()))

# prints: 2 4 double True
# prints: [2, 4, 8, 6]
# prints: [2, 4, 8, 12, 16]
# prints: [10, 10]
