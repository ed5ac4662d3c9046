"""Tasks in transactions: what they and their hooks are given, in plain code and coroutines."""

import asyncio
from prefect import flow, task
from prefect.transactions import (
    Transaction,
    AsyncTransaction,
    transaction,
    atransaction,
    CommitMode,
    IsolationLevel,
    TransactionState,
    get_transaction,
)

h = []


@task
def a(x):
    t = get_transaction()
    h.append(("a", type(t).__name__, t.get("v", None), t.get_parent() is not None, t.state))
    t.set("mine", x)
    return x


@a.on_rollback
def rb(txn):
    h.append(
        (
            "rb",
            type(txn).__name__,
            isinstance(txn, Transaction),
            txn.get("mine"),
            txn.get("v"),
            txn.state,
        )
    )


@a.on_commit
def cm(txn):
    h.append(("cm", isinstance(txn, Transaction), txn.get("mine"), txn.state, txn.is_staged()))


@flow
def ok():
    print(get_transaction())
    with transaction() as t:
        t.set("v", {"k": 1})
        a(1)
        a(2)
        print(len(t.children), t.children[0].state)
    print(t.state)


ok()
print(*h, sep="\n")
h.clear()


@flow
def bad():
    with transaction() as t:
        t.set("v", {"k": 1})
        a(1)
        a(2)
        raise ValueError("no")


bad(return_state=True)
print(*h, sep="\n")
h.clear()


@task
async def b(x):
    t = get_transaction()
    h.append(("b", type(t).__name__, t.get("v", None)))
    t.get("v")["k"] = 5
    return x


@b.on_rollback
async def brb(txn):
    h.append(("brb", type(txn).__name__, isinstance(txn, Transaction), txn.get("v")))


@b.on_commit
def bcm(txn):
    h.append(("bcm", type(txn).__name__, isinstance(txn, Transaction)))


@flow
async def aok():
    async with atransaction() as t:
        t.set("v", {"k": 1})
        await b(1)
        print(t.get("v"), type(t).__name__, await t.commit(), t.state)
    print(t.state)
    try:
        async with atransaction(key="zz") as t:
            t.set("v", {"k": 1})
            await b(1)
            t.stage("staged")
            raise ValueError("x")
    except ValueError as e:
        print("raised", e, t.state)
    async with atransaction("zz") as t:
        print(t.state)
        t.stage(4)
    async with atransaction("zz") as t:
        print(t.state, (await t.read()).result)
    async with AsyncTransaction() as t:
        print(t.state, AsyncTransaction.get_active() is t, t.get_parent(), get_transaction() is t)
        with transaction() as c:
            print(c.get_parent() is t)
        async with atransaction() as c:
            print(c.get_parent() is t, len(t.children))
    try:
        with AsyncTransaction() as t:
            pass
    except Exception as e:
        print(type(e).__name__)
    with transaction() as t:
        t.set("v", {"k": 2})
        await b(2)
        print([type(c).__name__ for c in t.children])
    t = AsyncTransaction(key="qq")
    print(await t.begin(), await t.commit(), await t.rollback())


asyncio.run(aok())
print(*h, sep="\n")
h.clear()
with transaction() as t:
    t.set("v", 1)
    a(7)
print(*h, sep="\n")
h.clear()
a(8)
print(*h, sep="\n")
h.clear()

# prints: None
# prints: 2 TransactionState.STAGED
# prints: TransactionState.COMMITTED
# prints: ('a', 'Transaction', {'k': 1}, True, TransactionState.ACTIVE)
# prints: ('a', 'Transaction', {'k': 1}, True, TransactionState.ACTIVE)
# prints: ('cm', True, 1, TransactionState.STAGED, True)
# prints: ('cm', True, 2, TransactionState.STAGED, True)
# prints: ('a', 'Transaction', {'k': 1}, True, TransactionState.ACTIVE)
# prints: ('a', 'Transaction', {'k': 1}, True, TransactionState.ACTIVE)
# prints: ('rb', 'Transaction', True, 2, {'k': 1}, TransactionState.STAGED)
# prints: ('rb', 'Transaction', True, 1, {'k': 1}, TransactionState.STAGED)
# prints: {'k': 1} AsyncTransaction True TransactionState.COMMITTED
# prints: TransactionState.COMMITTED
# prints: raised x TransactionState.ROLLED_BACK
# prints: TransactionState.ACTIVE
# prints: TransactionState.COMMITTED 4
# prints: TransactionState.ACTIVE True None True
# prints: True
# prints: True 1
# prints: NotImplementedError
# prints: ['AsyncTransaction']
# prints: None True False
# prints: ('b', 'AsyncTransaction', {'k': 1})
# prints: ('bcm', 'AsyncTransaction', False)
# prints: ('b', 'AsyncTransaction', {'k': 1})
# prints: ('brb', 'AsyncTransaction', False, {'k': 1})
# prints: ('b', 'AsyncTransaction', {'k': 2})
# prints: ('bcm', 'AsyncTransaction', False)
# prints: ('a', 'Transaction', 1, True, TransactionState.ACTIVE)
# prints: ('cm', True, 7, TransactionState.STAGED, True)
# prints: ('a', 'Transaction', None, False, TransactionState.ACTIVE)
# prints: ('cm', True, 8, TransactionState.STAGED, True)
