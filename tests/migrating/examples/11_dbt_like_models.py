"""Models that build on each other, as dbt's do: a graph of tasks, in the order of what they need."""

import sqlite3
from dataclasses import dataclass, field

from prefect import flow, get_run_logger, task
from prefect.futures import PrefectFuture


@dataclass
class Model:
    name: str
    sql: str
    needs: list[str] = field(default_factory=list)
    tests: list[str] = field(default_factory=list)


MODELS = [
    Model(
        "revenue",
        "SELECT c.name, SUM(o.amount) AS total FROM stg_orders o"
        " JOIN stg_customers c ON c.id = o.customer_id GROUP BY c.name",
        needs=["stg_orders", "stg_customers"],
        tests=["SELECT * FROM revenue WHERE total < 0"],
    ),
    Model("stg_customers", "SELECT id, UPPER(name) AS name FROM raw_customers"),
    Model(
        "stg_orders",
        "SELECT * FROM raw_orders WHERE amount IS NOT NULL",
        tests=["SELECT * FROM stg_orders WHERE amount IS NULL"],
    ),
    Model("broken", "SELECT nothing FROM stg_orders", needs=["stg_orders"]),
    Model("on_broken", "SELECT * FROM broken", needs=["broken"]),
]


class Warehouse:
    def __init__(self):
        self.db = sqlite3.connect(":memory:", check_same_thread=False)
        self.built: list[str] = []
        self.db.executescript("""
            CREATE TABLE raw_customers (id, name);
            CREATE TABLE raw_orders (customer_id, amount);
            INSERT INTO raw_customers VALUES (1, 'anna'), (2, 'bert');
            INSERT INTO raw_orders VALUES (1, 10), (1, 5), (2, 7), (2, NULL);
        """)


@task(task_run_name="run-{model.name}", cache_policy=None)
def run_model(model: Model, warehouse: Warehouse) -> str:
    warehouse.db.execute(f"CREATE TABLE {model.name} AS {model.sql}")
    warehouse.built.append(model.name)
    return model.name


@task(task_run_name="test-{name}", cache_policy=None)
def test_model(name: str, tests: list[str], warehouse: Warehouse) -> int:
    for sql in tests:
        bad = warehouse.db.execute(sql).fetchall()
        assert not bad, f"{name}: {len(bad)} bad rows"
    return len(tests)


@flow(name="dbt-like build")
def build(models: list[Model], warehouse: Warehouse):
    logger = get_run_logger()
    by_name = {model.name: model for model in models}
    runs: dict[str, PrefectFuture] = {}
    tests: dict[str, PrefectFuture] = {}

    def submit(name: str) -> PrefectFuture:
        if name not in runs:
            model = by_name[name]
            upstream = [submit(each) for each in model.needs]
            logger.info("building %s after %s", name, model.needs)
            runs[name] = run_model.submit(model, warehouse, wait_for=upstream)
            tests[name] = test_model.submit(name, model.tests, warehouse, wait_for=[runs[name]])
            tests[name].wait()
        return runs[name]

    for name in by_name:
        submit(name)
    for name in sorted(runs):
        print(f"{name}: run {runs[name].state.name}, test {tests[name].state.name}")
    return [future for future in runs.values()]


warehouse = Warehouse()
state = build(MODELS, warehouse, return_state=True)
print(warehouse.built)
print(warehouse.db.execute("SELECT * FROM revenue ORDER BY name").fetchall())
print(state.type.value, "|", state.message)

# prints: broken: run Failed, test NotReady
# prints: on_broken: run NotReady, test NotReady
# prints: revenue: run Completed, test Completed
# prints: stg_customers: run Completed, test Completed
# prints: stg_orders: run Completed, test Completed
# prints: ['stg_orders', 'stg_customers', 'revenue']
# prints: [('ANNA', 15), ('BERT', 7)]
# prints: FAILED | 1/5 states failed.
