"""Async generator functions as flows and tasks; the counterpart of test_generators."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest

from flowspan import allow_failure, flow, tags, task
from flowspan.core.run import current_run
from flowspan.exceptions import CancelRun, RunTimeout, UpstreamFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.recorder import Recorder

pytestmark = pytest.mark.asyncio
BOTH = pytest.mark.parametrize("decorator", [flow, task], ids=["flow", "task"])


def here() -> str | None:
    run = current_run.get()
    return None if run is None else run.definition.name


@task
async def step(x: int) -> int:
    await asyncio.sleep(0)
    return x


@BOTH
async def test_gives_its_values_one_by_one_while_it_runs(
    recorder: Recorder, decorator: Any
) -> None:
    @decorator
    async def numbers(count: int) -> AsyncIterator[int]:
        for i in range(count):
            yield await step(i)

    values = numbers(2)
    assert not recorder.runs, "the run must start with the first value"
    assert await anext(values) == 0
    assert recorder.end("numbers") == ("RUNNING", "Running")
    assert [value async for value in values] == [1]
    assert recorder.states("numbers") == [("Running", 1), ("Completed", 1)]
    assert recorder.flushes == 1


@BOTH
async def test_only_the_body_is_inside_of_the_run(recorder: Recorder, decorator: Any) -> None:
    @decorator(log_prints=True)
    async def numbers() -> AsyncIterator[str | None]:
        with tags("inner"):
            async with asyncio.TaskGroup() as group:
                group.create_task(step(1))
            print("printed")  # noqa: T201 - the subject of the test
            yield here()
        yield here()

    @flow
    async def outer() -> list[Any]:
        seen = []
        async for value in numbers():
            await step.with_options(name="consumer")(1)
            seen += [value, here()]
        return seen

    assert await outer() == ["numbers", "outer"] * 2
    run = recorder.run("numbers")
    inner, consumer = recorder.run("step"), [r for r in recorder.runs if r.function_name[0] == "c"]
    assert (inner.parent_run_id, inner.tags) == (run.id, ("inner",))
    assert {(r.parent_run_id, r.tags) for r in consumer} == {(recorder.run("outer").id, ())}
    assert "printed" in recorder.logs(run)


@BOTH
async def test_a_retry_begins_anew_and_gives_its_values_again(
    recorder: Recorder, decorator: Any
) -> None:
    attempts = []

    @decorator(retries=1, retry_delay_seconds=0.001)
    async def numbers() -> AsyncIterator[int]:
        attempts.append(1)
        yield len(attempts)
        raise ValueError(f"attempt {len(attempts)}")

    values = numbers()
    assert [await anext(values), await anext(values)] == [1, 2]
    with pytest.raises(ValueError, match="attempt 2"):
        await anext(values)
    names = [name for name, _ in recorder.states("numbers")]
    assert names == ["Running", "AwaitingRetry", "Retrying", "Failed"]


@BOTH
async def test_closing_it_completes_the_run(recorder: Recorder, decorator: Any) -> None:
    cleaned_in = []

    @decorator(retries=1)
    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            cleaned_in.append(here())

    values = numbers()
    await anext(values)
    await values.aclose()
    assert cleaned_in == ["numbers"]
    assert recorder.states("numbers") == [("Running", 1), ("Completed", 1)]
    assert recorder.last_event("numbers")[5] == "Closed by its consumer after 1 value."


async def test_collected_as_garbage_it_ends_as_if_closed(recorder: Recorder) -> None:
    ended = asyncio.Event()

    @task
    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            ended.set()

    async for _ in numbers():
        break
    gc.collect()
    await ended.wait()
    while recorder.end("numbers")[0] == "RUNNING":  # noqa: ASYNC110 - no notification
        await asyncio.sleep(0)
    assert recorder.end("numbers") == ("COMPLETED", "Completed")


async def test_an_error_while_it_is_closed_is_not_tried_again(recorder: Recorder) -> None:
    @task(retries=3)
    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            raise ValueError("no clean end")

    values = numbers()
    await anext(values)
    with pytest.raises(ValueError, match="no clean end"):
        await values.aclose()
    assert recorder.states("numbers") == [("Running", 1), ("Failed", 1)]


async def test_send_and_throw(recorder: Recorder) -> None:
    @task
    async def echo() -> Any:
        got = yield "first"
        try:
            yield got
        except KeyError:
            yield "caught"

    values = echo()
    assert await anext(values) == "first"
    assert await values.asend("sent") == "sent"
    assert await values.athrow(KeyError()) == "caught"
    with pytest.raises(StopAsyncIteration):
        await anext(values)
    assert recorder.end("echo") == ("COMPLETED", "Completed")


@BOTH
async def test_return_state_runs_it_to_its_end(recorder: Recorder, decorator: Any) -> None:
    @decorator
    async def numbers(count: int) -> AsyncIterator[int]:
        for i in range(count):
            yield i

    state = await numbers(3, return_state=True)
    assert await state.result() == [0, 1, 2]
    assert len(recorder.runs) == 1


async def test_submitted_and_mapped_its_result_is_the_list_of_its_values(
    recorder: Recorder,
) -> None:
    @task
    async def numbers(count: int) -> AsyncIterator[int]:
        for i in range(count):
            yield await step(i)

    @flow
    async def outer() -> list[Any]:
        return [await numbers.submit(2), numbers.map([1, 3]).result()]

    assert await outer() == [[0, 1], [[0], [0, 1, 2]]]
    parents = {r.parent_run_id for r in recorder.runs if r.function_name == "step"}
    assert parents == {r.id for r in recorder.runs if r.function_name == "numbers"}


async def test_a_returned_generator_becomes_a_list_inside_of_the_run(recorder: Recorder) -> None:
    @task
    async def numbers() -> AsyncIterator[int]:
        yield await step(1)

    @flow
    async def outer() -> Any:
        return numbers()

    assert await outer() == [1]
    assert recorder.run("numbers").parent_run_id == recorder.run("outer").id
    assert recorder.events[-1][1] != recorder.run("numbers").id


async def test_futures_and_failures_before_it(recorder: Recorder) -> None:
    @task
    async def bad() -> int:
        raise ValueError("bad")

    @task
    async def numbers(count: int, other: Any = None) -> AsyncIterator[Any]:
        yield count
        yield type(other)

    @flow
    async def outer() -> None:
        values = numbers(step.submit(1), allow_failure(bad.submit()))
        assert [value async for value in values] == [1, ValueError]
        with pytest.raises(UpstreamFailed, match="bad"):
            await anext(numbers(bad.submit()))

    await outer()


async def test_only_the_time_of_the_body_counts(recorder: Recorder) -> None:
    @task(timeout_seconds=0.2)
    async def numbers() -> AsyncIterator[int]:
        yield 1
        yield 2
        await asyncio.sleep(60)

    values = numbers()
    assert await anext(values) == 1
    await asyncio.sleep(0.25)  # The consumer takes longer than the timeout.
    assert await anext(values) == 2
    with pytest.raises(RunTimeout):
        await anext(values)
    assert recorder.end("numbers") == ("FAILED", "TimedOut")


async def test_what_it_awaits_is_broken_off_when_it_is_cancelled(recorder: Recorder) -> None:
    @flow
    async def numbers() -> AsyncIterator[int]:
        yield 1
        (cancel,) = recorder.cancels.values()
        cancel("by the test")
        await asyncio.sleep(60)

    values = numbers()
    assert await anext(values) == 1
    with pytest.raises(CancelRun, match="by the test"):
        await anext(values)
    assert recorder.end("numbers") == ("CANCELLED", "Cancelled")
    task_here = asyncio.current_task()
    assert task_here is not None
    assert not task_here.cancelling(), "the consumer must not be cancelled"


async def test_its_consumer_is_not_cancelled_with_it(recorder: Recorder) -> None:
    @flow
    async def numbers() -> AsyncIterator[int]:
        yield 1
        yield 2

    values = numbers()
    await anext(values)
    (cancel,) = recorder.cancels.values()
    cancel("by the test")
    await asyncio.sleep(0.01)
    with pytest.raises(CancelRun, match="by the test"):
        await anext(values)


async def test_cancelling_the_asyncio_task_cancels_it(recorder: Recorder) -> None:
    begun = asyncio.Event()

    @flow
    async def numbers() -> AsyncIterator[int]:
        yield 1
        begun.set()
        await asyncio.sleep(60)

    async def consume() -> None:
        async for _ in numbers():
            pass

    consumer = asyncio.create_task(consume())
    await begun.wait()
    consumer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consumer
    assert recorder.end("numbers") == ("CANCELLED", "Cancelled")


async def test_in_a_plain_flow_it_is_a_plain_generator(recorder: Recorder) -> None:
    @task
    async def numbers(count: int) -> AsyncIterator[int]:
        for i in range(count):
            yield await step(i)

    @flow
    def outer() -> list[Any]:
        values: Any = numbers(3)
        first = next(values)
        values.close()
        return [first, *numbers(2)]

    assert outer() == [0, 0, 1], "in a thread with a loop"
    assert await asyncio.to_thread(outer) == [0, 0, 1], "in one without"
    ends = [e[5] for e in recorder.events if e[0] == 1 and e[4] == "Completed"]
    assert ends.count("Closed by its consumer after 1 value.") == 2
