"""Transactions: an order that is carried out as a whole, or not at all.

    python examples/transactions.py

Each step says how it is undone. When a later one fails, the steps before it are undone, the last
first; `flowspan run show latest` shows them as RolledBack.
"""

from __future__ import annotations

from typing import Any

from flowspan import flow, task
from flowspan.transactions import get_transaction, transaction

STOCK = {"lamp": 3, "chair": 1}
LEDGER: list[str] = []


class OutOfStockError(Exception):
    """There is less of it than was ordered."""


@task
def reserve(item: str, count: int) -> None:
    STOCK[item] -= count
    # What the hook needs to know is left in the task's transaction.
    get_transaction().set("reserved", (item, count))
    if STOCK[item] < 0:
        STOCK[item] += count
        raise OutOfStockError(f"there is too little of: {item}")


@reserve.on_rollback
def put_back(txn: Any) -> None:
    item, count = txn.get("reserved")
    STOCK[item] += count
    print(f"put back {count} {item}")


@task
def charge(customer: str, amount: int) -> str:
    LEDGER.append(f"{customer} owes {amount}")
    return LEDGER[-1]


@charge.on_rollback
def cancel_charge(txn: Any) -> None:
    print(f"struck out: {LEDGER.pop()}")


@charge.on_commit
def send_bill(txn: Any) -> None:
    """Only sent when nothing can fail any more."""
    print(f"sent the bill: {LEDGER[-1]}")


@flow
def order(customer: str, items: dict[str, int]) -> None:
    with transaction():
        charge(customer, 10 * sum(items.values()))
        for item, count in items.items():
            reserve(item, count)


if __name__ == "__main__":
    order("Ada", {"lamp": 1})
    state = order("Ben", {"lamp": 1, "chair": 2}, return_state=True)
    print(f"{state.name}: {state.message}")
    print(f"left: {STOCK}")
    assert STOCK == {"lamp": 2, "chair": 1}
    assert LEDGER == ["Ada owes 10"]
