"""Return kinds of `State.result` and similar calls: a value or an awaitable."""

from __future__ import annotations

import asyncio
import inspect
import threading
from typing import TYPE_CHECKING, Any

import pytest

from flowspan import flow, states, task
from flowspan.states import Completed, Failed

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.recorder import Recorder

KINDS: dict[str, Callable[..., Any]] = {
    "result": lambda **how: Completed(data=1).result(**how),
    "exception": lambda **how: states.get_state_exception(Failed(message="m"), **how),
    "raising": lambda **how: states.raise_state_exception(Completed(), **how),
}


def is_awaited(kind: str, **how: Any) -> bool:
    value = KINDS[kind](**how)
    if not inspect.iscoroutine(value):
        return False
    value.close()
    return True


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def test_outside_of_runs_the_running_loop_decides(kind: str) -> None:
    async def coroutine() -> bool:
        return is_awaited(kind)

    assert not is_awaited(kind)
    assert asyncio.run(coroutine())


def test_in_a_run_its_function_decides(recorder: Recorder, kind: str) -> None:
    def in_thread() -> bool:
        found: list[bool] = []
        thread = threading.Thread(target=lambda: found.append(is_awaited(kind)))
        thread.start()
        thread.join()
        return found[0]

    @task
    def plain_task() -> bool:
        return is_awaited(kind)

    @task
    async def async_task() -> bool:
        return is_awaited(kind)

    @flow
    def plain() -> list[bool]:
        async def inside() -> bool:
            return is_awaited(kind)

        own = [] if asyncio_runs() else [asyncio.run(inside())]
        return [
            is_awaited(kind),
            in_thread(),
            plain_task(),
            plain_task.submit().result(),
            *own,
        ]

    @flow
    async def asynchronous() -> tuple[list[bool], list[bool]]:
        awaited = [
            is_awaited(kind),
            await asyncio.to_thread(is_awaited, kind),
            await async_task(),
            await async_task.submit(),
        ]
        return awaited, [plain_task(), plain_task.submit().result(), *plain()]

    assert not any(plain())
    awaited, given = asyncio.run(asynchronous())
    assert all(awaited)
    assert not any(given)


def asyncio_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def test_sync_overrides_it(recorder: Recorder, kind: str) -> None:
    @flow
    async def asynchronous() -> list[bool]:
        return [is_awaited(kind, _sync=True), is_awaited(kind, _sync=False)]

    assert asyncio.run(asynchronous()) == [False, True]
    assert is_awaited(kind, _sync=False)


def test_futures_in_the_results_of_tasks_are_resolved_in_arguments(
    recorder: Recorder,
) -> None:
    @task
    def number(x: int) -> int:
        return x

    @task
    def parent(x: int) -> Any:
        return {"children": [number.submit(x), number.submit(x + 1)]}

    @task
    async def async_parent(x: int) -> Any:
        return [number.submit(x), number(x, return_state=True)]

    @task
    def grandparent() -> Any:
        return [parent.submit(1), async_parent.submit(5)]

    @task
    def same(x: Any) -> Any:
        return x

    expected = [{"children": [1, 2]}, [5, 5]]

    @flow
    def plain() -> None:
        assert same(grandparent.submit()) == expected
        assert same.submit(grandparent.submit()).result() == expected
        assert same.map(grandparent.submit()).result() == expected

    @flow
    async def asynchronous() -> None:
        assert same(grandparent.submit()) == expected
        assert await same.submit(grandparent.submit()) == expected

    plain()
    asyncio.run(asynchronous())
