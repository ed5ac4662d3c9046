"""Expected types of decorated functions; read by type checkers, never run.

`assert_type` states the type of a call. An unused `type: ignore` is an error, so each one shows
that the checker rejects its line.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, assert_type

from flowspan import State, allow_failure, flow, task, unmapped
from flowspan.futures import TaskFuture, TaskFutureList, as_completed, wait
from flowspan.states import Completed, Failed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator

    from flowspan.core.run import Run


@task
def add(a: int, b: str = "") -> float:
    return a + len(b)


@task(retries=2, retry_delay_seconds=[1, 2])
async def later(a: int) -> list[str]:
    return [str(a)]


@flow
def plain(x: int) -> str:
    return str(x)


@flow(name="named", log_prints=True)
async def asynchronous(x: int) -> str:
    return str(x)


@task(name="pages")
def pages(url: str) -> Iterator[bytes]:
    yield url.encode()


@flow
async def pages_later(url: str) -> AsyncGenerator[bytes, str]:
    got = yield url.encode()
    yield got.encode()


@task
async def counted(n: int) -> AsyncIterator[int]:
    yield n


class Store:
    @task
    def get(self, key: int) -> str:
        return str(key)

    @task
    async def get_later(self, key: int) -> str:
        return str(key)

    @task
    def all(self, key: int) -> Iterator[str]:
        yield str(key)

    @staticmethod
    @task
    def checked(key: int) -> str:
        return str(key)

    @flow
    def fill(self, key: int) -> str:
        return self.get(key)


async def calls() -> None:
    assert_type(add(1), float)
    assert_type(add(a=1, b="x"), float)
    assert_type(add(1, return_state=True), State)
    assert_type(await later(1), list[str])
    assert_type(await later(1, return_state=True), State)
    assert_type(plain(1), str)
    assert_type(plain(1, return_state=True), State)
    assert_type(await asynchronous(1), str)
    assert_type(await asynchronous(1, return_state=True), State)
    assert_type(add.with_options(retries=1)(1), float)
    assert_type(plain.with_options(name="x")(1), str)
    assert_type(Store().get(1), str)
    assert_type(Store().fill(1), str)
    assert_type(await Store().get_later(1), str)
    assert_type(await Store().get_later(1, return_state=True), State)
    assert_type(Store().get.with_options(name="x")(1), str)
    assert_type(Store.checked(1), str)
    assert_type(Store().checked.submit(1), TaskFuture[str])
    assert_type(Store().get.submit(1), TaskFuture[str])
    assert_type(Store().get_later.submit(1), TaskFuture[str])
    assert_type(Store().fill.with_options(log_prints=True)(1), str)
    coroutine: Coroutine[Any, Any, str] = asynchronous(1)
    await coroutine


async def generators() -> None:
    for page in pages("x"):
        assert_type(page, bytes)
    async for number in counted(1):
        assert_type(number, int)
    values = pages_later("x")
    assert_type(await anext(values), bytes)
    assert_type(await values.asend("x"), bytes)
    assert_type(pages("x", return_state=True), State)
    assert_type(await counted(1, return_state=True), State)
    assert_type(pages.submit("x"), TaskFuture[list[bytes]])
    assert_type(counted.submit(1), TaskFuture[list[int]])
    assert_type(Store().all.submit(1), TaskFuture[list[str]])
    assert_type(next(iter(Store().all(1))), str)


def futures() -> None:
    future = add.submit(1)
    assert_type(future, TaskFuture[float])
    assert_type(future.result(), float)
    assert_type(future.state, State)
    assert_type(later.submit(1), TaskFuture[list[str]])
    assert_type(later.submit(future), TaskFuture[list[str]])
    assert_type(add.submit(1, wait_for=[future]), TaskFuture[float])
    assert_type(add(1, wait_for=[allow_failure(future)]), float)
    assert_type(add.map([1, 2], unmapped("x")), TaskFutureList[Any])
    assert_type(future.cancel(), bool)
    assert_type(wait([future]).done, set[TaskFuture[Any]])
    for one in as_completed([future]):
        assert_type(one, TaskFuture[float])


async def futures_in_coroutines() -> None:
    assert_type(await add.submit(1), float)
    assert_type(await later.submit(1), list[str])
    async for one in as_completed([add.submit(1)]):
        assert_type(await one, float)
    assert_type(await asyncio.gather(later(1), asynchronous(1)), tuple[list[str], str])


def tell(flow: Any, run: Run, state: State) -> None: ...


async def tell_later(flow: Any, run: Run, state: State) -> int:
    return 1


@flow(on_failure=[tell, tell_later], on_crashed=[tell], on_cancellation=[tell], on_running=[tell])
def hooked() -> State:
    return Completed(name="Skipped", data=5)


@hooked.on_completion
def hook(flow: Any, run: Run, state: State) -> str:
    return state.name


@hooked.on_failure()
def other_hook(flow: Any, run: Run, state: State) -> str:
    return run.name


@task(on_completion=[tell], retries=1, retry_condition_fn=lambda task, run, state: True)
def hooked_task() -> None: ...


@hooked_task.on_running
async def begins(task: Any, run: Run, state: State) -> None: ...


def hooks(run: Run) -> None:
    assert_type(hook(None, run, Completed()), str)
    assert_type(hooked.on_crashed(tell)(None, run, Failed(message="no")), None)


def mistakes() -> None:
    flow(on_failure=tell)  # type: ignore[call-overload] # not a list
    task(on_crashed=[tell])  # type: ignore[call-overload] # of flows only
    hooked_task.on_cancellation(tell)  # type: ignore[attr-defined] # of flows only
    hooked.on_failure(5)  # type: ignore[call-overload] # not a function
    Completed(5)  # type: ignore[call-arg, arg-type] # data=5
    Failed(message=ValueError())  # type: ignore[arg-type] # data=
    add("x")  # type: ignore[call-overload] # not an int
    add()  # type: ignore[call-overload] # an argument is missing
    add(1, c=2)  # type: ignore[call-overload] # no such parameter
    plain(x="y")  # type: ignore[call-overload] # not an int
    pages(1)  # type: ignore[call-overload] # not a text
    counted("x")  # type: ignore[call-overload] # not an int
    Store().all("x")  # type: ignore[call-overload] # not an int
    Store().get("x")  # type: ignore[call-overload] # not an int
    task(retry=1)  # type: ignore[call-overload] # no such option
    flow(tags=["x"])  # type: ignore[call-overload] # flows get theirs from `with tags(...)`
    add.with_options(retry=1)  # type: ignore[call-arg] # no such option
    plain.with_options(retries="x")  # type: ignore[arg-type] # not a number
