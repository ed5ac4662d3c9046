"""Subflows in asynchronous flows: one after the other, at once, and plain ones among them."""

import asyncio
from datetime import date

from prefect import flow, get_run_logger, task

LOADED: list[str] = []


@task(task_run_name="read {region} on {day:%A}")
async def read(region: str, day: date) -> int:
    await asyncio.sleep(0.01)
    return len(region) * day.day


@task
def write(region: str, count: int) -> str:
    LOADED.append(region)
    return f"{region}={count}"


@flow(flow_run_name="load-{region}-{day}")
async def load_region(region: str, day: date) -> str:
    get_run_logger().info("loading %s", region)
    count = await read(region, day)
    return write(region, count)


@flow
def plain_report(lines: list[str]) -> str:
    return ", ".join(sorted(lines))


@flow
async def broken(region: str):
    raise RuntimeError(f"no such region: {region}")


@flow(name="all-regions", validate_parameters=True)
async def load_all(regions: list[str], day: date = date(2024, 2, 29)) -> str:
    first = await load_region(regions[0], day)
    others = await asyncio.gather(*[load_region(region, day) for region in regions[1:]])
    state = await broken("mars", return_state=True)
    print(state.name, state.message)
    try:
        await broken("venus")
    except RuntimeError as error:
        print("caught:", error)
    result = await state.result(raise_on_failure=False)
    print("result:", repr(result))
    return plain_report([first, *others])


async def main():
    print(await load_all(["north", "south", "west"]))
    print(sorted(LOADED))
    state = await load_all(["east"], day="2024-03-01", return_state=True)
    print(state.type.value, await state.result())


asyncio.run(main())
print(plain_report(["b", "a"]))

# prefect prints: Failed Flow run encountered an exception: RuntimeError: no such region: mars
# flowspan prints: Failed RuntimeError: no such region: mars
# prints: caught: no such region: venus
# prints: result: RuntimeError('no such region: mars')
# prints: north=145, south=145, west=116
# prints: ['north', 'south', 'west']
# prefect prints: Failed Flow run encountered an exception: RuntimeError: no such region: mars
# flowspan prints: Failed RuntimeError: no such region: mars
# prints: caught: no such region: venus
# prints: result: RuntimeError('no such region: mars')
# prints: COMPLETED east=4
# prints: a, b
# because: a message is the error alone
