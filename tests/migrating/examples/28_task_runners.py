"""Task runners: how many tasks run at once, and tasks that submit tasks."""

import threading
import time

from prefect import flow, task
from prefect.futures import wait
from prefect.task_runners import ConcurrentTaskRunner, ThreadPoolTaskRunner

LOCK = threading.Lock()
RUNNING = {"now": 0, "most": 0}


@task
def busy(number: int) -> int:
    with LOCK:
        RUNNING["now"] += 1
        RUNNING["most"] = max(RUNNING["most"], RUNNING["now"])
    time.sleep(0.03)
    with LOCK:
        RUNNING["now"] -= 1
    return number * number


@task
def where() -> str:
    return "main" if threading.current_thread() is threading.main_thread() else "a thread"


@flow(task_runner=ThreadPoolTaskRunner(max_workers=3))
def three_at_once(count: int) -> int:
    RUNNING["most"] = 0
    futures = busy.map(range(count))
    return sum(futures.result())


@flow(task_runner=ConcurrentTaskRunner())
def as_many_as_it_takes():
    print("submitted in", where.submit().result())
    futures = [busy.submit(number) for number in range(4)]
    wait(futures)
    return [future.result() for future in futures]


@flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
def one_after_the_other():
    RUNNING["most"] = 0
    order: list[int] = []

    @task
    def append(number: int):
        order.append(number)

    for number in range(5):
        append.submit(number)
    wait([busy.submit(1), busy.submit(2)])
    return order, RUNNING["most"]


@task
def child(number: int) -> int:
    return number + 1


@task
def parent(numbers: list[int]) -> int:
    futures = [child.submit(number) for number in numbers]
    return sum(future.result() for future in futures)


@task
def mapping_parent(numbers: list[int]) -> list[int]:
    return child.map(numbers).result()


@flow(task_runner=ThreadPoolTaskRunner(max_workers=10))
def tasks_in_tasks():
    print(parent.submit([1, 2, 3]).result())
    print(mapping_parent([10, 20]))
    return parent.map([[1], [2, 3]]).result()


print(three_at_once(9), RUNNING["most"] <= 3)
print(as_many_as_it_takes())
print(one_after_the_other())
print(tasks_in_tasks())
print(three_at_once.task_runner.name, type(as_many_as_it_takes.task_runner).__name__)
print(one_after_the_other.with_options(task_runner=ThreadPoolTaskRunner(max_workers=2))()[1] <= 2)

# prints: 204 True
# prints: submitted in a thread
# prints: [0, 1, 4, 9]
# prints: ([0, 1, 2, 3, 4], 1)
# prints: 9
# prints: [11, 21]
# prints: [2, 7]
# prints: threadpool ThreadPoolTaskRunner
# prints: True
