"""The thread pool against concurrent.futures.ThreadPoolExecutor: the same table of behaviours."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Protocol

import pytest

from flowspan.drivers.task_runners.thread_pool import ThreadPool

if TYPE_CHECKING:
    from collections.abc import Callable

WAIT_S = 30.0
PREFIX = "pool-under-test"

variable: ContextVar[str] = ContextVar("variable", default="unset")


class Pool(Protocol):
    """The interface of `ThreadPool`, which `RunningThreads` uses."""

    def put(self, call: Callable[[], object], *, at_once: bool = False) -> None: ...

    def close(self) -> None: ...


class ExecutorPool:
    """The ordinary implementation: an executor whose futures are discarded."""

    def __init__(self, max_threads: int | None, name: str) -> None:
        self._executor = ThreadPoolExecutor(max_threads, thread_name_prefix=name)

    def put(self, call: Callable[[], object], *, at_once: bool = False) -> None:
        self._executor.submit(call)

    def close(self) -> None:
        self._executor.shutdown(wait=False)


def threads_of_pool() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(PREFIX)]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


class MakePool:
    """A maker of pools of one kind; at the end of the test, they are closed."""

    def __init__(self, kind: type[ThreadPool] | type[ExecutorPool]) -> None:
        self._kind = kind
        self._pools: list[Pool] = []

    def __call__(self, max_threads: int | None) -> Pool:
        self._pools.append(self._kind(max_threads, PREFIX))
        return self._pools[-1]

    def close(self) -> None:
        for pool in self._pools:
            pool.close()
        wait_until(lambda: not threads_of_pool())


@pytest.fixture(params=[ThreadPool, ExecutorPool], ids=["flowspan", "executor"])
def make_pool(request: pytest.FixtureRequest):
    maker = MakePool(request.param)
    yield maker
    maker.close()


def test_one_thread_runs_the_calls_in_order(make_pool: MakePool) -> None:
    pool, seen, done = make_pool(1), [], threading.Event()
    for number in range(500):
        pool.put(lambda number=number: seen.append(number))
    pool.put(done.set)
    assert done.wait(WAIT_S)
    assert seen == list(range(500))


@pytest.mark.parametrize("at_once", [False, True])
def test_each_call_runs_once_whichever_thread_puts_it(make_pool: MakePool, at_once: bool) -> None:
    pool, seen = make_pool(4), []

    def put_some(start: int) -> None:
        for number in range(start, start + 250):
            pool.put(lambda number=number: seen.append(number), at_once=at_once)

    putting = [threading.Thread(target=put_some, args=(250 * index,)) for index in range(4)]
    for thread in putting:
        thread.start()
    for thread in putting:
        thread.join(WAIT_S)
    wait_until(lambda: len(seen) >= 1000)
    assert sorted(seen) == list(range(1000))


@pytest.mark.parametrize("error", [ValueError("bug"), SystemExit(3), KeyboardInterrupt()])
def test_a_call_that_raises_ends_neither_its_thread_nor_the_pool(
    make_pool: MakePool, error: BaseException
) -> None:
    pool, threads, done = make_pool(1), [], threading.Event()

    def broken() -> None:
        threads.append(threading.get_ident())
        raise error

    pool.put(broken)
    pool.put(broken)
    pool.put(lambda: (threads.append(threading.get_ident()), done.set()))
    assert done.wait(WAIT_S)
    assert len(threads) == 3
    assert len({*threads}) == 1


def test_a_closed_pool_runs_the_queued_calls_and_ends_its_threads(make_pool: MakePool) -> None:
    pool, go, seen = make_pool(2), threading.Event(), []
    for _ in range(2):
        pool.put(lambda: go.wait(WAIT_S))
    for number in range(20):
        pool.put(lambda number=number: seen.append(number))
    pool.close()
    assert seen == []
    go.set()
    wait_until(lambda: not threads_of_pool())
    assert sorted(seen) == list(range(20))


def test_a_pool_that_ran_nothing_has_no_threads_and_can_be_closed_twice(
    make_pool: MakePool,
) -> None:
    pool = make_pool(2)
    assert threads_of_pool() == []
    pool.close()
    pool.close()


def test_idle_threads_end_when_the_pool_is_closed(make_pool: MakePool) -> None:
    pool = make_pool(4)
    barrier = threading.Barrier(4)
    for _ in range(4):
        pool.put(lambda: barrier.wait(WAIT_S))
    wait_until(lambda: len(threads_of_pool()) == 4 and not barrier.n_waiting)
    pool.close()
    wait_until(lambda: not threads_of_pool())


def test_an_idle_thread_is_used_again(make_pool: MakePool) -> None:
    pool, threads = make_pool(8), set()
    for _ in range(20):
        done = threading.Event()
        pool.put(lambda done=done: (threads.add(threading.get_ident()), done.set()))
        assert done.wait(WAIT_S)
        time.sleep(0.002)  # the thread becomes idle after the call, unobservably
    assert len(threads) == 1


@pytest.mark.parametrize("size", [1, 2, 7, 30])
def test_no_more_calls_run_at_once_than_there_may_be_threads_and_no_fewer(
    make_pool: MakePool, size: int
) -> None:
    pool, lock, running, most = make_pool(size), threading.Lock(), 0, 0
    barrier, done = threading.Barrier(size), threading.Semaphore(0)

    def call() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        barrier.wait(WAIT_S)  # passes only if `size` calls run at the same time
        with lock:
            running -= 1
        done.release()

    for _ in range(size * 3):
        pool.put(call)
    for _ in range(size * 3):
        assert done.acquire(timeout=WAIT_S)
    assert most == size
    assert len(threads_of_pool()) <= size + 1  # one thread of flowspan's pool adds the others


def test_calls_may_put_calls(make_pool: MakePool) -> None:
    pool, done = make_pool(1), threading.Event()

    def call(depth: int) -> None:
        if depth:
            pool.put(lambda: call(depth - 1))
        else:
            done.set()

    pool.put(lambda: call(100))
    assert done.wait(WAIT_S)


def test_a_call_does_not_run_in_the_context_of_its_caller(make_pool: MakePool) -> None:
    pool, seen, done = make_pool(1), [], threading.Event()
    token = variable.set("caller")
    try:
        pool.put(lambda: seen.append(variable.get()))
        context = copy_context()
        pool.put(lambda: context.run(lambda: seen.append(variable.get())))
        pool.put(lambda: seen.append(variable.get()))
        pool.put(done.set)
        assert done.wait(WAIT_S)
    finally:
        variable.reset(token)
    assert seen == ["unset", "caller", "unset"]


def test_a_finished_call_is_released(make_pool: MakePool) -> None:
    class Value: ...

    pool, value = make_pool(1), Value()
    reference = weakref.ref(value)
    pool.put(lambda value=value: None)
    del value

    def is_gone() -> bool:
        gc.collect()
        return reference() is None

    wait_until(is_gone)
