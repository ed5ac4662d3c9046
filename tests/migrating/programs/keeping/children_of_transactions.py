"""A transaction knows what ran inside of it, also once it has ended."""

import asyncio

from prefect import flow, task
from prefect.transactions import atransaction, transaction


@task
def ok(x):
    return x


@flow
def sub():
    ok(7)


def children(txn):
    return [child.state.value for child in txn.children]


@flow
def committed():
    with transaction() as txn:
        ok(1)
        with transaction() as inner:
            ok(2)
        sub()
        before = children(txn)
    print(before, children(txn), children(inner))


@flow
def eager():
    with transaction(commit_mode="EAGER") as txn:
        ok(1)
        before = children(txn)
    print(before, children(txn))


@flow
def rolled_back():
    try:
        with transaction() as txn:
            ok(1)
            with transaction(commit_mode="EAGER") as inner:
                ok(2)
            with transaction(commit_mode="OFF") as off:
                ok(3)
            raise ValueError
    except ValueError:
        print(children(txn), children(inner), children(off))


@flow
async def later():
    async with atransaction() as txn:
        ok(1)
        async with atransaction():
            ok(2)
        before = children(txn)
    print(before, children(txn))


committed()
eager()
rolled_back()
asyncio.run(later())

# prints: ['STAGED', 'ACTIVE', 'STAGED'] ['COMMITTED', 'COMMITTED', 'COMMITTED'] ['COMMITTED']
# prints: ['COMMITTED'] ['COMMITTED']
# prints: ['ROLLED_BACK', 'COMMITTED', 'ROLLED_BACK'] ['COMMITTED'] ['ROLLED_BACK']
# prints: ['STAGED', 'ACTIVE'] ['COMMITTED', 'COMMITTED']
