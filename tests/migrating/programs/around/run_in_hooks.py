"""The attributes of `run` in hooks: ids, times, states and counts of flow and task runs."""

import datetime
import uuid

from prefect import flow, tags, task


def tell(definition, run, state):
    print(definition.name, run.name, state.name, run.state.name, run.state_name, run.run_count)
    print(isinstance(run.id, uuid.UUID), str(run.id) == f"{run.id}", len(run.id.hex))
    print(sorted(run.tags), run.labels is not None, run.next_scheduled_start_time)
    times = (run.created, run.expected_start_time)
    print([isinstance(time, datetime.datetime) and time.tzinfo is not None for time in times])
    print(run.total_run_time >= datetime.timedelta(0), run.estimated_run_time.total_seconds() >= 0)
    print(run.estimated_start_time_delta.total_seconds() >= 0)


def of_flow(flow, run, state):
    tell(flow, run, state)
    print(isinstance(run.flow_id, uuid.UUID), run.flow_version, run.deployment_id, run.parameters)
    print(run.work_pool_name, run.work_queue_name, run.infrastructure_pid, run.job_variables)
    print(run.auto_scheduled, run.context, run.idempotency_key, run.deployment_version)
    print(run.start_time is not None, run.parent_task_run_id is None)
    print(run.empirical_policy.retries)


def of_task(task, run, state):
    tell(task, run, state)
    print(isinstance(run.flow_run_id, uuid.UUID), run.task_version, run.cache_key)
    print(run.task_key.startswith("step"), isinstance(run.dynamic_key, str))
    print(run.start_time >= run.created, run.flow_run_run_count, run.empirical_policy.retries)


def ended(task, run, state):
    of_task(task, run, state)
    print(run.end_time >= run.start_time, run.total_run_time <= run.end_time - run.start_time)


@task(
    task_run_name="named",
    version="v1",
    tags=["mine"],
    retries=1,
    on_running=[of_task],
    on_completion=[ended],
)
def step(fails=[True]):
    if fails:
        fails.clear()
        raise ValueError("once")
    return 1


@flow(version="f1", flow_run_name="below", on_completion=[of_flow], on_failure=[of_flow])
def inner(x):
    if x:
        raise ValueError(x)


@flow(version="f2", flow_run_name="main", on_completion=[of_flow])
def main(x: int):
    step()
    inner(0)
    inner(1, return_state=True)


with tags("around"):
    main("5")

# prints: step named Running Running Running 1
# prints: True True 32
# prints: ['around', 'mine'] True None
# prints: [True, True]
# prints: True True
# prints: True
# prints: True v1 None
# prints: True True
# prints: True 1 1
# prints: step named Retrying Retrying Retrying 2
# prints: True True 32
# prints: ['around', 'mine'] True None
# prints: [True, True]
# prints: True True
# prints: True
# prints: True v1 None
# prints: True True
# prints: True 1 1
# prints: step named Completed Completed Completed 2
# prints: True True 32
# prints: ['around', 'mine'] True None
# prints: [True, True]
# prints: True True
# prints: True
# prints: True v1 None
# prints: True True
# prints: True 1 1
# prints: True True
# prints: inner below Completed Completed Completed 1
# prints: True True 32
# prints: ['around'] True None
# prints: [True, True]
# prints: True True
# prints: True
# prints: True f1 None {'x': 0}
# prints: None None None {}
# prints: False {} None None
# prints: True False
# prints: 0
# prints: inner below Failed Failed Failed 1
# prints: True True 32
# prints: ['around'] True None
# prints: [True, True]
# prints: True True
# prints: True
# prints: True f1 None {'x': 1}
# prints: None None None {}
# prints: False {} None None
# prints: True False
# prints: 0
# prints: main main Completed Completed Completed 1
# prints: True True 32
# prints: ['around'] True None
# prints: [True, True]
# prints: True True
# prints: True
# prefect prints: True f2 None {'x': '5'}
# flowspan prints: True f2 None {'x': 5}
# prints: None None None {}
# prints: False {} None None
# prints: True True
# prints: 0
# because: run.parameters are the validated arguments, which the function gets
