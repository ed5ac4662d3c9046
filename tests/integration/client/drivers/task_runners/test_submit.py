"""`submit` and `map`, futures, the thread pool."""

from __future__ import annotations

import asyncio
import threading
import time
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from flowspan import allow_failure, flow, task, unmapped
from flowspan.drivers.task_runners.thread_pool import ThreadPool
from flowspan.exceptions import (
    MappingLengthMismatch,
    MappingMissingIterable,
    RunTimeout,
    UpstreamFailed,
)
from flowspan.futures import TaskFuture, as_completed, wait
from flowspan.task_runners import ThreadPoolTaskRunner

if TYPE_CHECKING:
    from tests.support.recorder import Recorder

WAIT_S = 30.0
"""Longer than any step takes, so that a hanging test fails instead."""


@task
def double(x: Any) -> Any:
    return 2 * x


@task
async def double_later(x: int) -> int:
    await asyncio.sleep(0)
    return 2 * x


@task
def fail(message: str = "no") -> Any:
    raise ValueError(message)


@dataclass
class Box:
    inside: Any


def test_results_go_from_future_to_future(recorder: Recorder) -> None:
    @task
    def collect(box: Box, pairs: dict[str, list[int]], *rest: int) -> list[int]:
        return [box.inside, *pairs["a"], *rest]

    @flow
    def outer() -> list[int]:
        one = double.submit(1)
        two = double_later.submit(one)  # type: ignore[arg-type]
        three = collect.submit(Box(one), {"a": [two, 0]}, double.submit(two))  # type: ignore[list-item]
        return three.result(WAIT_S)

    assert outer() == [2, 4, 0, 8]


def test_a_submitted_run_is_announced_at_once_and_runs_elsewhere(recorder: Recorder) -> None:
    go = threading.Event()

    @task
    def where() -> int:
        assert go.wait(WAIT_S)
        return threading.get_ident()

    @flow
    def outer() -> None:
        future = where.submit()
        assert recorder.run("where").id == str(future.task_run_id)
        assert not future.done()
        assert not future.state.is_final()
        go.set()
        assert future.result(WAIT_S) != threading.get_ident()
        assert future.state.is_completed()

    outer()


def test_a_flow_waits_for_what_it_submitted(recorder: Recorder) -> None:
    ended = []

    @task
    def slow(x: int) -> None:
        time.sleep(0.02)
        ended.append(x)

    @flow
    def outer() -> None:
        slow.map(range(5))

    @flow
    def broken() -> None:
        slow.submit(5)
        raise ValueError("broken")

    outer()
    with pytest.raises(ValueError, match="broken"):
        broken()
    assert sorted(ended) == [0, 1, 2, 3, 4, 5]
    assert recorder.end("outer") == ("COMPLETED", "Completed")


def test_a_failed_upstream_makes_the_downstream_not_ready(recorder: Recorder) -> None:
    @flow
    def outer() -> None:
        bad = fail.submit()
        after = double.submit([bad])
        much_after = double.submit(after)
        waited = double.submit(1, wait_for=[bad])
        for future in (after, much_after, waited):
            future.wait(WAIT_S)
            assert (future.state.type.name, future.state.name) == ("PENDING", "NotReady")
            with pytest.raises(UpstreamFailed):
                future.result()
        tolerant = double.submit(allow_failure([bad, 1]))
        error, one = tolerant.result(WAIT_S)[:2]
        assert isinstance(error, ValueError)
        assert one == 1

    outer()
    ends = [recorder.end(run) for run in recorder.runs if run.function_name == "double"]
    assert ends.count(("CANCELLED", "NotReady")) == 3


def test_futures_in_what_a_flow_returns_decide_its_state(recorder: Recorder) -> None:
    @flow
    def one_of_two() -> Any:
        return [double.submit(1), fail.submit()]

    @flow
    def only_one() -> Any:
        return double.submit(4)

    @flow
    def not_returned() -> int:
        fail.submit()
        return 1

    good, bad = one_of_two()
    assert (good.type, good.data, bad.type) == ("COMPLETED", 2, "FAILED")
    assert recorder.end("one-of-two") == ("FAILED", "Failed")
    assert only_one().result() == 8
    assert not_returned() == 1


