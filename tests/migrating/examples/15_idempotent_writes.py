"""Write each day once, however often the flow runs: transactions with a key."""

from prefect import flow, task
from prefect.results import ResultStore
from prefect.transactions import IsolationLevel, get_transaction, transaction

TABLE: dict[str, list[int]] = {}
WRITES: list[str] = []


def extract(day: str) -> list[int]:
    return [len(day), int(day[-1])]


@task
def write(day: str, rows: list[int]) -> str:
    WRITES.append(day)
    TABLE.setdefault(day, []).extend(rows)
    return f"{len(rows)} rows"


@flow(persist_result=True)
def load_day(day: str) -> str:
    with transaction(key=f"load-{day}", store=ResultStore()) as txn:
        if txn.is_committed():
            return f"{day}: already there"
        rows = extract(day)
        told = write(day, rows)
        txn.set("rows", len(rows))
        txn.stage({"rows": len(rows)})
    return f"{day}: {told}, {txn.state.name}"


@flow
def load_many(days: list[str]):
    return [load_day(day) for day in days]


for line in load_many(["d-1", "d-2", "d-1"]):
    print(line)
print(load_day("d-2"))
print(TABLE)
print(WRITES)


@task
def inside():
    txn = get_transaction()
    return txn is not None


@flow
def who_is_there():
    with transaction() as txn:
        txn.set("colour", "green")
        child = inside()
        return child, txn.get("colour"), txn.get("size", "none"), txn.key == "x"


print(who_is_there())
try:
    with transaction(key="k") as txn:
        txn.get("missing")
except ValueError as error:
    print("ValueError", "missing" in str(error))
print(IsolationLevel.READ_COMMITTED.name, get_transaction())

# prints: d-1: 2 rows, COMMITTED
# prints: d-2: 2 rows, COMMITTED
# prints: d-1: already there
# prints: d-2: already there
# prints: {'d-1': [3, 1], 'd-2': [3, 2]}
# prints: ['d-1', 'd-2']
# prints: (True, 'green', 'none', False)
# prints: ValueError True
# prints: READ_COMMITTED None
