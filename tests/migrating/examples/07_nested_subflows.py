"""A nightly run that consists of subflows, which have subflows of their own."""

from prefect import flow, runtime, task


@task
def read_table(name: str) -> list[int]:
    return list(range(len(name)))


@flow(flow_run_name="check-{table}")
def check(table: str, rows: list[int]) -> bool:
    print(f"  {runtime.flow_run.name}: {len(rows)} rows of {table}")
    if not rows:
        raise ValueError(f"{table} is empty")
    return True


@flow(flow_run_name="load-{table}")
def load(table: str) -> int:
    rows = read_table(table)
    print(f" {runtime.flow_run.name}, flow {runtime.flow_run.flow_name}")
    check(table, rows)
    return len(rows)


@flow
def notify(failures: list[str]):
    print("notify:", failures or "all is well")


@flow(name="nightly")
def nightly(tables: list[str]) -> dict[str, int]:
    print("nightly has a parent:", runtime.flow_run.parent_flow_run_id is not None)
    counts, failures = {}, []
    for table in tables:
        state = load(table, return_state=True)
        if state.is_failed():
            failures.append(f"{table}: {state.message}")
        else:
            counts[table] = state.result()
    notify(failures)
    return counts


@flow
def parent_id():
    return runtime.flow_run.parent_flow_run_id is not None


@flow
def future_into_subflow():
    rows = read_table.submit("abc")
    return check("futures", rows), parent_id()


@flow
def goes_on():
    return load("")


print(nightly(["users", "events", ""]))
print(future_into_subflow())
print("alone:", parent_id())
state = goes_on(return_state=True)
print(state.type.value, state.name, "|", state.message)

# prints: nightly has a parent: False
# prints:  load-users, flow load
# prints:   check-users: 5 rows of users
# prints:  load-events, flow load
# prints:   check-events: 6 rows of events
# prints:  load-, flow load
# prints:   check-: 0 rows of
# prefect prints: notify: [': Flow run encountered an exception: ValueError:  is empty']
# flowspan prints: notify: [': ValueError:  is empty']
# prints: {'users': 5, 'events': 6}
# prints:   check-futures: 3 rows of futures
# prints: (True, True)
# prints: alone: False
# prints:  load-, flow load
# prints:   check-: 0 rows of
# prefect prints: FAILED Failed | Flow run encountered an exception: ValueError:  is empty
# flowspan prints: FAILED Failed | ValueError:  is empty
# because: a message is the error alone
