"""Transactions in blocks and by hand: states, values, hooks, keys, modes."""

from prefect import flow, task
from prefect.transactions import (
    Transaction,
    transaction,
    CommitMode,
    IsolationLevel,
    TransactionState,
    get_transaction,
)

t = Transaction()
print(
    t.state,
    t.state == "PENDING",
    t.key,
    t.store,
    t.isolation_level,
    t.overwrite,
    t.write_on_commit,
    t.children,
    t.on_commit_hooks,
    t.on_rollback_hooks,
)
print(t.get_parent(), Transaction.get_active(), get_transaction())
print(t.is_pending(), t.is_active(), t.is_staged(), t.is_committed(), t.is_rolled_back())
with t as txn:
    print(
        txn is t,
        t.state,
        t.commit_mode,
        t.isolation_level,
        Transaction.get_active() is t,
        t.get_parent(),
    )
    t.set("a", [1])
    t.get("a").append(2)
    print(t.get("a"))
    with transaction() as child:
        print(child.get_parent() is t, child.get("a"), type(child).__name__)
        got = child.get("a")
        got.append(9)
        child.set("a", got)
        print(child.get("a"), t.get("a"))
        print(child.get("missing", 4), child.get("missing", None))
        try:
            child.get("missing")
        except ValueError as e:
            print(type(e).__name__)
    print(child.state, child.commit_mode, len(t.children), child.get_parent() is t)
print(t.state, child.state, Transaction.get_active())
print(t.get("a"))
try:
    with t:
        pass
except RuntimeError as e:
    print(type(e).__name__)
print(t.state)
t = Transaction()
t.__enter__()
try:
    t.__enter__()
except RuntimeError as e:
    print(type(e).__name__)
t.__exit__(None, None, None)
print(t.state)
try:
    t.__exit__(None, None, None)
except RuntimeError as e:
    print(type(e).__name__)
# manual
t = Transaction(key="k")
print(t.begin(), t.state)
t.stage("x")
print(t.state, t.commit(), t.state, t.commit(), t.rollback())
t = Transaction(key="k2")
with t:
    t.stage("v")
print(t.state, t.read())
with transaction("k2") as u:
    print(u.is_committed())
with transaction("k3") as u:
    print(u.is_committed())
    u.stage(5)
with transaction("k3") as u:
    print(u.is_committed(), u.read().result, u.state)
with transaction("k3", overwrite=True) as u:
    print(u.is_committed())
    u.stage(6)
with transaction("k3") as u:
    print(u.read().result)
    u.stage(7)
    print(u.state)
with transaction("k4", write_on_commit=False) as u:
    u.stage(5)
with transaction("k4") as u:
    print(u.is_committed(), u.state)
with transaction("k4") as u:
    print(u.is_committed(), u.read().result)
h = []


def commit_hook(txn):
    h.append(("commit", type(txn).__name__, txn.state, txn.get("x", None)))


def rb(txn):
    h.append(("rb", txn.state, txn.get("x", None)))


def rb2(txn):
    h.append(("rb2", txn.state))


with transaction() as u:
    u.set("x", 1)
    u.stage("v", [rb], [commit_hook])
print(h)
h.clear()
try:
    with transaction() as u:
        u.set("x", 1)
        u.on_rollback_hooks.append(rb)
        u.on_rollback_hooks.append(rb2)
        with transaction() as c:
            c.stage(None, on_rollback_hooks=[rb2])
        with transaction(commit_mode=CommitMode.EAGER) as c2:
            c2.stage(None, on_rollback_hooks=[rb2])
        print(c2.state)
        raise ValueError("x")
except ValueError:
    pass
print(h, u.state, c.state, c2.state)
h.clear()
with transaction() as outer:
    outer.stage(1, [rb2])
    try:
        with transaction() as c:
            c.stage(1, [rb])
            raise KeyError("x")
    except KeyError:
        pass
    print(outer.state, c.state)
