"""Do not ask an API too often, and do work in the background."""

import prefect
import prefect.runtime
from prefect import flow, task
from prefect.concurrency.asyncio import concurrency as aconcurrency
from prefect.concurrency.sync import concurrency, rate_limit
from prefect.task_runners import PrefectTaskRunner, ThreadPoolTaskRunner
from prefect.task_worker import serve
from prefect.tasks import exponential_backoff
from prefect.testing.utilities import prefect_test_harness
from prefect.transactions import transaction
from prefect.utilities.asyncutils import sync_compatible


@task(retries=2, retry_delay_seconds=exponential_backoff(2), log_prints=True)
def ask(number: int) -> int:
    rate_limit("api")
    with concurrency("database", occupy=1):
        return number


@task(asset_deps=["s3://bucket/key"])
async def ask_too(number: int) -> int:
    async with aconcurrency("database"):
        return number


@sync_compatible
async def helper():
    return 1


@flow(task_runner=PrefectTaskRunner())
def in_background(count: int):
    with transaction():
        return ask.map(range(count)).result()


@prefect.flow(task_runner=ThreadPoolTaskRunner(max_workers=2))
def here(count: int):
    print(prefect.runtime.flow_run.name, prefect.context.get_run_context())
    prefect.pause_flow_run(timeout=1)
    future = ask.delay(count)
    ask.apply_async((count,), wait_for=[future])
    return future.task_run_id


def test_here():
    with prefect_test_harness():
        assert here.fn(1)


if __name__ == "__main__":
    serve(ask, ask_too)
