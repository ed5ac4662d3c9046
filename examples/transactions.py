"""Transactions: an order that succeeds as a whole or not at all.

    python examples/transactions.py

Each step defines how to undo it. If a later step fails, the earlier steps are undone in reverse
order; `flowspan run show latest` shows them as RolledBack.
"""

from __future__ import annotations

from typing import Any

from flowspan import flow, task
from flowspan.transactions import get_transaction, transaction

STOCK = {"lamp": 3, "chair": 1}
LEDGER: list[str] = []


class OutOfStockError(Exception):
    """The stock is smaller than the order."""


@task
def reserve(item: str, count: int) -> None:
    STOCK[item] -= count
    # Store what the rollback hook needs in the task's transaction.
    get_transaction().set("reserved", (item, count))
    if STOCK[item] < 0:
        STOCK[item] += count
        raise OutOfStockError(f"not enough in stock: {item}")


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
    """Send the bill; called only when nothing can fail any more."""
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
