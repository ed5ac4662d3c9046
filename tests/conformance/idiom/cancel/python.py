import asyncio

from flowspan import flow, task


@task
async def slow():
    print("> waiting")
    await asyncio.sleep(3600)


@task
async def after():
    pass


@flow
async def etl():
    await slow()
    await after()


state = asyncio.run(etl(return_state=True))
print(">", state.type.value.lower())
