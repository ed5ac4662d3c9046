"""Mocked tasks and flows (flowspan.testing), against a real service."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from flowspan import flow, task
from flowspan.cache_policies import INPUTS
from flowspan.task_runners import ProcessPoolTaskRunner
from flowspan.testing import mock_flow, mock_task

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from flowspan.testing import Harness


@task
def add(a: int, b: int = 1) -> int:
    return a + b


@task
async def add_async(a: int) -> int:
    return a + 1


@task
def count(n: int) -> Iterator[int]:
    yield from range(n)


@task
async def count_async(n: int) -> AsyncIterator[int]:
    for number in range(n):
        yield number


@task
def outer(a: int) -> int:
    return add(a)


@flow
def calls() -> Any:
    called = add(1), asyncio.run(add_async(2)), list(count(2))
    submitted = add.submit(3).result(), add_async.submit(4).result(), count.submit(2).result()
    return called, submitted, add.map([5, 6]).result()


@flow
async def awaits() -> Any:
    values = [value async for value in count_async(2)]
    return add(1), await add_async(2), await add_async.submit(3), values


@flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
def in_processes() -> Any:
    return add.submit(1).result(), add_async.submit(2).result(), count.submit(2).result()


@flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
def nested_in_processes() -> Any:
    return outer.submit(1).result()


class Loader:
    @task
    def plain(self, a: int) -> int:
        return a

    @task
    @classmethod
    def of_class(cls, a: int) -> int:
        return a

    @task
    @staticmethod
    def static(a: int) -> int:
        return a


def test_every_way_of_calling_comes_to_the_mock(flowspan_harness: Harness) -> None:
    real = calls(), asyncio.run(awaits())
    with (
        mock_task(add, return_value=0) as adding,
        mock_task(add_async, side_effect=lambda a: -a),
        mock_task(count, return_value=[7]),
        mock_task(count_async, return_value="xy"),
    ):
        assert calls() == ((0, -2, [7]), (0, -4, [7]), [0, 0])
        assert asyncio.run(awaits()) == (0, -2, -3, ["x", "y"])
        assert adding.call_count == 5
        adding.assert_any_call(1)
    assert (calls(), asyncio.run(awaits())) == real
    assert {run.state.name for run in flowspan_harness.task_runs} == {"Completed"}
    assert len(flowspan_harness.task_runs_of(add)) == 15


def test_a_mock_is_called_in_this_process_for_worker_processes(flowspan_harness: Harness) -> None:
    with (
        mock_task(add, return_value=-1),
        mock_task(add_async, return_value=-2),
        mock_task(count, return_value=[-3]),
    ):
        assert in_processes() == (-1, -2, [-3])
    assert in_processes() == (2, 3, [0, 1])
    assert flowspan_harness.flow_run().state.is_completed()


@pytest.mark.usefixtures("flowspan_harness")
def test_a_mock_that_a_worker_process_would_need_is_missed_aloud() -> None:
    with (
        mock_task(add, return_value=-1),
        pytest.raises(RuntimeError, match=r"test_testing_mocks:add is mocked in the process of"),
    ):
        nested_in_processes()
    assert nested_in_processes() == 2


@pytest.mark.usefixtures("flowspan_harness")
def test_a_function_that_goes_to_a_worker_by_value_refuses_too() -> None:
    @task
    def inner() -> int:
        return 1

    @task
    def around() -> int:
        return inner()

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
    def work() -> int:
        return around.submit().result()

    with mock_task(inner), pytest.raises(RuntimeError, match="inner is mocked"):
        work()
    assert work() == 1


def test_errors_are_retried_and_reported(flowspan_harness: Harness) -> None:
    @task(retries=2, retry_delay_seconds=60)
    def fetch(url: str) -> str:
        return url

    @flow
    def work() -> str:
        return fetch("a")

    with mock_task(fetch, side_effect=[OSError("down"), OSError("down"), "up"]) as mock:
        assert work() == "up"
    mock.assert_called_with("a")
    run = flowspan_harness.task_run(fetch)
    assert run.attempts == 3
    assert run.states[-3:] == ["AwaitingRetry", "Retrying", "Completed"]
    assert run.retry_delays == [60, 60]


@pytest.mark.usefixtures("flowspan_harness")
def test_a_wrong_call_of_a_mock_is_as_wrong_as_ever() -> None:
    with mock_task(add), pytest.raises(TypeError, match="'a'"):
        add()  # type: ignore[call-arg] # wrong on purpose


@pytest.mark.usefixtures("flowspan_harness")
def test_methods() -> None:
    loader = Loader()
    with mock_task(Loader.plain, return_value=5) as plain:
        assert loader.plain(1) == 5
        assert loader.plain.submit(1).result() == 5
    plain.assert_called_with(loader, 1)
    assert (Loader.of_class(1), loader.plain(2), loader.static(3)) == (1, 2, 3)
    with pytest.raises(TypeError, match="bound to"), mock_task(loader.plain):
        pass


@pytest.mark.usefixtures("flowspan_harness")
@pytest.mark.parametrize(
    "place", [vars(Loader).get, partial(getattr, Loader), partial(getattr, Loader())]
)
def test_methods_of_the_class(place: Callable[[str], Any]) -> None:
    loader = Loader()
    with (
        mock_task(place("of_class"), return_value=6) as mock,
        mock_task(place("static"), return_value=7),
    ):
        assert (Loader.of_class(1), loader.of_class(2)) == (6, 6)
        assert (Loader.static(3), loader.static.submit(4).result()) == (7, 7)
    mock.assert_called_with(Loader, 2)
    assert (Loader.of_class(1), loader.static(3)) == (1, 3)


@pytest.mark.usefixtures("flowspan_harness")
def test_mocks_may_end_in_any_order() -> None:
    mocks = [mock_task(each, return_value=-n) for each in (add, Loader.static) for n in (1, 2, 3)]

    def results() -> tuple[int, int]:
        return add(1), Loader.static(1)

    for each in mocks:
        each.__enter__()
    assert results() == (-3, -3)
    for index, expected in [(1, -3), (4, -3), (2, -1), (5, -1), (0, 2), (3, 1)]:
        mocks[index].__exit__(None, None, None)
        assert results()[index > 2] == expected
    assert results() == (2, 1)


@pytest.mark.usefixtures("flowspan_harness")
def test_copies_with_other_options() -> None:
    with mock_task(add, return_value=0), mock_task(add_async, return_value=0):
        assert add.with_options(name="other")(1) == 0
        assert asyncio.run(add_async.with_options(name="other")(1)) == 0


@pytest.mark.usefixtures("flowspan_harness")
def test_what_a_mock_returns_is_not_cached() -> None:
    @task(cache_policy=INPUTS)
    def load(day: int) -> str:
        return f"real {day}"

    @flow(persist_result=True)
    def work() -> str:
        return load(1)

    with mock_task(load, return_value="mocked"):
        assert work() == "mocked"
    assert work() == "real 1"
    with mock_task(load, return_value="mocked again"):
        assert work() == "mocked again"
    assert work() == "real 1"


def test_flows(flowspan_harness: Harness) -> None:
    @flow
    def sub(a: int) -> int:
        return a

    @flow
    def work() -> int:
        return sub(1)

    with mock_flow(sub, return_value=9) as mock:
        assert work() == 9
    mock.assert_called_once_with(1)
    assert flowspan_harness.flow_run(work).run_of(sub).parameters == {"a": 1}


def test_mocks_of_one_task_in_each_other(flowspan_harness: Harness) -> None:
    with mock_task(add, return_value=1):
        with mock_task(add, return_value=2):
            assert add(0) == 2
        assert add(0) == 1
    assert add(0, 0) == 0
    assert len(flowspan_harness.task_runs) == 3


@pytest.mark.parametrize("thing", [len, calls, 1])
def test_what_is_no_task_is_refused(thing: Any) -> None:
    with pytest.raises(TypeError, match="mock_task requires a task"), mock_task(thing):
        pass


@pytest.mark.usefixtures("flowspan_harness")
def test_as_a_decorator() -> None:
    @mock_task(add, return_value=3)
    def plain() -> int:
        return add(1)

    @mock_task(add, return_value=4)
    async def awaited() -> int:
        await asyncio.sleep(0)
        return add(1)

    assert (plain(), plain(), asyncio.run(awaited()), add(1)) == (3, 3, 4, 2)
