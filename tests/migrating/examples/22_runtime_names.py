"""Names of runs that say what they are about: templates, functions, and the runtime in both."""

from datetime import date, datetime

from prefect import flow, runtime, task
from prefect.context import get_run_context
from prefect.runtime import flow_run, task_run


def name_of_load() -> str:
    parameters = flow_run.parameters
    return f"{flow_run.flow_name}-of-{parameters['table']}-x{len(parameters['days'])}"


def name_of_step() -> str:
    return f"{task_run.task_name}/{task_run.parameters['day']:%d.%m.}"


@task(task_run_name="{table}-{day:%Y%m%d}")
def copy(table: str, day: date) -> str:
    return task_run.name


@task(task_run_name=name_of_step)
def verify(day: date) -> str:
    return f"{task_run.name} in {flow_run.name}"


@task(name="tidy up", tags=["slow", "night"])
def tidy():
    return runtime.task_run.task_name, sorted(runtime.task_run.tags), runtime.task_run.run_count


@flow(flow_run_name=name_of_load)
def load_table(table: str, days: list[date]) -> list[str]:
    print(flow_run.name, "|", flow_run.flow_name, "|", flow_run.parameters["table"])
    print(get_run_context().flow_run.name, "|", get_run_context().flow.name)
    return [text for day in days for text in (copy(table, day), verify(day))]


@flow(flow_run_name="load-{day:%A}", version="1.4.2")
def daily(day: datetime, table: str = "orders"):
    print(runtime.flow_run.name, runtime.flow_run.flow_version, runtime.flow_run.run_count)
    for line in load_table(table, [day.date()]):
        print(" ", line)
    print(tidy())


daily(datetime(2024, 5, 17))
daily("2024-05-18T06:00:00", table="users")
print(flow_run.name, flow_run.id, task_run.name, runtime.deployment.name)
print(flow_run.parameters, flow_run.tags, flow_run.parent_flow_run_id)

renamed = load_table.with_options(flow_run_name=lambda: "called by a lambda")
renamed("t", [])


class Monthly:
    def __init__(self, month: str):
        self.month = month

    @flow(flow_run_name="close-{self.month}-{book}")
    def close(self, book: str):
        return flow_run.name


print(Monthly("may").close("ledger"))

# prints: load-Friday 1.4.2 1
# prints: load-table-of-orders-x1 | load-table | orders
# prints: load-table-of-orders-x1 | load-table
# prints:   orders-20240517
# prints:   verify/17.05. in load-table-of-orders-x1
# prints: ('tidy up', ['night', 'slow'], 1)
# prints: load-Saturday 1.4.2 1
# prints: load-table-of-users-x1 | load-table | users
# prints: load-table-of-users-x1 | load-table
# prints:   users-20240518
# prints:   verify/18.05. in load-table-of-users-x1
# prints: ('tidy up', ['night', 'slow'], 1)
# prints: None None None None
# prints: {} [] None
# prints: called by a lambda | load-table | t
# prints: called by a lambda | load-table
# prints: close-may-ledger
