import asyncio

from flowspan import flow


@flow
async def etl():
    print("> waiting")
    await asyncio.sleep(3600)


@flow
def other():
    pass


state = asyncio.run(etl(return_state=True))
print(">", state.type.value.lower())
input()
other()
