"""Write a file and check it in a transaction: what was written goes away if the check fails."""

import tempfile
from pathlib import Path

from prefect import flow, task
from prefect.transactions import transaction

FOLDER = Path(tempfile.mkdtemp())
EVENTS: list[str] = []


@task
def write_file(name: str, contents: str):
    (FOLDER / name).write_text(contents)
    return name


@write_file.on_rollback
def delete_file(transaction):
    name = transaction.get("name")
    EVENTS.append(f"rollback of {name}")
    (FOLDER / name).unlink()


@write_file.on_commit
def announce(transaction):
    EVENTS.append(f"commit of {transaction.get('name')}")


@task
def check_quality(name: str, minimum: int):
    text = (FOLDER / name).read_text()
    if len(text) < minimum:
        raise ValueError(f"{name} has only {len(text)} characters")
    EVENTS.append(f"{name} is good")


@check_quality.on_rollback
def not_reached(txn):
    EVENTS.append("rollback of the check")


@flow
def pipeline(name: str, contents: str, minimum: int = 5):
    with transaction() as txn:
        txn.set("name", name)
        write_file(name, contents)
        EVENTS.append(f"written, there: {(FOLDER / name).exists()}")
        check_quality(name, minimum)
    return "committed"


print(pipeline("good.txt", "long enough"))
try:
    pipeline("bad.txt", "no")
except ValueError as error:
    print("failed:", error)
for event in EVENTS:
    print("-", event)
print(sorted(path.name for path in FOLDER.iterdir()))


@task
def reserve():
    return "seat 7"


@task
def charge():
    return 30


@reserve.on_rollback
def release(txn):
    EVENTS.append("undo reserve")


@charge.on_rollback
def refund(txn):
    EVENTS.append("undo charge")


@flow
def book():
    with transaction() as outer:
        seat = reserve()
        with transaction() as inner:
            charge()
            EVENTS.append(f"inner is another: {inner is not outer}")
        raise RuntimeError(f"{seat} is gone")


EVENTS.clear()
state = book(return_state=True)
print(state.name, EVENTS)

# prints: committed
# prints: failed: bad.txt has only 2 characters
# prints: - written, there: True
# prints: - good.txt is good
# prints: - commit of good.txt
# prints: - written, there: True
# prints: - rollback of bad.txt
# prints: ['good.txt']
# prints: Failed ['inner is another: True', 'undo charge', 'undo reserve']