def test_direct_calls_wait_for_futures(recorder: Recorder) -> None:
    @flow
    def inner(x: int) -> int:
        return x + 1

    @flow
    async def inner_later(x: int) -> int:
        return x + 1

    @flow
    def outer() -> list[Any]:
        future = double.submit(1)
        return [double(future), inner(future), asyncio.run(inner_later(future))]  # type: ignore[arg-type]

    @flow
    async def outer_later() -> list[Any]:
        future = double.submit(1)
        return [await double_later(future), await inner_later(future), await future]  # type: ignore[arg-type]

    assert outer() == [4, 3, 3]
    assert asyncio.run(outer_later()) == [4, 3, 2]


def test_map_goes_side_by_side(recorder: Recorder) -> None:
    @task
    def add(a: int, b: int = 0, c: Any = ()) -> int:
        return a + b + len(c)

    @flow
    def outer() -> None:
        assert add.map([1, 2, 3]).result(WAIT_S) == [1, 2, 3]
        assert add.map([1, 2], b=(10, 20)).result(WAIT_S) == [11, 22]
        assert add.map(range(2), 5, unmapped([1, 2])).result(WAIT_S) == [7, 8]
        assert add.map([double.submit(1), 5]).result(WAIT_S) == [2, 5]
        assert add.map(double.submit([1, 2])).result(WAIT_S) == [1, 2, 1, 2]
        assert [s.result() for s in add.map([1, 2], return_state=True)] == [1, 2]  # type: ignore[attr-defined]
        assert add.map([]).result() == []

    outer()


def test_map_says_what_is_wrong(recorder: Recorder) -> None:
    @flow
    def outer() -> None:
        with pytest.raises(MappingMissingIterable, match="'double'"):
            double.map("text")
        with pytest.raises(MappingLengthMismatch, match="argument 1 has 2, 'x' has 3"):
            double.map([1, 2], x=[1, 2, 3])

    outer()
    assert len(recorder.runs) == 1


def test_mapped_failures_are_given_or_raised(recorder: Recorder) -> None:
    @task
    def half(x: int) -> int:
        if x % 2:
            raise ValueError(f"odd: {x}")
        return x // 2

    @flow
    def outer() -> None:
        futures = half.map([2, 3, 4])
        with pytest.raises(ValueError, match="odd: 3"):
            futures.result(WAIT_S)
        one, error, two = futures.result(raise_on_failure=False)
        assert (one, str(error), two) == (1, "odd: 3", 2)
        assert double.map(allow_failure(futures[:1])).result(WAIT_S) == [2]

    outer()


def test_waiting_has_an_end(recorder: Recorder) -> None:
    go = threading.Event()

    @task
    def slow() -> int:
        go.wait(WAIT_S)
        return 1

    @flow
    def outer() -> None:
        quick, stuck = double.submit(1), slow.submit()
        quick.wait(WAIT_S)
        assert wait([quick, stuck], timeout=0.01) == ({quick}, {stuck})
        with pytest.raises(TimeoutError, match=r"'slow-0' did not end within 0.01 s"):
            stuck.result(timeout=0.01)
        with pytest.raises(RunTimeout, match="of 2 task runs"):
            double.map([1, stuck]).result(timeout=0.05)
        ended = as_completed([stuck, quick], timeout=0.05)
        assert next(ended) is quick
        with pytest.raises(TimeoutError):
            next(ended)
        go.set()
        assert set(as_completed([stuck, quick], WAIT_S)) == {stuck, quick}
        assert wait([quick, stuck]).not_done == set()

    outer()


def test_as_completed_gives_them_in_the_order_in_which_they_end(recorder: Recorder) -> None:
    gates = [threading.Event() for _ in range(3)]

    @task
    def gated(i: int) -> int:
        gates[i].wait(WAIT_S)
        return i

    @flow
    def outer() -> list[int]:
        order = []
        gates[2].set()
        for future in as_completed(gated.map(range(3)), WAIT_S):
            order.append(future.result())
            if len(order) < 3:
                gates[2 - len(order)].set()
        return order

    assert outer() == [2, 1, 0]


def test_done_callbacks(recorder: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    go = threading.Event()
    seen: list[Any] = []

    @task
    def slow() -> int:
        go.wait(WAIT_S)
        return 1

    def broken(_: object) -> None:
        raise RuntimeError("in the callback")

    @flow
    def outer() -> None:
        future = slow.submit()
        future.add_done_callback(broken)
        future.add_done_callback(seen.append)
        go.set()
        future.wait(WAIT_S)
        future.add_done_callback(seen.append)

    outer()
    assert len(seen) == 2
    assert "in the callback" in caplog.text


@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "asynchronous"])
def test_a_task_that_waits_for_what_it_submits_does_not_block_a_full_pool(
    recorder: Recorder, is_async: bool
) -> None:
    leaf = double_later if is_async else double

    @task
    def branch(x: int) -> int:
        return sum(future.result() for future in [leaf.submit(x), leaf.submit(x)])

    @task
    async def branch_later(x: int) -> int:
        return sum(future.result() for future in [leaf.submit(x), leaf.submit(x)])

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def outer() -> int:
        return sum(branch.map([1, 2]).result()) + branch_later.submit(1).result()

    assert outer() == 16


