"""Tasks without a flow, and variants of them with other options."""

import asyncio

from prefect import Task, flow, task
from prefect.runtime import flow_run, task_run

CALLS: list[str] = []


@task(retries=2, retry_delay_seconds=0, tags=["api"])
def fetch(url: str) -> str:
    """Fetch a page."""
    CALLS.append(url)
    if len(CALLS) % 2:
        raise ConnectionError(url)
    return f"{task_run.task_name}: {url}, in a flow: {flow_run.id is not None}"


@task
async def fetch_async(url: str) -> str:
    await asyncio.sleep(0)
    return url.upper()


@task(persist_result=False)
def add(a: int, b: int = 1) -> int:
    return a + b


quick = fetch.with_options(name="quick fetch", retries=0)
stubborn = fetch.with_options(retries=5, retry_delay_seconds=[0, 0, 0, 0, 0], tags=["api", "x"])

print(fetch("http://a"), CALLS)
state = quick("http://b", return_state=True)
print(state.name, repr(state.result(raise_on_failure=False)))
print(quick.name, quick.retries, fetch.retries, stubborn.retries, stubborn.retry_delay_seconds)
print(sorted(fetch.tags), sorted(stubborn.tags), fetch.description)
print(fetch.__name__, fetch.__doc__, isinstance(fetch, Task), fetch.isasync, fetch_async.isasync)
print(fetch_async.persist_result, add.persist_result, add.timeout_seconds, add.version)

print(add(1), add(1, b=5), add.fn(2))


async def main():
    print(await fetch_async("x"))
    print(await asyncio.gather(fetch_async("a"), fetch_async("b")))
    state = await fetch_async("c", return_state=True)
    print(state.name, await state.result())
    print(add(4))


asyncio.run(main())
print(asyncio.run(fetch_async("alone")))


@flow
def plain_flow():
    return asyncio.run(gather_all(["p", "q"]))


async def gather_all(names: list[str]):
    return await asyncio.gather(*[fetch_async(name) for name in names])


@flow
def submits():
    future = add.submit(10)
    print(future.result(), future.state.name)
    print(add.map([1, 2, 3], b=10).result(), add.submit(add.submit(1)).result())


submits()


@flow(name="first", retries=0)
def configurable(x: int = 0):
    return flow_run.flow_name, x


print(plain_flow())
second = configurable.with_options(name="second", retries=3, flow_run_name="run-{x}")
print(configurable(1), second(2), second.retries, configurable.retries, second.flow_run_name)

# prints: fetch: http://a, in a flow: False ['http://a', 'http://a']
# prints: Failed ConnectionError('http://b')
# prints: quick fetch 0 2 5 [0, 0, 0, 0, 0]
# prints: ['api'] ['api', 'x'] Fetch a page.
# prints: fetch Fetch a page. True False True
# prints: None False None None
# prints: 2 6 3
# prints: X
# prints: ['A', 'B']
# prints: Completed C
# prints: 5
# prints: ALONE
# prints: 11 Completed
# prints: [11, 12, 13] 3
# prints: ['P', 'Q']
# prints: ('first', 1) ('second', 2) 3 0 run-{x}
