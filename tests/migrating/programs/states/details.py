"""The run that entered a state: `state_details`, `id` and `timestamp`."""

import asyncio
from datetime import datetime, timedelta, timezone

from prefect import flow, task
from prefect.runtime import flow_run, task_run
from prefect.states import Completed, Scheduled


def same(a, b):
    return str(a) == str(b)


def hook(thing, run, state):
    details = state.state_details
    print("hook:", state.name, same(details.flow_run_id, run.id), details.task_run_id)


def task_hook(thing, run, state):
    details = state.state_details
    print(
        "task hook:",
        state.name,
        same(details.flow_run_id, run.flow_run_id),
        same(details.task_run_id, run.id),
    )


@task(on_completion=[task_hook])
def ids():
    return task_run.id


@task(on_completion=[task_hook])
async def async_ids():
    return task_run.id


@task
def fail():
    raise ValueError("no")


@flow(on_completion=[hook])
def main():
    state = ids(return_state=True)
    details = state.state_details
    print(same(details.task_run_id, state.result()), same(details.flow_run_id, flow_run.id))
    future = ids.submit()
    future.wait()
    details = future.state.state_details
    print(same(details.task_run_id, future.task_run_id), same(details.flow_run_id, flow_run.id))
    failed = fail(return_state=True).state_details
    print(failed.task_run_id is not None, same(failed.flow_run_id, flow_run.id))
    print(details.scheduled_time, details.pause_key, details.pause_reschedule)
    return flow_run.id


@flow
async def amain():
    state = await async_ids(return_state=True)
    details = state.state_details
    result = await state.result()
    print(same(details.task_run_id, result), same(details.flow_run_id, flow_run.id))


state = main(return_state=True)
print(same(state.state_details.flow_run_id, state.result()), state.state_details.task_run_id)
asyncio.run(amain())
alone = ids(return_state=True)
print(same(alone.state_details.task_run_id, alone.result()), alone.state_details.flow_run_id)
made = Completed()
print(made.state_details.flow_run_id, made.state_details.task_run_id)
print(made.id == made.id, made.id == Completed().id, type(made.id).__name__)
print(state.timestamp.tzinfo is not None)
later = datetime.now(timezone.utc) + timedelta(hours=1)
print(Scheduled(scheduled_time=later).state_details.scheduled_time == later)

# prints: task hook: Completed True True
# prints: True True
# prints: task hook: Completed True True
# prints: True True
# prints: True True
# prints: None None False
# prints: hook: Completed True None
# prints: True None
# prints: task hook: Completed True True
# prints: True True
# prints: task hook: Completed True True
# prints: True None
# prints: None None
# prints: True False UUID
# prints: True
# prints: True