def test_a_bounded_pool_runs_no_more_than_its_bound(recorder: Recorder) -> None:
    lock = threading.Lock()
    now = most = 0

    def enter(change: int) -> None:
        nonlocal now, most
        with lock:
            now += change
            most = max(now, most)

    two = threading.Barrier(2)

    @task
    def plain(x: int) -> None:
        enter(1)
        two.wait(WAIT_S)  # This passes only if two of them run at the same time.
        enter(-1)

    @task
    async def later(x: int) -> None:
        enter(1)
        await asyncio.sleep(0.001)
        enter(-1)

    for work in (plain, later):
        most = 0

        @flow(task_runner=ThreadPoolTaskRunner(max_workers=2))
        def outer(work: Any = work) -> None:
            work.map(range(10))

        outer()
        assert most == 2


def test_blocked_tasks_get_threads_as_they_need_them(recorder: Recorder) -> None:
    count = 40
    everyone = threading.Barrier(count)

    @task
    def meet(x: int) -> int:
        everyone.wait(WAIT_S)  # This passes only if all of them run at the same time.
        return x

    @flow
    def outer() -> list[int]:
        return meet.map(range(count)).result()

    assert outer() == list(range(count))


def test_asynchronous_tasks_share_one_thread(recorder: Recorder) -> None:
    @task
    async def meet(barrier: asyncio.Event, names: list[str], count: int) -> None:
        names.append(threading.current_thread().name)
        if len(names) == count:
            barrier.set()
        await asyncio.wait_for(barrier.wait(), WAIT_S)

    names: list[str] = []

    @flow
    async def outer() -> None:
        barrier = asyncio.Event()
        for _ in range(50):
            meet.submit(barrier, names, 50)

    asyncio.run(outer())
    assert len(set(names)) == 1
    assert {recorder.end(run)[0] for run in recorder.runs} == {"COMPLETED"}


def test_context_goes_along(recorder: Recorder) -> None:
    variable: ContextVar[str] = ContextVar("variable", default="unset")

    @task
    def read() -> str:
        return variable.get()

    @task
    async def read_later() -> str:
        return variable.get()

    @flow
    def outer() -> None:
        variable.set("set")
        assert read.submit().result(WAIT_S) == "set"
        assert read_later.submit().result(WAIT_S) == "set"

    outer()


def test_submitted_outside_of_flows(recorder: Recorder) -> None:
    future = double.submit(4)
    assert isinstance(future, TaskFuture)
    assert future.result(WAIT_S) == 8
    assert double.map([1, 2]).result(WAIT_S) == [2, 4]
    assert double.submit(1, return_state=True).is_completed()  # type: ignore[attr-defined]


def test_a_submitted_run_whose_name_cannot_be_made_fails(recorder: Recorder) -> None:
    @flow
    def outer() -> None:
        future = double.with_options(task_run_name="{y}").submit(1)
        with pytest.raises(ValueError, match="task_run_name"):
            future.result(WAIT_S)

    outer()


def test_an_argument_is_copied_without_its_own_methods(recorder: Recorder) -> None:
    class Stubborn(list[Any]):
        def __init__(self, *_: object) -> None:
            raise RuntimeError("no copies")

    stubborn = list.__new__(Stubborn)

    @flow
    def outer() -> None:
        stubborn.append(double.submit(1))
        for state in (
            double.submit(stubborn, return_state=True),
            double(stubborn, return_state=True),
            flow(double.fn)(stubborn, return_state=True),
        ):
            assert state.is_completed(), state
            assert list.copy(state.result()) == [2, 2]

    outer()


def test_a_pool_survives_a_job_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    pool = ThreadPool(1, "test")
    done = threading.Event()

    def broken() -> None:
        raise RuntimeError("a bug")

    pool.put(broken)
    pool.put(done.set)
    assert done.wait(WAIT_S)
    pool.close()
    assert "a bug" in caplog.text


def test_max_workers_must_make_sense() -> None:
    with pytest.raises(ValueError, match="max_workers"):
        ThreadPoolTaskRunner(max_workers=0)
    assert flow(task_runner=ThreadPoolTaskRunner)(double.fn).task_runner.max_workers is None
