"""A timeout of 0 is no timeout."""

import asyncio
import time

from prefect import flow, task

for seconds in (0, 0.0, None):

    @task(timeout_seconds=seconds)
    def plain():
        time.sleep(0.01)
        return 1

    @task(timeout_seconds=seconds)
    async def later():
        await asyncio.sleep(0.01)
        return 2

    @flow(timeout_seconds=seconds)
    def outer():
        return plain(), plain.submit().result()

    @flow(timeout_seconds=seconds)
    async def outer_later():
        return await later()

    print(plain(), asyncio.run(later()), outer(), asyncio.run(outer_later()))
    print(plain.timeout_seconds, later.timeout_seconds, outer.timeout_seconds)

# prints: 1 2 (1, 1) 2
# prints: None None None
# prints: 1 2 (1, 1) 2
# prints: None None None
# prints: 1 2 (1, 1) 2
# prints: None None None
