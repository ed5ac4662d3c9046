"""The options of a task can be read: as they were given, and their defaults."""

import datetime

from prefect import task
from prefect.cache_policies import DEFAULT, INPUTS, NO_CACHE
from prefect.tasks import exponential_backoff


def hook(*_):
    pass


def load(day: int = 1):
    """Load a day."""


def key(*_):
    return "k"


def show(made, *names):
    print(*(repr(getattr(made, name)) for name in names))


plain = task(load)
show(plain, "name", "description", "tags", "version", "retries", "retry_delay_seconds")
show(plain, "retry_jitter_factor", "retry_condition_fn", "timeout_seconds", "task_run_name")
show(plain, "persist_result", "result_storage", "result_serializer", "result_storage_key")
show(plain, "cache_key_fn", "cache_expiration", "refresh_cache", "cache_result_in_memory")
show(plain, "log_prints", "isasync", "isgenerator", "viz_return_value")
show(plain, "on_completion_hooks", "on_failure_hooks", "on_running_hooks")
show(plain, "on_commit_hooks", "on_rollback_hooks")
print(plain.cache_policy == DEFAULT, plain.fn is load, plain.task_key.startswith("load-"))

full = task(
    name="full",
    description="Given.",
    tags=["b", "a", "b"],
    version="7",
    retries=3,
    retry_delay_seconds=[1, 2],
    retry_jitter_factor=0.5,
    retry_condition_fn=hook,
    cache_policy=INPUTS,
    cache_expiration=datetime.timedelta(days=1),
    refresh_cache=True,
    result_serializer="json",
    cache_result_in_memory=False,
    timeout_seconds=3,
    log_prints=True,
    on_completion=[hook],
    on_failure=[hook, hook],
    task_run_name="load-{day}",
)(load)
show(full, "name", "description", "version", "retries", "retry_delay_seconds", "timeout_seconds")
show(full, "retry_jitter_factor", "cache_expiration", "refresh_cache", "cache_result_in_memory")
show(full, "persist_result", "result_serializer", "log_prints", "task_run_name")
print(sorted(full.tags), isinstance(full.tags, set), full.retry_condition_fn is hook)
print(full.on_completion_hooks == [hook], len(full.on_failure_hooks), full.cache_policy == INPUTS)

print(task(retries=3, retry_delay_seconds=exponential_backoff(2))(load).retry_delay_seconds)
print(task(retry_delay_seconds=exponential_backoff(2))(load).retry_delay_seconds)
for options in (
    {"persist_result": False},
    {"persist_result": True},
    {"cache_policy": NO_CACHE},
    {"cache_policy": None},
    {"cache_policy": INPUTS},
    {"cache_policy": INPUTS, "persist_result": False},
    {"result_storage_key": "k"},
    {"cache_key_fn": key},
    {"refresh_cache": True},
):
    made = task(**options)(load)
    policy = made.cache_policy
    which = [each for each in ("DEFAULT", "INPUTS", "NO_CACHE") if policy == globals()[each]]
    print(made.persist_result, *which, type(policy).__name__ if not which else "")


@task
async def later():
    pass


@task
def many():
    yield 1


@task
async def many_later():
    yield 1


print([(each.isasync, each.isgenerator) for each in (later, many, many_later)])

# prints: 'load' 'Load a day.' set() None 0 0
# prints: None None None None
# prints: None None None None
# prints: None None None True
# prints: None False False None
# prints: [] [] []
# prints: [] []
# prints: True True True
# prints: 'full' 'Given.' '7' 3 [1, 2] 3.0
# prints: 0.5 datetime.timedelta(days=1) True False
# prints: True 'json' True 'load-{day}'
# prints: ['a', 'b'] True True
# prints: True 2 True
# prefect prints: [2, 4, 8]
# flowspan prints: [2.0, 4.0, 8.0]
# prints: []
# prints: False NO_CACHE
# prints: True DEFAULT
# prints: None NO_CACHE
# prints: None NoneType
# prints: True INPUTS
# prints: False NO_CACHE
# prints: True NoneType
# prints: True CacheKeyFnPolicy
# prints: None DEFAULT
# prints: [(True, False), (False, True), (True, True)]
# because: delays are floats; they compare equal
