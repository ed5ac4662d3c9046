"""Retry delays that tests skip (flowspan.testing): reported, but not slept."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from flowspan import flow, task
from flowspan.drivers.calls import time_skipping as skipping
from flowspan.exceptions import RunTimeout
from flowspan.task_runners import ProcessPoolTaskRunner
from flowspan.testing import flowspan_test_harness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flowspan.testing import Harness

HOUR_S = 3600


@task(retries=1, retry_delay_seconds=HOUR_S)
def flaky(tries: list[int]) -> str:
    tries.append(1)
    if len(tries) % 2:
        raise ValueError("once")
    return "done"


@task(retries=1, retry_delay_seconds=HOUR_S)
async def flaky_async(tries: list[int]) -> str:
    tries.append(1)
    if len(tries) % 2:
        raise ValueError("once")
    return "done"


@task(retries=1, retry_delay_seconds=HOUR_S)
def flaky_values(tries: list[int]) -> Iterator[str]:
    tries.append(1)
    if len(tries) % 2:
        raise ValueError("once")
    yield "done"


@task
def around() -> str:
    return flaky([])


def call() -> Any:
    return flaky([])


def submit() -> Any:
    return flaky.submit([]).result()


def run_async() -> Any:
    return flaky_async([])


def submit_async() -> Any:
    return flaky_async.submit([]).result()


def nest() -> Any:
    return around()


def generate() -> Any:
    return next(flaky_values([]))


WAYS = [call, submit, run_async, submit_async, nest, generate]


def flow_of(way: Callable[[], Any], *, is_async: bool, timeout_s: float | None) -> Any:
    async def work_async() -> Any:
        value = way()
        return await value if asyncio.iscoroutine(value) else value

    function = work_async if is_async else way
    decorated = flow(name="work", timeout_seconds=timeout_s)(function)
    return (lambda: asyncio.run(decorated())) if is_async else decorated


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_a_delay_is_reported_and_not_waited_for(
    flowspan_harness: Harness, way: Callable[[], Any], is_async: bool
) -> None:
    assert flow_of(way, is_async=is_async, timeout_s=HOUR_S + 60)() == "done"
    run = next(run for run in flowspan_harness.task_runs if run.attempts == 2)
    assert run.states == ["Pending", "Running", "AwaitingRetry", "Retrying", "Completed"]
    assert run.retry_delays == [HOUR_S]


@pytest.mark.parametrize("in_thread", [False, True])
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_a_deadline_within_the_delay_passes(
    flowspan_harness: Harness,
    monkeypatch: pytest.MonkeyPatch,
    way: Callable[[], Any],
    is_async: bool,
    in_thread: bool,
) -> None:
    raised: list[type[BaseException]] = []
    if is_async and way in {call, nest, generate}:
        # It blocks the loop that would interrupt it, so it must not wait for the hour.
        monkeypatch.setattr(skipping, "_BREAK_OFF_S", HOUR_S)
    elif is_async and way is not run_async:  # It would wait without success.
        monkeypatch.setattr(skipping, "_BREAK_OFF_S", 0.1)

    def work() -> None:
        try:
            flow_of(way, is_async=is_async, timeout_s=HOUR_S - 60)()
        except RunTimeout as error:
            raised.append(type(error))

    if in_thread:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    else:
        work()
    assert raised == [RunTimeout]
    assert flowspan_harness.flow_run().state.name == "TimedOut"
    # Sync code that blocks the event loop continues, as it does after a real delay.
    blocks = is_async and way is not run_async
    assert max(run.attempts for run in flowspan_harness.task_runs) == (2 if blocks else 1)


def test_delays_add_up(flowspan_harness: Harness) -> None:
    @flow(timeout_seconds=1.5 * HOUR_S)
    def work() -> None:
        flaky([])
        flaky([])

    with pytest.raises(RunTimeout):
        work()
    assert [run.attempts for run in flowspan_harness.task_runs] == [2, 1]


def test_the_timeout_of_a_task_around(flowspan_harness: Harness) -> None:
    @task(timeout_seconds=60)
    def short() -> str:
        return flaky([])

    @flow(timeout_seconds=2 * HOUR_S)
    def work() -> str:
        return short(return_state=True).name

    assert work() == "TimedOut"
    assert flowspan_harness.flow_run().state.is_completed()


def test_a_retried_run_has_its_own_timeout_anew(flowspan_harness: Harness) -> None:
    @flow(retries=1, retry_delay_seconds=HOUR_S, timeout_seconds=60)
    def work(tries: list[int]) -> str:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("once")
        return "done"

    assert work([]) == "done"
    assert flowspan_harness.flow_run().retry_delays == [HOUR_S]


def test_a_task_that_makes_the_name_of_a_run(flowspan_harness: Harness) -> None:
    @flow(flow_run_name=lambda: flaky([]))
    def work() -> None: ...

    work()
    assert flowspan_harness.flow_run(work).name == "done"


def test_in_worker_processes(flowspan_harness: Harness) -> None:
    @task(retries=1, retry_delay_seconds=HOUR_S)
    def fails() -> None:
        raise ValueError("always")

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
    def work() -> str:
        submitted = around.submit()  # It calls another task there.
        return fails.submit().state.name + submitted.result() + fails(return_state=True).name

    assert work().endswith("doneFailed")
    assert {run.state.name for run in flowspan_harness.task_runs} == {"Failed", "Completed"}


def test_delays_are_waited_for_where_that_is_wanted() -> None:
    slept: list[float] = []

    @flow(retries=1, retry_delay_seconds=0.05)
    def work(tries: list[int]) -> None:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("once")

    with flowspan_test_harness(skip_retry_delays=False) as harness:
        work([])
        history = harness.flow_run().history
        failed, again = (each.state.entered_at for each in history[2:4])
        assert failed is not None
        assert again is not None
        slept.append((again - failed).total_seconds())
    assert slept[0] >= 0.05
