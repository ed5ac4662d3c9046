"""Futures: wait, as_completed, callbacks, timeouts, and lists of them."""

import threading
import time

from prefect import flow, task
from prefect.futures import PrefectFuture, PrefectFutureList, as_completed, wait
from prefect.states import State


@task
def work(seconds: float, name: str) -> str:
    time.sleep(seconds)
    return name


gate = threading.Event()


@task
def behind_the_gate(name: str) -> str:
    gate.wait(10)
    return name


@task
def fail(name: str):
    raise LookupError(name)


@task
def shout(names: list[str]) -> str:
    return "!".join(names)


def collect(futures: list[PrefectFuture]) -> list[str]:
    return sorted(future.result() for future in as_completed(futures))


@flow
def several():
    futures: list[PrefectFuture[str]] = [work.submit(0.01, name) for name in "abc"]
    print(collect(futures))
    done, not_done = wait(futures)
    print(len(done), len(not_done), all(future.state.is_completed() for future in done))
    print(isinstance(futures[0], PrefectFuture), isinstance(futures[0].state, State))
    return shout(futures)


@flow
def timeouts():
    slow = behind_the_gate.submit("slow")
    quick = work.submit(0, "quick")
    quick.wait()
    try:
        slow.result(timeout=0.01)
    except TimeoutError as error:
        print("not yet:", type(error).__name__)
    slow.wait(timeout=0.01)
    print("final:", slow.state.is_final(), quick.state.is_final())
    gate.set()
    return slow.result(timeout=10), quick.result()


@flow
def callbacks():
    told: list[str] = []
    future = work.submit(0.01, "done")
    future.add_done_callback(lambda each: told.append(each.result()))
    future.wait()
    time.sleep(0.05)
    return told


@flow
def lists():
    names = PrefectFutureList([work.submit(0, "x"), work.submit(0, "y")])
    names.wait()
    print(names.result(), len(names), names[0].result())
    mixed = PrefectFutureList([work.submit(0, "z"), fail.submit("lost")])
    print(mixed.result(raise_on_failure=False))
    try:
        mixed.result()
    except LookupError as error:
        print("LookupError:", error)
    return mixed


@flow
def nested_arguments():
    first = work.submit(0, "first")
    second = work.submit(0, "second", wait_for=[first])
    return shout([first, second, "plain"]), shout.submit([second]).result()


print(several())
print(timeouts())
print(callbacks())
state = lists(return_state=True)
print(state.type.value, "|", state.message)
print(nested_arguments())

# prints: ['a', 'b', 'c']
# prints: 3 0 True
# prints: True True
# prints: a!b!c
# prefect prints: not yet: TimeoutError
# flowspan prints: not yet: RunTimeout
# prints: final: False True
# prints: ('slow', 'quick')
# prints: ['done']
# prints: ['x', 'y'] 2 x
# prints: ['z', LookupError('lost')]
# prints: LookupError: lost
# prints: FAILED | 1/2 states failed.
# prints: ('first!second!plain', 'second')
# because: futures raise RunTimeout, which is a TimeoutError
