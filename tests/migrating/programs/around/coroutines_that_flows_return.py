"""A flow that returns a coroutine, plain or asynchronous, gives what the coroutine returns."""

import asyncio

from prefect import flow, task


@task
async def load(x):
    return x + 1


@task
async def fail():
    raise ValueError("no")


@flow
async def below(x):
    return load(x)


@flow
async def calls():
    return below(10)


@flow
async def fails():
    return fail()


@flow
def plain():
    return calls()


@flow
async def from_states():
    return load(20, return_state=True)


@flow
async def in_a_list():
    return [load(30)]


@task
async def passes_on():
    return load(40)


@flow
async def of_a_task():
    coroutine = await passes_on()
    return asyncio.iscoroutine(coroutine), await coroutine


@flow(timeout_seconds=60)
async def in_time():
    return load(50)


class Job:
    @flow
    async def run(self):
        return self.step()

    @task
    async def step(self):
        return "step"


print(asyncio.run(below(0)), asyncio.run(calls()), plain())
try:
    asyncio.run(fails())
except ValueError as error:
    print(error)
print(asyncio.run(from_states()).result())
[coroutine] = asyncio.run(in_a_list())
print(asyncio.run(coroutine))
print(asyncio.run(of_a_task()))
print(asyncio.run(in_time()))
print(asyncio.run(Job().run()))


@flow
async def gathers():
    return await asyncio.gather(below(1), below(2))


print(asyncio.run(gathers()))
state = asyncio.run(fails(return_state=True))
print(state.name)
value = asyncio.run(below(3, return_state=True)).result()
print(asyncio.run(value) if asyncio.iscoroutine(value) else value)

# prints: 1 11 11
# prints: no
# prints: 21
# prints: 31
# prints: (True, 41)
# prints: 51
# prints: step
# prints: [2, 3]
# prefect prints: Completed
# flowspan prints: Failed
# prints: 4
# because: the coroutine runs within the run of the flow, so that an error in it is one of the run
