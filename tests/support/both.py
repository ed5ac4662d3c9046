"""One test for plain and for asynchronous flows and tasks.

Functions are written with `async def`, and calls with `await ended(…)`. The plain kind makes plain
functions of them, which run to their end at once since nothing in them waits.
"""

from __future__ import annotations

import asyncio
import inspect
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from types import CoroutineType
from typing import TYPE_CHECKING, Any

import flowspan

if TYPE_CHECKING:
    from collections.abc import Callable


async def ended(value: Any) -> Any:
    """What a call gave, awaited if it is to be."""
    # By its type: what a call gives may be a value that raises whatever it is asked for.
    return await value if type(value) is CoroutineType else value


def value_of(value: Any) -> Any:
    """What a call in plain code gave; a coroutine is run to its end."""
    if type(value) is not CoroutineType:
        return value
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(value)
    # Plain code that was called from asynchronous code: the thread has a loop that is running.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(copy_context().run, asyncio.run, value).result()


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
        if not self.is_async:
            return value
        results = []

        async def main() -> None:
            results.append(await value)

        asyncio.run(main())  # which might ask a result for its repr
        return results[0]

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
