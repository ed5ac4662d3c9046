"""None stands for the default of every option."""

import asyncio

from prefect import flow, task

shared = dict.fromkeys(
    "name version description retries retry_delay_seconds timeout_seconds persist_result "
    "result_storage result_serializer log_prints on_completion on_failure on_running".split()
)
of_task = dict.fromkeys(
    "tags cache_policy cache_key_fn cache_expiration task_run_name retry_jitter_factor "
    "retry_condition_fn result_storage_key refresh_cache viz_return_value".split()
)
of_flow = dict.fromkeys("flow_run_name task_runner on_cancellation on_crashed".split())


@task(**shared, **of_task)
def load(x):
    return x


@task(**shared, **of_task)
async def load_later(x):
    return x


@flow(**shared, **of_flow)
def main(x: int):
    return load(x), load.submit(x).result()


@flow(**shared, **of_flow)
async def main_later(x: int):
    return await load_later(x)


print(main("1"), asyncio.run(main_later("2")))
print(load.name, load.retries, load.retry_delay_seconds, load.tags, load.version, load.cache_policy)
print(main.name, main.retries, main.retry_delay_seconds, main.on_failure_hooks)
for option in {**shared, **of_task}:
    assert load.with_options(**({option: None} if option != "version" else {}))(3) == 3
for option in {**shared, **of_flow}:
    assert main.with_options(**{option: None})("3") == (3, 3)

calls = []


@task(cache_policy=None, persist_result=True)
def uncached(x):
    calls.append(x)


@flow
def twice():
    uncached(1)
    uncached(1)
    return len(calls)


print(twice())

# prints: (1, 1) 2
# prints: load 0 0 set() None None
# prints: main 0 0 []
# prints: 2
