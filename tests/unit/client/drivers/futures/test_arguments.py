"""Resolved and untouched arguments, and runs that depend on themselves."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pydantic
import pytest
from tests.support.sync_and_async import value_of

from flowspan import allow_failure, flow, task, unmapped
from flowspan.exceptions import SelfDependency, UpstreamFailed
from flowspan.utilities.annotations import opaque, quote

if TYPE_CHECKING:
    from tests.support.recorder import Recorder

    from flowspan.futures import TaskFuture


@dataclass(frozen=True)
class Box:
    inside: Any


class Model(pydantic.BaseModel):
    inside: Any


@task
def one() -> int:
    return 1


@task
def bad() -> int:
    raise ValueError("bad")


seen: list[Any] = []
"""The last argument of `same`, since a returned value could not contain futures."""


@task
def same(value: Any) -> None:
    seen[:] = [value]


@task
async def same_later(value: Any) -> None:
    seen[:] = [value]


@flow
def subflow(value: Any) -> None:
    seen[:] = [value]


@flow
async def subflow_later(value: Any) -> None:
    seen[:] = [value]


SAME = pytest.mark.parametrize("same", [same, same_later, subflow, subflow_later], ids=str)


@SAME
def test_futures_and_states_are_resolved_anywhere(recorder: Recorder, same: Any) -> None:
    @flow
    def outer() -> None:
        future, state = one.submit(), one(return_state=True)
        value_of(same([future, {"k": (state, {future})}]))
        assert seen == [[1, {"k": (1, {1})}]]
        value_of(same(Box([future])))
        assert seen == [Box([1])]
        value_of(same(Model(inside=(future,))))
        assert seen == [Model(inside=(1,))]
        value_of(same(allow_failure([bad.submit()])))
        assert seen[0][0].args == ("bad",)
        with pytest.raises(UpstreamFailed, match="bad"):
            value_of(same({"deep": [bad.submit()]}))

    outer()


@SAME
@pytest.mark.parametrize("mark", [opaque, quote])
def test_marked_arguments_are_left_alone(recorder: Recorder, same: Any, mark: Any) -> None:
    @flow
    def outer() -> None:
        future, failed = one.submit(), bad.submit()
        given = [future, {"k": failed}]
        value_of(same(mark(given)))
        assert seen[0] is given
        value_of(same([mark(failed), future]))
        assert seen == [[failed, 1]]
        failed.wait()

    outer()


def test_marks_and_map(recorder: Recorder) -> None:
    @task
    def pair(a: Any, b: Any = None) -> None:
        pairs.append((a, b))

    pairs: list[Any] = []

    @flow
    def outer() -> None:
        futures = [one.submit(), one.submit()]
        pair.map(opaque(futures), unmapped([7])).wait()
        assert sorted(pairs, key=str) == [(future, [7]) for future in futures]
        pairs.clear()
        pair.map(futures, unmapped(quote(futures))).wait()
        assert pairs == [(1, futures)] * 2

    outer()


def test_marks_say_what_they_hold() -> None:
    assert quote(5).unquote() == opaque(5).unwrap() == 5
    assert repr(opaque([1])) == "opaque([1])"
    assert opaque(5).rewrap(6) == opaque(6)
    assert opaque(5) != quote(5)


class Cell:
    """Passes a future to another thread as soon as it exists."""

    def __init__(self) -> None:
        self._is_there = threading.Event()

    def put(self, future: TaskFuture[Any]) -> TaskFuture[Any]:
        self.future = future
        self._is_there.set()
        return future

    def get(self) -> TaskFuture[Any]:
        self._is_there.wait()
        return self.future


def end_of(make: Any) -> BaseException:
    """Return the error of the task that `make` submits with a cell for its own future."""

    @flow
    def outer() -> BaseException:
        cell = Cell()
        future = cell.put(make(cell))
        error = future.result(raise_on_failure=False)
        assert isinstance(error, BaseException)
        return error

    return outer()


def test_a_task_that_waits_for_itself_says_so(recorder: Recorder) -> None:
    @task
    def ouroboros(cell: Cell) -> Any:
        return cell.get().result()

    error = end_of(ouroboros.submit)
    assert isinstance(error, SelfDependency)
    assert "'ouroboros-0' waits for itself" in str(error)


def test_an_asynchronous_task_that_awaits_itself_says_so(recorder: Recorder) -> None:
    @task
    async def ouroboros(cell: Cell) -> Any:
        return await cell.get()

    assert isinstance(end_of(ouroboros.submit), SelfDependency)


@SAME
def test_a_task_that_gives_a_call_its_own_future_says_so(recorder: Recorder, same: Any) -> None:
    @task
    def ouroboros(cell: Cell) -> Any:
        return value_of(same([cell.get()]))

    @task
    async def ouroboros_later(cell: Cell) -> Any:
        given = same([cell.get()])
        return await given if asyncio.iscoroutine(given) else given

    assert isinstance(end_of(ouroboros.submit), SelfDependency)
    assert isinstance(end_of(ouroboros_later.submit), SelfDependency)


def test_a_task_that_waits_for_one_that_waits_for_it_says_so(recorder: Recorder) -> None:
    @task
    def parent(cell: Cell) -> Any:
        return same.submit(1, wait_for=[cell.get()]).result()

    error = end_of(parent.submit)
    assert isinstance(error, SelfDependency)
    assert "waits for 'same-0', which waits for 'parent-0'" in str(error)
    assert recorder.end("same") == ("CANCELLED", "NotReady"), "its input failed"


def test_two_tasks_that_wait_for_each_other_say_so(recorder: Recorder) -> None:
    @task
    def waits(own: Cell, other: Cell) -> Any:
        return other.get().result()

    @flow
    def outer() -> list[Any]:
        cells = Cell(), Cell()
        first = cells[0].put(waits.submit(cells[0], cells[1]))
        second = cells[1].put(waits.submit(cells[1], cells[0]))
        return [future.result(raise_on_failure=False) for future in (first, second)]

    errors = outer()
    assert [type(error) for error in errors] == [SelfDependency] * 2
    assert errors[0] is errors[1], "both must fail with the same error"


def test_a_subflow_that_waits_for_the_task_that_called_it_says_so(recorder: Recorder) -> None:
    @flow
    def below(cell: Any) -> Any:
        return same.submit(cell.unwrap().get())

    @task
    def above(cell: Cell) -> Any:
        return below(opaque(opaque(cell)))

    error = end_of(above.submit)
    assert isinstance(error, SelfDependency)
    assert "'same-0' depends on itself" in str(error)


def test_waits_that_end_are_no_dependency(recorder: Recorder) -> None:
    @task
    def impatient(cell: Cell) -> Any:
        cell.get().wait(timeout=0.001)
        return "went on"

    @task
    async def with_helper(cell: Cell) -> Any:
        async def later() -> Any:
            return await cell.get()

        helpers.append(asyncio.ensure_future(later()))
        await asyncio.sleep(0)
        return "went on"

    @task
    def detached(cell: Cell) -> Any:
        same.submit(cell.get())
        return "went on"

    helpers: list[Any] = []

    @flow
    def outer() -> list[Any]:
        results = []
        for each in (impatient, with_helper, detached):
            cell = Cell()
            results.append(cell.put(each.submit(cell)).result())
        return results

    assert outer() == ["went on"] * 3


@SAME
def test_wait_for_takes_one_or_many(recorder: Recorder, same: Any) -> None:
    def given() -> list[Any]:
        future = bad.submit()
        return [
            future,
            [future],
            (future,),
            {"a": future},
            iter([future]),
            [[future]],
            future.state,
        ]

    def call(wait_for: Any) -> Any:
        state = same(1, wait_for=wait_for, return_state=True)
        return asyncio.run(state) if asyncio.iscoroutine(state) else state

    @flow
    def outer() -> list[str]:
        assert call(allow_failure(bad.submit())).is_completed()
        return [call(wait_for).name for wait_for in given()]

    assert outer() == ["NotReady"] * 7


def test_wait_for_takes_nothing_else(recorder: Recorder) -> None:
    @flow
    def outer() -> None:
        one(wait_for=5)

    with pytest.raises(TypeError, match=r"wait_for takes futures and states.*not 5"):
        outer()


def test_upstream_failed_does_not_show_where_in_flowspan(recorder: Recorder) -> None:
    @flow
    def outer() -> BaseException:
        return one.submit(wait_for=[bad.submit()]).result(raise_on_failure=False)

    error = outer(return_state=True).data
    assert isinstance(error, UpstreamFailed)
    assert error.__traceback__ is None
    assert isinstance(error.__cause__, ValueError)
