"""Futures: cancellation, and iteration in order of completion."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from flowspan import flow, task
from flowspan.exceptions import CancelRun, RunTimeout
from flowspan.futures import TaskFuture, as_completed, wait
from flowspan.task_runners import ThreadPoolTaskRunner

if TYPE_CHECKING:
    from tests.support.recorder import Recorder

ONE_THREAD = ThreadPoolTaskRunner(max_workers=1)


@task
def step(x: int) -> int:
    return x


@task
async def asleep(begun: threading.Event) -> None:
    begun.set()
    await asyncio.sleep(600)


@pytest.mark.parametrize("with_upstream", [False, True])
def test_one_that_has_not_begun_never_does(recorder: Recorder, with_upstream: bool) -> None:
    release = threading.Event()

    @task
    def blocks() -> None:
        release.wait()

    @flow(task_runner=ONE_THREAD)
    def outer() -> bool:
        first = blocks.submit()
        pending = step.submit(2, wait_for=[first] if with_upstream else [])
        assert pending.cancel()
        assert pending.state.is_cancelled()
        assert not pending.cancel(), "it has ended"
        release.set()
        with pytest.raises(CancelRun):
            pending.result()
        return first.state.is_cancelled()

    assert outer() is False
    assert recorder.states("step") == [("Cancelled", 1)]


def test_an_asynchronous_one_is_broken_off(recorder: Recorder) -> None:
    @flow
    def outer() -> Any:
        begun = threading.Event()
        future = asleep.submit(begun)
        begun.wait()
        assert future.cancel()
        future.wait()
        assert isinstance(future.result(raise_on_failure=False), CancelRun)
        return step.submit(1).result()

    assert outer() == 1, "its flow must continue"
    assert recorder.states("asleep") == [("Running", 1), ("Cancelled", 1)]
    assert recorder.last_event("asleep")[5] == "The future of the run was cancelled."


def test_a_plain_one_stops_where_it_waits_or_calls(recorder: Recorder) -> None:
    begun = threading.Barrier(3)
    asked = threading.Event()

    @task
    def calls() -> None:
        begun.wait()
        asked.wait()
        step(1)

    @task(retries=1, retry_delay_seconds=600)
    def retried() -> None:
        begun.wait()
        raise ValueError

    @flow
    def outer() -> list[bool]:
        futures = [calls.submit(), retried.submit()]
        begun.wait()
        asked_to = [future.cancel() for future in futures]
        asked.set()
        wait(futures)
        return asked_to

    assert outer() == [True, True]
    assert recorder.end("calls") == recorder.end("retried") == ("CANCELLED", "Cancelled")
    assert not [run for run in recorder.runs if run.function_name == "step"]


def test_what_it_called_and_submitted_is_stopped_too(recorder: Recorder) -> None:
    begun = threading.Event()

    @flow
    async def below() -> None:
        await asleep(begun)

    @task
    def calls() -> None:
        asleep.submit(threading.Event())
        asyncio.run(below())

    @flow
    def outer() -> None:
        future = calls.submit()
        begun.wait()
        future.cancel()
        future.wait()

    outer()
    for name in ("below", "calls"):
        assert recorder.end(name) == ("CANCELLED", "Cancelled")
    ends = [recorder.end(run) for run in recorder.runs if run.function_name == "asleep"]
    assert ends == [("CANCELLED", "Cancelled")] * 2


def test_what_a_run_left_behind_is_stopped_with_its_flow(recorder: Recorder) -> None:
    begun = threading.Event()

    @task
    def leaves() -> None:
        asleep.submit(begun)

    @flow
    def outer() -> None:
        leaves.submit().wait()
        begun.wait()
        (cancel,) = recorder.cancels.values()
        cancel("by the test")
        step(1)

    with pytest.raises(CancelRun):
        outer()
    assert recorder.end("asleep") == ("CANCELLED", "Cancelled")
    assert recorder.end("leaves") == ("COMPLETED", "Completed")


@pytest.mark.asyncio
async def test_cancelling_in_coroutines(recorder: Recorder) -> None:
    @flow
    async def outer() -> str:
        begun = threading.Event()
        futures = asleep.map([begun, threading.Event()])
        await asyncio.to_thread(begun.wait)
        assert futures.cancel()
        with pytest.raises(CancelRun):
            await futures[0]
        futures.wait()
        assert not futures.cancel()
        return "went on"

    assert await outer() == "went on"
    ends = [recorder.end(run) for run in recorder.runs if run.function_name == "asleep"]
    assert ends == [("CANCELLED", "Cancelled")] * 2


def test_as_completed_gives_them_as_they_end(recorder: Recorder) -> None:
    gates = [threading.Event() for _ in range(3)]

    @task
    def passes(i: int) -> int:
        gates[i].wait()
        return i

    @flow
    def outer() -> list[int]:
        futures = passes.map(range(3))
        order = []
        gates[2].set()
        for future in as_completed(futures):
            order.append(future.result())
            gates[order[-1] - 1].set()
        return order

    assert outer() == [2, 1, 0]


@pytest.mark.asyncio
async def test_as_completed_in_coroutines(recorder: Recorder) -> None:
    gates = [threading.Event() for _ in range(3)]
    ticks = 0

    @task
    def passes(i: int) -> int:
        gates[i].wait()
        return i

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    @flow
    async def outer() -> list[int]:
        ticking = asyncio.create_task(tick())
        futures = passes.map(range(3))
        order: list[int] = []
        with pytest.raises(RunTimeout, match="3 task runs"):
            await anext(as_completed(futures, timeout=0.001))
        before = ticks
        gates[2].set()
        async for future in as_completed(futures):
            order.append(await future)
            gates[order[-1] - 1].set()
        assert ticks > before, "the loop was not blocked"
        ticking.cancel()
        return [*order, *(await futures)]

    assert await outer() == [2, 1, 0, 0, 1, 2]


@pytest.mark.asyncio
async def test_asynchronous_tasks_need_no_threads(recorder: Recorder) -> None:
    together = 50

    @task
    async def meets(barrier: asyncio.Barrier) -> int:
        await barrier.wait()
        return threading.get_ident()

    @flow
    async def outer() -> set[int]:
        before = set(threading.enumerate())
        barrier = asyncio.Barrier(together * 2)
        async with asyncio.TaskGroup() as group:
            ones = [group.create_task(meets(barrier)) for _ in range(together)]
            others = asyncio.gather(*[meets(barrier) for _ in range(together)])
            assert set(threading.enumerate()) <= before
        return {one.result() for one in ones} | set(await others)

    assert await outer() == {threading.get_ident()}


def test_submitted_asynchronous_tasks_share_a_thread(recorder: Recorder) -> None:
    met: list[None] = []
    all_here = threading.Event()

    @task
    async def meets(i: int) -> int:
        met.append(None)
        if len(met) == 50:
            all_here.set()
        while not all_here.is_set():  # noqa: ASYNC110 - works with any loop
            await asyncio.sleep(0)
        return threading.get_ident()

    @flow
    def outer() -> set[int]:
        return set(meets.map(range(50)).result())

    assert len(outer()) == 1


@pytest.mark.asyncio
async def test_a_task_group_cancels_its_tasks(recorder: Recorder) -> None:
    begun = threading.Event()

    @task
    async def fails() -> None:
        while not begun.is_set():  # noqa: ASYNC110 - works with any loop
            await asyncio.sleep(0)
        raise ValueError("bad")

    @flow
    async def outer() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(asleep(begun))
            group.create_task(fails())

    with pytest.raises(ExceptionGroup) as errors:
        await outer()
    assert errors.group_contains(ValueError, match="bad")
    assert recorder.end("asleep") == ("CANCELLED", "Cancelled")
    assert recorder.end("fails") == recorder.end("outer") == ("FAILED", "Failed")


def test_a_future_knows_its_run(recorder: Recorder) -> None:
    futures: list[TaskFuture[int]] = []

    @flow
    def outer() -> None:
        futures.append(step.submit(1))

    outer()
    assert str(futures[0].task_run_id) == recorder.run("step").id
