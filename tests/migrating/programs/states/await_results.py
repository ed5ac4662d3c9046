"""In asynchronous code a state's result is awaited, and `_sync=True` gives it at once."""

import asyncio
import inspect

from prefect import flow, task
from prefect.states import Completed


@task
async def double(x):
    return 2 * x


@task
def plain(x):
    state = Completed(data=x)
    return state.result()


@task
async def fail():
    raise ValueError("no")


@flow
async def inner():
    return "inner"


async def helper(state):
    return await state.result()


def gives(state):
    result = state.result()
    if inspect.iscoroutine(result):
        result.close()
        return "a coroutine"
    return result


@flow
def sync_flow():
    return gives(Completed(data="a value"))


def hook(flow, run, state):
    print("hook:", gives(state))


async def ahook(flow, run, state):
    print("async hook:", await state.result())


@flow(on_completion=[hook, ahook])
async def main():
    state = await double(2, return_state=True)
    print(await state.result(), await state.aresult(), state.result(_sync=True))
    print(await helper(state))
    print(await asyncio.gather(state.result(), (await inner(return_state=True)).result()))
    print(await asyncio.create_task(state.result()))
    failed = await fail(return_state=True)
    try:
        await failed.result()
    except ValueError as error:
        print(repr(error))
    print(repr(await failed.result(raise_on_failure=False)))
    print(repr(await failed.result(raise_on_failure=False, retry_result_failure=False)))
    print(repr(failed.result(raise_on_failure=False, _sync=True)))
    print(gives(state), "-", inspect.iscoroutine(co := state.result(_sync=False)))
    co.close()
    print(plain(3), sync_flow())
    print(await asyncio.to_thread(gives, state))
    future = double.submit(5)
    print(future.result())
    future.wait()
    print(await future.state.result())
    states = double.map([1, 2], return_state=True)
    print([await each.result() for each in states])
    return "done"


print(gives(Completed(data="top")))
print(asyncio.run(main()))


async def outside():
    state = await double(4, return_state=True)
    print(await state.result(), gives(state))
    print(sync_flow())


asyncio.run(outside())


@flow
async def unawaited():
    return (await double(1, return_state=True)).result(_sync=True)


print(asyncio.run(unawaited()))

# prints: top
# prints: 4 4 4
# prints: 4
# prints: [4, 'inner']
# prints: 4
# prints: ValueError('no')
# prints: ValueError('no')
# prints: ValueError('no')
# prints: ValueError('no')
# prints: a coroutine - True
# prints: 3 a value
# prints: a coroutine
# prints: 10
# prints: 10
# prints: [2, 4]
# prints: hook: a coroutine
# prints: async hook: done
# prints: done
# prints: 8 a coroutine
# prints: a value
# prints: 2
