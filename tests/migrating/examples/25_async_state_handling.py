"""States in asynchronous flows: awaited results, and failures that are looked at."""

import asyncio

from prefect import allow_failure, flow, task
from prefect.states import get_state_exception, raise_state_exception


@task
async def fetch(number: int) -> int:
    if number < 0:
        raise ValueError(f"{number} is too small")
    return number * 10


@task
def fetch_plainly(number: int) -> int:
    return 100 // number


@task
async def describe(value) -> str:
    return f"<{value}>" if isinstance(value, int) else f"<no value: {type(value).__name__}>"


@flow
async def look_at_states(numbers: list[int]):
    total = 0
    for number in numbers:
        state = await fetch(number, return_state=True)
        if state.is_completed():
            total += await state.result()
        else:
            error = await state.result(raise_on_failure=False)
            print(f"{number}: {state.name}, {error!r}")
    return total


@flow
async def submitted(numbers: list[int]):
    futures = [fetch.submit(number) for number in numbers]
    for future in futures:
        future.wait()
    print([future.state.name for future in futures])
    texts = [describe.submit(allow_failure(future)) for future in futures]
    return [text.result() for text in texts]


@flow
async def mixed():
    plain = fetch_plainly(0, return_state=True)
    error = await get_state_exception(plain)
    print("exception:", error)
    try:
        await raise_state_exception(plain)
    except ZeroDivisionError as raised:
        print("raised:", raised)
    good = await fetch(1, return_state=True)
    print(await good.aresult(), fetch_plainly(5))
    return good


@flow
async def fails():
    await fetch(-7)


@flow
async def parent():
    state = await fails(return_state=True)
    try:
        await state.result()
    except ValueError as error:
        print("from the subflow:", error)
    return "went on"


async def main():
    print(await look_at_states([1, 2, -3]))
    print(await submitted([4, -5]))
    print(await mixed())
    print(await parent())
    state = await fails(return_state=True)
    print(state.type.value, "|", state.message)
    result = await (await look_at_states([9], return_state=True)).result()
    print(result)


asyncio.run(main())
state = asyncio.run(look_at_states([3], return_state=True))
print(state.name, state.result())

# prints: -3: Failed, ValueError('-3 is too small')
# prints: 30
# prints: ['Completed', 'Failed']
# prints: ['<40>', '<no value: ValueError>']
# prints: exception: integer division or modulo by zero
# prints: raised: integer division or modulo by zero
# prints: 10 20
# prints: Completed()
# prints: from the subflow: -7 is too small
# prints: went on
# prefect prints: FAILED | Flow run encountered an exception: ValueError: -7 is too small
# flowspan prints: FAILED | ValueError: -7 is too small
# prints: 90
# prints: Completed 30
# because: a message is the error alone
