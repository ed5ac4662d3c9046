"""Async flows and tasks from the user's view, alone and mixed with sync ones."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from flowspan import flow, task
from flowspan.exceptions import ParameterError, UpstreamFailed

if TYPE_CHECKING:
    from tests.support.recorder import Recorder


@task
def double(x: int) -> int:
    return 2 * x


@task
async def double_later(x: int) -> int:
    await asyncio.sleep(0)
    return 2 * x


@task
async def fail_later(message: str = "no") -> None:
    raise ValueError(message)


def test_an_asynchronous_flow_with_both_kinds_of_tasks(recorder: Recorder) -> None:
    @flow
    async def inner(x: int) -> int:
        return await double_later(x) + double(x)

    @flow
    def plain(x: int) -> int:
        return double_later(x)  # type: ignore[return-value] # runs to completion

    @flow
    async def outer() -> list[int]:
        assert plain(5) == 10
        return await asyncio.gather(inner(1), inner(2), double_later(3))

    coroutine = outer()
    assert recorder.runs == []
    assert asyncio.run(coroutine) == [4, 8, 6]
    parents = {run.id: run.function_name for run in recorder.runs}
    tree = sorted(
        (run.function_name, parents.get(run.parent_run_id or "")) for run in recorder.runs
    )
    assert tree == [
        ("double", "inner"),
        ("double", "inner"),
        ("double_later", "inner"),
        ("double_later", "inner"),
        ("double_later", "outer"),
        ("double_later", "plain"),
        ("inner", "outer"),
        ("inner", "outer"),
        ("outer", None),
        ("plain", "outer"),
    ]
    assert recorder.flushes == 1


def test_asynchronous_ones_give_coroutines_in_plain_ones(recorder: Recorder) -> None:
    @flow
    async def inner(x: int) -> int:
        return await double_later(x)

    @flow
    def outer() -> Any:
        return asyncio.run(double_later(1)) + asyncio.run(inner(2))

    assert outer() == 6
    with pytest.raises(ValueError, match="later"):
        flow(lambda: fail_later("later"), name="x")()


def test_a_plain_flow_may_run_a_loop_of_its_own(recorder: Recorder) -> None:
    async def main() -> list[int]:
        return await asyncio.gather(double_later(1), double_later(2))

    @flow
    def outer() -> Any:
        return asyncio.run(main())

    assert outer() == [2, 4]
    assert {run.parent_run_id for run in recorder.runs[1:]} == {recorder.runs[0].id}


def test_code_in_a_thread_of_an_asynchronous_flow(recorder: Recorder) -> None:
    @flow
    async def outer() -> Any:
        return await asyncio.to_thread(lambda: double(1) + asyncio.run(double_later(2)))

    assert asyncio.run(outer()) == 6


def test_asynchronous_failures_retries_and_states(recorder: Recorder) -> None:
    calls = 0

    @task(retries=1, retry_delay_seconds=0.001)
    async def flaky() -> str:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ValueError
        return "done"

    @flow
    async def outer() -> Any:
        assert (await fail_later(return_state=True)).is_failed()
        with pytest.raises(UpstreamFailed):
            await double_later(await fail_later(return_state=True))
        return await flaky()

    assert asyncio.run(outer()) == "done"
    assert recorder.states("flaky") == [
        ("Running", 1),
        ("AwaitingRetry", 1),
        ("Retrying", 2),
        ("Completed", 2),
    ]

    @flow
    async def bad(n: int) -> None: ...

    with pytest.raises(ParameterError):
        asyncio.run(bad("x"))  # type: ignore[arg-type]


def test_asynchronous_methods_and_objects(recorder: Recorder) -> None:
    class Store:
        @task
        async def get(self, x: int) -> int:
            return x

        async def __call__(self) -> str:
            return "called"

    async def main() -> tuple[int, str]:
        return await Store().get(5), await task(Store(), name="object")()

    assert asyncio.run(main()) == (5, "called")


def test_cancelling_the_asyncio_task_cancels_the_run(recorder: Recorder) -> None:
    again = asyncio.Event()

    @task
    async def slow() -> None:
        await asyncio.sleep(60)

    @flow
    async def outer() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(slow(), 0.01)
        asyncio.get_running_loop().call_later(0.01, again.set)
        await slow()

    async def main() -> None:
        running = asyncio.ensure_future(outer())
        await again.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())
    assert [recorder.end(run)[0] for run in recorder.runs] == ["CANCELLED"] * 3


def test_a_coroutine_that_is_closed_is_a_crash(recorder: Recorder) -> None:
    @flow
    async def outer() -> None:
        await asyncio.sleep(60)

    async def main() -> None:
        coroutine = outer()
        coroutine.send(None)
        coroutine.close()

    asyncio.run(main())
    assert recorder.end("outer") == ("CRASHED", "Crashed")
