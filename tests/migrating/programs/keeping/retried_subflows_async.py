"""The same in coroutines: a retried flow keeps its completed subflows."""

import asyncio

from prefect import flow, task
from prefect.transactions import transaction

ran = []
attempts = []


@flow(persist_result=True)
async def charge(card):
    ran.append(card)
    await asyncio.sleep(0)
    return card * 2


@flow(persist_result=True)
def plain(card):
    ran.append(card)
    return card * 2


@task
async def in_task(card):
    return await charge(card)


@flow(retries=1)
async def main():
    attempts.append(1)
    print(await charge(1), [await charge(card) for card in (1, 2)], plain(3))
    print(await asyncio.gather(charge(4), charge(5)))
    state = await charge(6, return_state=True)
    print(state.is_completed())
    if len(attempts) == 1:
        raise ValueError("again")


asyncio.run(main())
print(sorted(ran))


@flow(retries=1)
def committed():
    attempts.append(1)
    with transaction():
        plain(1)
    if len(attempts) == 1:
        raise ValueError("again")


@flow(retries=1)
def rolled_back():
    attempts.append(1)
    with transaction():
        plain(1)
        if len(attempts) == 1:
            raise ValueError("again")


for each in (committed, rolled_back):
    ran.clear()
    attempts.clear()
    each()
    print(each.name, ran)

# prints: 2 [2, 4] 6
# prints: [8, 10]
# prints: True
# prints: 2 [2, 4] 6
# prints: [8, 10]
# prints: True
# prints: [1, 1, 2, 3, 4, 5, 6]
# prints: committed [1]
# prefect prints: rolled-back [1]
# flowspan prints: rolled-back [1, 1]
# because: the tasks of the subflow were rolled back with the transaction, so it has to be done again
