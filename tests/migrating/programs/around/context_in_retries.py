"""The run of the context knows its state and its count in each attempt, without any hook."""

import asyncio

from prefect import flow, runtime, task
from prefect.context import FlowRunContext, TaskRunContext, get_run_context


def tell(run, count):
    print(run.state_name, run.state.is_running(), run.run_count)
    print(run.run_count == count, run.end_time, run.start_time is not None)


@task(retries=2)
def plain(failures):
    run = get_run_context().task_run
    tell(run, runtime.task_run.run_count)
    print(run.id == TaskRunContext.get().task_run.id, str(run.id) == runtime.task_run.id)
    print(run.flow_run_id == FlowRunContext.get().flow_run.id)
    if run.run_count < 3:
        raise ValueError(run.run_count)
    return "plain"


@task(retries=1, retry_delay_seconds=0.01, timeout_seconds=20)
async def later():
    run = get_run_context().task_run
    tell(run, runtime.task_run.run_count)
    if run.state_name != "Retrying":
        raise ValueError(run.run_count)
    print(run.total_run_time.total_seconds() > 0, run.start_time <= run.state.timestamp)
    return "later"


@flow(retries=1)
def main():
    run = get_run_context().flow_run
    print(run.run_count, runtime.flow_run.run_count, run.state_name in ("Running", "Retrying"))
    if run.run_count == 1:
        raise ValueError("again")
    print(plain(2), plain.submit(2).result(), later.submit().result())


@flow
async def main_later():
    print(await later())


main()
asyncio.run(main_later())

# prints: 1 1 True
# prints: 2 2 True
# prints: Running True 1
# prints: True None True
# prints: True True
# prints: True
# prints: Retrying True 2
# prints: True None True
# prints: True True
# prints: True
# prints: Retrying True 3
# prints: True None True
# prints: True True
# prints: True
# prints: Running True 1
# prints: True None True
# prints: True True
# prints: True
# prints: Retrying True 2
# prints: True None True
# prints: True True
# prints: True
# prints: Retrying True 3
# prints: True None True
# prints: True True
# prints: True
# prints: Running True 1
# prints: True None True
# prints: Retrying True 2
# prints: True None True
# prints: True True
# prints: plain plain later
# prints: Running True 1
# prints: True None True
# prints: Retrying True 2
# prints: True None True
# prints: True True
# prints: later
