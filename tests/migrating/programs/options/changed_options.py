"""Options change by with_options, by assignment, and by what is added to tags and hooks."""

from prefect import flow, task
from prefect.runtime import task_run

calls = []


def hook(*_):
    calls.append("hook")


@task(tags=["etl"], retries=2, retry_delay_seconds=0, timeout_seconds=5, log_prints=True)
def load():
    return sorted(task_run.tags)


copy = load.with_options(name="copy").with_options(retries=1).with_options(tags=["other"])
print(copy.name, copy.retries, copy.tags, copy.timeout_seconds, copy.log_prints)
print(load.name, load.retries, load.tags)
for options in (
    {"retries": None},
    {"timeout_seconds": None},
    {"timeout_seconds": 0},
    {"tags": None},
    {"name": None},
    {"name": ""},
    {"log_prints": None},
    {"description": ""},
):
    made = load.with_options(**options)
    print(made.name, made.retries, sorted(made.tags), made.timeout_seconds, made.log_prints)

load.tags.add("late")
load.on_completion_hooks.append(hook)
load.retries = 4
print(load(), load.retries, calls, copy.tags)


@load.on_failure
def another(*_):
    pass


print(load.on_failure_hooks == [another], load.with_options(name="x").on_failure_hooks == [another])


@flow(name="outer", retries=1, version="1", timeout_seconds=9, flow_run_name="fixed")
def outer():
    return 1


for options in (
    {"retries": None},
    {"timeout_seconds": None},
    {"version": None},
    {"flow_run_name": None},
    {"name": "other"},
    {"timeout_seconds": 0},
):
    made = outer.with_options(**options)
    print(made.name, made.retries, made.version, made.timeout_seconds, made.flow_run_name)

flaky = []


@task
def fails():
    flaky.append(1)
    if len(flaky) < 2:
        raise ValueError("once")
    return "second"


fails.retries = 1
print(fails())

# prints: copy 1 {'other'} 5.0 True
# prints: load 2 {'etl'}
# prints: load 0 ['etl'] 5.0 True
# prints: load 2 ['etl'] 5.0 True
# prints: load 2 ['etl'] None True
# prints: load 2 ['etl'] 5.0 True
# prints: load 2 ['etl'] 5.0 True
# prints: load 2 ['etl'] 5.0 True
# prints: load 2 ['etl'] 5.0 None
# prints: load 2 ['etl'] 5.0 True
# prints: ['etl', 'late'] 4 ['hook'] {'other'}
# prints: True True
# prints: outer 1 1 9.0 fixed
# prints: outer 1 1 9.0 fixed
# prints: outer 1 1 9.0 fixed
# prints: outer 1 1 9.0 fixed
# prints: other 1 1 9.0 fixed
# prints: outer 1 1 None fixed
# prints: second
