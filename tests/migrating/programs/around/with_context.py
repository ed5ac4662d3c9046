"""A function takes its run along, to threads and to processes."""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor

from prefect import flow, runtime, tags, task
from prefect.context import TagsContext, get_run_context, with_context


def look(x: int, y: int = 0) -> tuple:
    seen = runtime.flow_run.flow_name, runtime.task_run.name, sorted(TagsContext.get().current_tags)
    return x + y, *seen, hasattr(get_run_context(), "task_run")


def fail(x: int) -> None:
    raise ValueError(x)


@task
def double(x: int) -> int:
    return 2 * x


def call_task(x: int) -> int:
    return double(x)


@task(task_run_name="the task")
def carry() -> None:
    carried = with_context(look)
    print("here", carried(1, y=2))
    with ThreadPoolExecutor(2) as threads:
        print("threads", list(threads.map(carried, [1, 2])))
        print(threads.submit(with_context(call_task), 4).result())
    with multiprocessing.get_context("fork").Pool(1) as pool:
        print("process", pool.map(carried, [3, 4]))
        print(pool.map(with_context(call_task), [5, 6]))
        try:
            pool.map(with_context(fail), [7])
        except ValueError as error:
            print("ValueError", error)


@flow
def around() -> None:
    with tags("a", "b"):
        carry()
        print("flow", with_context(look)(8))


around()
print(with_context(call_task)(9))

# prints: here (3, 'around', 'the task', ['a', 'b'], True)
# prints: threads [(1, 'around', 'the task', ['a', 'b'], True), (2, 'around', 'the task', ['a', 'b'], True)]
# prints: 8
# prints: process [(3, 'around', 'the task', ['a', 'b'], True), (4, 'around', 'the task', ['a', 'b'], True)]
# prints: [10, 12]
# prints: ValueError 7
# prints: flow (8, 'around', None, ['a', 'b'], False)
# prints: 18
