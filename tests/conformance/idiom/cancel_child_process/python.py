import asyncio
import os
import sys

from flowspan import flow
from flowspan.context import run_environ


@flow
async def child():
    print("> waiting")
    await asyncio.sleep(3600)


@flow
async def parent():
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, __file__, "child"], env={**os.environ, **run_environ()}
    )
    try:
        await process.wait()
    finally:
        await process.wait()


which = child if sys.argv[1:] == ["child"] else parent
state = asyncio.run(which(return_state=True))
print(">", which.name, state.type.value.lower())
