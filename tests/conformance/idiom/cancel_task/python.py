import asyncio

from flowspan import flow, task


@task
async def slow():
    print("> waiting")
    await asyncio.sleep(3600)


@task
async def after():
    print("> after")


@flow
async def etl():
    state = await slow(return_state=True)
    print(">", state.type.value.lower())
    await after()


asyncio.run(etl())
