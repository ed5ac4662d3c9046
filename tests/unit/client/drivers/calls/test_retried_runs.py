"""Retries in the drivers: conditions, crashes, deadlines, hooks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from flowspan import flow, task
from flowspan.states import Failed

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.recorder import Recorder


class WorkerGoneError(BaseException):
    """Interrupts a run, but does not end the process."""


def made(kind: Any, body: Callable[[], Any], *, is_async: bool, **options: Any) -> Any:
    """Return a sync or async flow or task named "it" that runs `body`."""

    async def later() -> Any:
        return body()

    return kind(name="it", **options)(later if is_async else body)


def state_of(it: Any) -> Any:
    state = it(return_state=True)
    return asyncio.run(state) if asyncio.iscoroutine(state) else state


@pytest.mark.parametrize("kind", [flow, task])
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("condition_is_async", [False, True])
def test_the_condition_may_be_asynchronous(
    recorder: Recorder, kind: Any, is_async: bool, condition_is_async: bool
) -> None:
    asked: list[Any] = []

    def plain(definition: Any, run: Any, state: Any) -> bool:
        asked.append((definition, run.name, run.run_count, state.name))
        return run.run_count < 2

    async def later(definition: Any, run: Any, state: Any) -> bool:
        await asyncio.sleep(0)
        return plain(definition, run, state)

    def body() -> None:
        raise ValueError("no")

    condition = later if condition_is_async else plain
    it = made(kind, body, is_async=is_async, retries=5, retry_condition_fn=condition)
    assert state_of(it).is_failed()
    name = recorder.run("it").run_name
    assert asked == [(it, name, 1, "Failed"), (it, name, 2, "Failed")]
    assert recorder.states("it") == [("Running", 1), ("Retrying", 2), ("Failed", 2)]


@pytest.mark.parametrize("kind", [flow, task])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_crashed_run_begins_anew(recorder: Recorder, kind: Any, is_async: bool) -> None:
    """The retry repeats its calls too, although the crash stopped those of the first attempt."""
    calls = 0

    @task(name="inner")
    def inner() -> int:
        return 5

    def body() -> int:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise WorkerGoneError
        return inner()

    it = made(
        kind,
        body,
        is_async=is_async,
        retries=1,
        retry_delay_seconds=0.001,
        retry_condition_fn=lambda _task, _run, state: state.is_crashed(),
    )
    assert state_of(it).result() == 5
    assert [name for name, _ in recorder.states("it")] == [
        "Running",
        "AwaitingRetry",
        "Retrying",
        "Completed",
    ]
    assert recorder.end("inner") == ("COMPLETED", "Completed")


@pytest.mark.parametrize("is_async", [False, True])
def test_a_flow_that_crashes_for_good_stops_what_it_submitted(
    recorder: Recorder, is_async: bool
) -> None:
    @task
    async def endless() -> None:
        await asyncio.get_running_loop().create_future()

    def body() -> None:
        endless.submit()
        raise WorkerGoneError

    it = made(flow, body, is_async=is_async, retries=1, retry_condition_fn=lambda *_: True)
    with pytest.raises(WorkerGoneError):
        state_of(it)
    assert [recorder.end(run)[0] for run in recorder.runs] == ["CRASHED", "CANCELLED", "CANCELLED"]


@pytest.mark.parametrize("kind", [flow, task])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_returned_failed_state_is_retried(recorder: Recorder, kind: Any, is_async: bool) -> None:
    outcomes = [Failed(message="not yet"), "good"]
    it = made(kind, lambda: outcomes.pop(0), is_async=is_async, retries=1)
    assert state_of(it).result() == "good"
    assert recorder.states("it") == [("Running", 1), ("Retrying", 2), ("Completed", 2)]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_flow_that_returned_a_failed_task_is_retried(recorder: Recorder, is_async: bool) -> None:
    attempts = 0

    @task
    def flaky() -> int:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise ValueError("first")
        return attempts

    it = made(flow, lambda: [flaky.submit()], is_async=is_async, retries=1)
    (inner,) = state_of(it).result()
    assert inner.result() == 2
    assert recorder.states("it") == [("Running", 1), ("Retrying", 2), ("Completed", 2)]


@pytest.mark.parametrize("kind", [flow, task])
def test_a_timeout_is_retried_and_hooks_see_each_attempt(recorder: Recorder, kind: Any) -> None:
    hooks: list[tuple[str, int]] = []

    def note(_definition: Any, run: Any, state: Any) -> None:
        hooks.append((state.name, run.run_count))

    @kind(
        name="it",
        retries=2,
        timeout_seconds=0.02,
        retry_delay_seconds=[0.001, 0],
        on_running=[note],
        on_failure=[note],
        on_completion=[note],
    )
    async def it() -> None:
        await asyncio.get_running_loop().create_future()

    assert state_of(it).name == "TimedOut"
    assert [name for name, _ in recorder.states("it")] == [
        "Running",
        "AwaitingRetry",
        "Retrying",
        "Retrying",
        "TimedOut",
    ]
    assert hooks == [("Running", 1), ("Retrying", 2), ("Retrying", 3), ("TimedOut", 3)]


@pytest.mark.parametrize("is_async", [False, True])
def test_who_is_cancelled_while_it_waits_has_no_hook_of_failure(
    recorder: Recorder, is_async: bool
) -> None:
    hooks: list[str] = []

    def note(_definition: Any, _run: Any, state: Any) -> None:
        hooks.append(state.name)

    def cancel(_flow: Any, run: Any, _state: Any) -> bool:
        recorder.cancels[str(run.id)]("by the test")
        return True

    def body() -> None:
        raise ValueError

    it = made(
        flow,
        body,
        is_async=is_async,
        retries=1,
        retry_delay_seconds=300,
        retry_condition_fn=cancel,
        on_failure=[note],
        on_cancellation=[note],
    )
    assert state_of(it).is_cancelled()
    assert hooks == ["Cancelled"]


@pytest.mark.parametrize("kind", [flow, task])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_retried_attempt_of_a_flow_has_a_task_runner_of_its_own(
    recorder: Recorder, kind: Any, is_async: bool
) -> None:
    @task
    def one() -> int:
        return 1

    attempts = 0

    def body() -> list[int]:
        nonlocal attempts
        attempts += 1
        futures = [one.submit() for _ in range(2)]
        if attempts == 1:
            raise ValueError
        return [future.result() for future in futures]

    assert state_of(made(kind, body, is_async=is_async, retries=1)).result() == [1, 1]
