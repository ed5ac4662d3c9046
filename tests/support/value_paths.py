"""The paths of a value through sync and async flows and tasks; used with `Kind`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.sync_and_async import ASYNC, ended

from flowspan import get_run_logger, unmapped
from flowspan.states import Completed
from flowspan.transactions import get_transaction, transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.sync_and_async import Kind

    Way = Callable[[Kind, Any], Any]

WAIT_S = 60


def _ways(kind: Kind) -> dict[str, Any]:  # noqa: C901 - a list of functions
    """Return functions that pass a value through a flow and return the outcome."""

    @kind.task
    async def give(make: Callable[[], Any]) -> Any:
        return make()

    @kind.task
    async def take(value: Any, more: Any = None) -> Any:
        return value

    @kind.task
    async def nest(value: Any) -> Any:
        return {"in": [(value,)]}

    @kind.flow
    async def inner(value: Any) -> Any:
        return value

    @kind.task(retries=1)
    async def twice(value: Any, calls: list[int]) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("once more")
        return value

    @kind.task(log_prints=True)
    async def log(value: Any) -> Any:
        get_run_logger().info("a value of %s", type(value).__name__)
        return value

    async def called(make: Any) -> Any:
        return await ended(take(await ended(give(make))))

    async def keyword(make: Any) -> Any:
        return await ended(take(1, more=make())) and await ended(take(value=make()))

    async def submitted(make: Any) -> Any:
        return take.submit(give.submit(make)).result(WAIT_S)

    async def state(make: Any) -> Any:
        return (await ended(take(make(), return_state=True))).result(_sync=True)

    async def future_state(make: Any) -> Any:
        return take.submit(make(), return_state=True).result(_sync=True)

    async def nested(make: Any) -> Any:
        return (await ended(nest([make()])))["in"][0][0][0]

    async def nested_with_future(make: Any) -> Any:
        result = await ended(take({"futures": [take.submit(1), make()]}))
        assert result["futures"][0] == 1
        return result["futures"][1]

    async def mapped(make: Any) -> Any:
        return take.map([make(), make()], more=unmapped(make())).result(WAIT_S)[1]

    async def subflow(make: Any) -> Any:
        return await ended(inner(make()))

    async def retried(make: Any) -> Any:
        return await ended(twice(make(), []))

    async def waited_for(make: Any) -> Any:
        return await ended(take(make(), wait_for=[give.submit(make)]))

    async def in_transaction(make: Any) -> Any:
        with transaction() as around:
            around.set("value", make())
            value = await ended(take(make()))
            around.get("value")
            assert get_transaction() is around
        return value

    async def logged(make: Any) -> Any:
        return await ended(log(make()))

    async def returned(make: Any) -> Any:
        return make()

    async def returned_in_a_list(make: Any) -> Any:
        return [make()]

    async def returned_with_future(make: Any) -> Any:
        return {"a": make(), "b": take.submit(make())}

    async def returned_completed(make: Any) -> Any:
        return Completed(data=make())

    return {name: way for name, way in locals().items() if _is_way(name, way)}


_NO_WAYS = {"kind", "give", "take", "nest", "inner", "twice", "log"}


def _is_way(name: str, way: Any) -> bool:
    return name not in _NO_WAYS and callable(way)


def way_of(kind: Kind, name: str) -> Any:
    """Return the function for one path."""
    return _ways(kind)[name]


def _names() -> list[str]:
    return list(_ways(ASYNC))


WAYS = _names()