print(h, outer.state)
h.clear()


def boom(txn):
    raise RuntimeError("hook")


with transaction() as u:
    u.stage(1, [rb], [boom])
print(u.state, h)
h.clear()
try:
    with transaction() as u:
        u.stage(1, [rb, boom, rb2])
        raise ValueError
except ValueError:
    pass
print(u.state, h)
h.clear()
for mode in ("EAGER", "LAZY", "OFF", CommitMode.OFF):
    with transaction(commit_mode=mode) as u:
        u.stage(1, [rb])
    print(u.state, u.commit_mode, h)
    h.clear()
with transaction(commit_mode="OFF") as u:
    u.stage(1)
    print(u.commit())
print(u.state)
try:
    with transaction(commit_mode="no"):
        pass
except ValueError:
    print("no such mode")
try:
    with transaction("q", isolation_level="SERIALIZABLE"):
        pass
except Exception:
    print("no locks")
with transaction(isolation_level="SERIALIZABLE") as u:
    print(u.isolation_level)
with transaction("mm") as u:
    pass
with transaction("mm") as u:
    print(u.is_committed(), u.read().result)
try:
    Transaction("k")
except Exception as e:
    print(type(e).__name__)

# prints: TransactionState.PENDING True None None IsolationLevel.READ_COMMITTED False True [] [] []
# prints: None None None
# prints: True False False False False
# prints: True TransactionState.ACTIVE CommitMode.LAZY IsolationLevel.READ_COMMITTED True None
# prints: [1]
# prints: True [1] Transaction
# prints: [1, 9] [1]
# prints: 4 None
# prints: ValueError
# prints: TransactionState.ACTIVE CommitMode.LAZY 1 True
# prints: TransactionState.COMMITTED TransactionState.COMMITTED None
# prints: [1]
# prints: TransactionState.COMMITTED
# prints: RuntimeError
# prints: TransactionState.COMMITTED
# prints: RuntimeError
# prints: None TransactionState.PENDING
# prints: TransactionState.STAGED True TransactionState.COMMITTED False False
# prints: TransactionState.COMMITTED None
# prints: False
# prints: False
# prints: True 5 TransactionState.COMMITTED
# prints: False
# prints: 6
# prints: TransactionState.COMMITTED
# prints: False TransactionState.ACTIVE
# prints: True None
# prints: [('commit', 'Transaction', TransactionState.STAGED, 1)]
# prints: TransactionState.COMMITTED
# prints: [('rb2', TransactionState.ACTIVE), ('rb', TransactionState.ACTIVE, 1), ('rb2', TransactionState.STAGED)] TransactionState.ROLLED_BACK TransactionState.ROLLED_BACK TransactionState.COMMITTED
# prints: TransactionState.ROLLED_BACK TransactionState.ROLLED_BACK
# prints: [('rb', TransactionState.STAGED, None), ('rb2', TransactionState.STAGED)] TransactionState.ROLLED_BACK
# prints: TransactionState.ROLLED_BACK [('rb', TransactionState.STAGED, None)]
# prefect prints: TransactionState.STAGED [('rb2', TransactionState.STAGED)]
# flowspan prints: TransactionState.ROLLED_BACK [('rb2', TransactionState.STAGED), ('rb', TransactionState.STAGED, None)]
# prints: TransactionState.COMMITTED CommitMode.EAGER []
# prints: TransactionState.COMMITTED CommitMode.LAZY []
# prints: TransactionState.ROLLED_BACK CommitMode.OFF [('rb', TransactionState.STAGED, None)]
# prints: TransactionState.ROLLED_BACK CommitMode.OFF [('rb', TransactionState.STAGED, None)]
# prints: True
# prints: TransactionState.COMMITTED
# prints: no such mode
# prints: no locks
# prints: IsolationLevel.SERIALIZABLE
# prints: True None
# prints: TypeError
# because: a rollback hook that raises is logged, and the others are called all the same
