"""Score customers: mapped tasks, with what is the same for all of them unmapped."""

from prefect import flow, task, unmapped
from prefect.futures import PrefectFutureList
from prefect.task_runners import ThreadPoolTaskRunner

CUSTOMERS = [
    {"id": 1, "orders": 3, "returns": 0},
    {"id": 2, "orders": 10, "returns": 4},
    {"id": 3, "orders": 0, "returns": 0},
]


@task
def load_weights() -> dict[str, float]:
    return {"orders": 1.0, "returns": -2.5}


@task
def score(customer: dict, weights: dict[str, float], bonus: float = 0.0) -> float:
    return bonus + sum(customer[name] * weight for name, weight in weights.items())


@task
def label(value: float, limits: list[float]) -> str:
    return "good" if value >= limits[1] else "ok" if value >= limits[0] else "bad"


@task
def join(customer: dict, value: float, text: str) -> str:
    return f"{customer['id']}: {value} ({text})"


@task
def ratio(customer: dict) -> float:
    return customer["returns"] / customer["orders"]


@flow(task_runner=ThreadPoolTaskRunner(max_workers=4))
def score_customers(customers: list[dict]):
    weights = load_weights.submit()
    values = score.map(customers, weights=unmapped(weights), bonus=unmapped(0.5))
    print(type(values) is PrefectFutureList, len(values))
    labels = label.map(values, unmapped([0.0, 3.0]))
    lines = join.map(customers, values, labels)
    for line in lines.result():
        print(line)

    ratios = ratio.map(customers)
    ratios.wait()
    print([future.state.name for future in ratios])
    print(ratios.result(raise_on_failure=False)[:2])
    try:
        ratios.result()
    except ZeroDivisionError as error:
        print("failed:", error)
    return sum(values.result())


print("sum:", score_customers(CUSTOMERS))
try:
    flow(name="uneven")(lambda: score.map([1, 2], [3, 4, 5]))()
except Exception as error:
    print(type(error).__name__)

# prints: True 3
# prints: 1: 3.5 (good)
# prints: 2: 0.5 (ok)
# prints: 3: 0.5 (ok)
# prints: ['Completed', 'Completed', 'Failed']
# prints: [0.0, 0.4]
# prints: failed: division by zero
# prints: sum: 4.5
# prints: MappingLengthMismatch
