"""One test for plain and for asynchronous flows and tasks.

Functions are written with `async def`, and calls with `await ended(…)`. The plain kind makes plain
functions of them, which run to their end at once since nothing in them waits.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

import flowspan

if TYPE_CHECKING:
    from collections.abc import Callable


async def ended(value: Any) -> Any:
    """What a call gave, awaited if it is to be."""
    return await value if inspect.isawaitable(value) else value


class Kind:
    """Makes flows and tasks of coroutine functions, plain ones or asynchronous ones."""

    def __init__(self, *, is_async: bool) -> None:
        self.is_async = is_async

    def task(self, fn: Any = None, **options: Any) -> Any:
        """`@task`, for a coroutine function."""
        if fn is None:
            return lambda fn: self.task(fn, **options)
        return flowspan.task(**options)(fn if self.is_async else plain(fn))

    def flow(self, fn: Any = None, **options: Any) -> Any:
        """`@flow`, for a coroutine function."""
        if fn is None:
            return lambda fn: self.flow(fn, **options)
        return flowspan.flow(**options)(fn if self.is_async else plain(fn))

    def run(self, flow: Any, *args: Any, **kwargs: Any) -> Any:
        """Calls a flow or a task at the top."""
        value = flow(*args, **kwargs)
        return asyncio.run(value) if self.is_async else value

    def __repr__(self) -> str:
        return "async" if self.is_async else "sync"


PLAIN, ASYNC = Kind(is_async=False), Kind(is_async=True)


def plain(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The plain function of a coroutine function in which nothing waits."""

    def run(*args: Any, **kwargs: Any) -> Any:
        coroutine = fn(*args, **kwargs)
        try:
            coroutine.send(None)
        except StopIteration as stop:
            return stop.value
        raise AssertionError("a plain function cannot wait")

    run.__name__, run.__qualname__ = fn.__name__, fn.__qualname__
    run.__signature__ = inspect.signature(fn)  # type: ignore[attr-defined]
    return run
