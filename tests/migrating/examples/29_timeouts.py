"""Flows and tasks that take too long: caught, retried, and looked at."""

import asyncio
import time

from prefect import flow, task

ATTEMPTS: list[float] = []


@task(timeout_seconds=0.1)
def slow_query(seconds: float) -> str:
    for _ in range(int(seconds / 0.01)):
        time.sleep(0.01)
    return "rows"


@task(timeout_seconds=0.1, retries=1, retry_delay_seconds=0)
def quick_the_second_time() -> str:
    ATTEMPTS.append(0.5 if not ATTEMPTS else 0.0)
    for _ in range(int(ATTEMPTS[-1] / 0.01)):
        time.sleep(0.01)
    return f"attempt {len(ATTEMPTS)}"


@task(timeout_seconds=0.1)
async def slow_request(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "answer"


@flow
def with_fallback(seconds: float) -> str:
    try:
        return slow_query(seconds)
    except TimeoutError:
        return "from the cache"


@flow
def looks_at_state():
    state = slow_query(0.5, return_state=True)
    print(state.type.value, state.name, state.is_failed())
    print("exceeded" in state.message)
    return quick_the_second_time()


@flow(timeout_seconds=0.2)
async def impatient(seconds: float):
    try:
        await asyncio.sleep(seconds)
    finally:
        print("the connection is closed")
    return "done in time"


@flow
async def requests():
    answers = await asyncio.gather(slow_request(0), slow_request(5), return_exceptions=True)
    print([answer if isinstance(answer, str) else type(answer).__name__ for answer in answers])
    state = await impatient(5, return_state=True)
    print(state.name, "|", "exceeded" in state.message)
    try:
        await impatient(5)
    except TimeoutError:
        print("too late")
    return await impatient(0)


@flow(timeout_seconds=30)
def patient():
    return slow_query(0.01)


print(with_fallback(0.0), "|", with_fallback(0.5))
print(looks_at_state())
print(asyncio.run(requests()))
print(patient(), patient.timeout_seconds, slow_query.timeout_seconds)

# prints: rows | from the cache
# prints: FAILED TimedOut True
# prints: True
# prints: attempt 2
# prefect prints: ['answer', 'TaskRunTimeoutError']
# flowspan prints: ['answer', 'RunTimeout']
# prints: the connection is closed
# prints: TimedOut | True
# prints: the connection is closed
# prints: too late
# prints: the connection is closed
# prints: done in time
# prints: rows 30.0 0.1
# because: timeouts raise RunTimeout, which is a TimeoutError and has Prefect's names, too
