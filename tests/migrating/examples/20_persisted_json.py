"""Results that are kept as JSON, so that other programs can read them."""

from datetime import date

from prefect import flow, task
from prefect.cache_policies import INPUTS
from prefect.results import ResultStore, get_result_store
from prefect.serializers import CompressedSerializer, JSONSerializer, PickleSerializer
from pydantic import BaseModel


class Order(BaseModel):
    id: int
    placed: date
    items: list[str] = []


CALLS: list[str] = []


@task(persist_result=True, result_serializer="json", result_storage_key="totals.json")
def totals(orders: list[Order]) -> dict[str, int]:
    return {str(order.id): len(order.items) for order in orders}


@task(persist_result=True, result_serializer=JSONSerializer(), cache_policy=INPUTS)
def newest(orders: list[Order]) -> Order:
    CALLS.append("newest")
    return max(orders, key=lambda order: order.placed)


@task(persist_result=True, result_serializer="compressed/pickle")
def anything(orders: list[Order]) -> set[int]:
    return {order.id for order in orders}


@flow(persist_result=True, result_serializer="json")
def export(orders: list[Order]) -> dict:
    counted = totals(orders)
    state = newest(orders, return_state=True)
    again = newest(orders, return_state=True)
    best = again.result()
    print(state.name, again.name)
    print(type(best).__name__, best.id, best.placed.isoformat())
    print(sorted(anything(orders)), get_result_store() is not None)
    return {"counted": counted, "best": best.id}


orders = [
    {"id": 1, "placed": "2024-01-05", "items": ["pen", "ink"]},
    {"id": 2, "placed": "2024-02-01"},
]
print(export(orders))
print(CALLS)
state = export(orders, return_state=True)
print(state.name, state.result()["best"], CALLS)
for serializer in [
    JSONSerializer(),
    PickleSerializer(),
    CompressedSerializer(serializer=JSONSerializer()),
]:
    data = serializer.dumps({"a": [1, None]})
    print(serializer.type, type(data).__name__, serializer.loads(data))

# prints: Completed Cached
# prints: Order 2 2024-02-01
# prints: [1, 2] True
# prints: {'counted': {'1': 2, '2': 0}, 'best': 2}
# prints: ['newest']
# prints: Cached Cached
# prints: Order 2 2024-02-01
# prints: [1, 2] True
# prints: Completed 2 ['newest']
# prints: json bytes {'a': [1, None]}
# prints: pickle bytes {'a': [1, None]}
# prints: compressed bytes {'a': [1, None]}
