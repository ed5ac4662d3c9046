"""The run as the functions around it see it: names, hooks, conditions, keys."""

import asyncio

from prefect import flow, get_run_logger, runtime, tags, task
from prefect.context import FlowRunContext, TagsContext, TaskRunContext, get_run_context
from prefect.runtime import flow_run, task_run


def seen(where):
    flow_context, task_context = FlowRunContext.get(), TaskRunContext.get()
    print(f"{where}: flow", flow_run.flow_name, sorted(flow_run.parameters), sorted(flow_run.tags))
    print("  task", task_run.task_name, sorted(task_run.parameters.items()), sorted(task_run.tags))
    print(
        "  context",
        flow_context and flow_context.flow.name,
        task_context and task_context.task.name,
        get_run_context().parameters,
        sorted(TagsContext.get().current_tags),
        get_run_logger().name.rpartition(".")[2],
        runtime.deployment.parameters == flow_run.parameters,
    )


def name_of_flow():
    seen("flow_run_name")
    print("  count", flow_run.run_count)
    return f"flow-{flow_run.parameters['x']}"


def name_of_task():
    seen("task_run_name")
    print("  count", task_run.run_count)
    return f"{flow_run.name}-{task_run.parameters['x']}"


def condition(task, run, state):
    seen("condition")
    print("  ", run.name, run.state_name, run.run_count, state.name, task_run.run_count)
    return True


def key(context, parameters):
    print("key", context.task.name, context.task_run.name == task_run.name, parameters)
    return None


def hook(definition, run, state):
    seen(state.name)
    print("  ", run.name, run.run_count)


async def hook_later(definition, run, state):
    hook(definition, run, state)


options = {
    "task_run_name": name_of_task,
    "retries": 1,
    "retry_condition_fn": condition,
    "on_completion": [hook_later],
    "on_failure": [hook],
    "tags": ["own"],
}


@task(cache_key_fn=key)
def keyed(x):
    return x


@task(**options)
def plain(x):
    if task_run.run_count == 1:
        raise ValueError(x)


@task(**options)
async def later(x):
    raise ValueError(x)


@flow(flow_run_name=name_of_flow, on_completion=[hook])
def inner(x):
    keyed(x)


@flow(flow_run_name=name_of_flow, on_completion=[hook_later])
def main(x=1):
    with tags("within"):
        plain(2)
        plain.submit(3).result()
    later.map([4])[0].wait()
    inner(5)


@flow(flow_run_name=name_of_flow, on_failure=[hook_later])
async def main_later(x=6):
    await later(7)


with tags("around"):
    main()
    try:
        asyncio.run(main_later())
    except ValueError as error:
        print(error)

# prints: flow_run_name: flow main ['x'] ['around']
# prints:   task None [] []
# prints:   context main None {'x': 1} ['around'] flow_runs True
# prints:   count 0
# prints: task_run_name: flow main ['x'] ['around']
# prints:   task plain [('x', 2)] ['around', 'own', 'within']
# prints:   context main plain {'x': 2} ['around', 'within'] task_runs True
# prints:   count 0
# prints: condition: flow main ['x'] ['around']
# prints:   task plain [('x', 2)] ['around', 'own', 'within']
# prints:   context main plain {'x': 2} ['around', 'within'] task_runs True
# prints:    flow-1-2 Running 1 Failed 1
# prints: Completed: flow main ['x'] ['around']
# prints:   task plain [('x', 2)] ['around', 'own', 'within']
# prints:   context main plain {'x': 2} ['around', 'within'] task_runs True
# prints:    flow-1-2 2
# prints: task_run_name: flow main ['x'] ['around']
# prints:   task plain [('x', 3)] ['around', 'own', 'within']
# prints:   context main plain {'x': 3} ['around', 'within'] task_runs True
# prints:   count 0
# prints: condition: flow main ['x'] ['around']
# prints:   task plain [('x', 3)] ['around', 'own', 'within']
# prints:   context main plain {'x': 3} ['around', 'within'] task_runs True
# prints:    flow-1-3 Running 1 Failed 1
# prints: Completed: flow main ['x'] ['around']
# prints:   task plain [('x', 3)] ['around', 'own', 'within']
# prints:   context main plain {'x': 3} ['around', 'within'] task_runs True
# prints:    flow-1-3 2
# prints: task_run_name: flow main ['x'] ['around']
# prints:   task later [('x', 4)] ['around', 'own']
# prints:   context main later {'x': 4} ['around'] task_runs True
# prints:   count 0
# prints: condition: flow main ['x'] ['around']
# prints:   task later [('x', 4)] ['around', 'own']
# prints:   context main later {'x': 4} ['around'] task_runs True
# prints:    flow-1-4 Running 1 Failed 1
# prints: Failed: flow main ['x'] ['around']
# prints:   task later [('x', 4)] ['around', 'own']
# prints:   context main later {'x': 4} ['around'] task_runs True
# prints:    flow-1-4 2
# prints: flow_run_name: flow inner ['x'] ['around']
# prints:   task None [] []
# prints:   context inner None {'x': 5} ['around'] flow_runs True
# prints:   count 0
# prints: key keyed True {'x': 5}
# prints: Completed: flow inner ['x'] ['around']
# prints:   task None [] []
# prints:   context inner None {'x': 5} ['around'] flow_runs True
# prints:    flow-5 1
# prints: Completed: flow main ['x'] ['around']
# prints:   task None [] []
# prints:   context main None {'x': 1} ['around'] flow_runs True
# prints:    flow-1 1
# prints: flow_run_name: flow main-later ['x'] ['around']
# prints:   task None [] []
# prints:   context main-later None {'x': 6} ['around'] flow_runs True
# prints:   count 0
# prints: task_run_name: flow main-later ['x'] ['around']
# prints:   task later [('x', 7)] ['around', 'own']
# prints:   context main-later later {'x': 7} ['around'] task_runs True
# prints:   count 0
# prints: condition: flow main-later ['x'] ['around']
# prints:   task later [('x', 7)] ['around', 'own']
# prints:   context main-later later {'x': 7} ['around'] task_runs True
# prints:    flow-6-7 Running 1 Failed 1
# prints: Failed: flow main-later ['x'] ['around']
# prints:   task later [('x', 7)] ['around', 'own']
# prints:   context main-later later {'x': 7} ['around'] task_runs True
# prints:    flow-6-7 2
# prints: Failed: flow main-later ['x'] ['around']
# prints:   task None [] []
# prints:   context main-later None {'x': 6} ['around'] flow_runs True
# prints:    flow-6 1
# prints: 7
