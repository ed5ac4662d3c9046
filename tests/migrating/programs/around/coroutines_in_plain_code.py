"""An asynchronous flow or task that plain code calls gives a coroutine, for asyncio.run."""

import asyncio

from prefect import flow, task


@task
async def load(x):
    await asyncio.sleep(0)
    return x + 1


@flow
async def below(x):
    return await load(x)


async def both():
    return await asyncio.gather(load(3), load(4))


async def failing():
    raise ValueError("of a coroutine")


@task
def in_task(x):
    return asyncio.run(load(x))


@task
def returned_by_task(x):
    return load(x)


@flow
def returned_by_flow(x):
    return load(x)


@flow
def returns_own_coroutine():
    return failing()


@flow
def main():
    coroutine = load(0)
    print(asyncio.iscoroutine(coroutine), asyncio.run(coroutine))
    loop = asyncio.new_event_loop()
    print(loop.run_until_complete(load(1)))
    loop.close()
    print(asyncio.run(both()))
    print(asyncio.run(below(5)))
    print(in_task(6), in_task.submit(7).result())
    print(asyncio.run(returned_by_task(8)))
    print(returned_by_flow(10))
    print(asyncio.run(load(11, return_state=True)).name)
    print(load.submit(12).result(), load.map([13, 14]).result())
    try:
        returns_own_coroutine()
    except ValueError as error:
        print(error)


@flow
async def main_later():
    print(await returned_by_task(20), returned_by_flow(21))
    print(await load(22))


main()
asyncio.run(main_later())
print(returned_by_flow(30))

# prints: True 1
# prints: 2
# prints: [4, 5]
# prints: 6
# prints: 7 8
# prints: 9
# prints: 11
# prints: Completed
# prints: 13 [14, 15]
# prints: of a coroutine
# prints: 21 22
# prints: 23
# prints: 31
