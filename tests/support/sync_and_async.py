"""Run one test for both sync and async flows and tasks.

Functions are written with `async def`, and calls with `await ended(…)`. The sync kind turns them
into plain functions. These run to completion at once, because nothing in them suspends.
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
    """Return the value of a call, awaiting it if it is a coroutine."""
    # Check the exact type: the value may be hostile and raise on any other access.
    return await value if type(value) is CoroutineType else value


def value_of(value: Any) -> Any:
    """Return the value of a call in sync code; a coroutine runs to completion."""
    if type(value) is not CoroutineType:
        return value
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(value)
    # Sync code called from async code: this thread already has a running loop.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(copy_context().run, asyncio.run, value).result()


class Kind:
    """Turns coroutine functions into sync or async flows and tasks."""

    def __init__(self, *, is_async: bool) -> None:
        self.is_async = is_async

    def task(self, fn: Any = None, **options: Any) -> Any:
        """Apply `@task` to a coroutine function."""
        if fn is None:
            return lambda fn: self.task(fn, **options)
        return flowspan.task(**options)(fn if self.is_async else plain(fn))

    def flow(self, fn: Any = None, **options: Any) -> Any:
        """Apply `@flow` to a coroutine function."""
        if fn is None:
            return lambda fn: self.flow(fn, **options)
        return flowspan.flow(**options)(fn if self.is_async else plain(fn))

    def run(self, flow: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a flow or a task at the top level."""
        value = flow(*args, **kwargs)
        if not self.is_async:
            return value
        results = []

        async def main() -> None:
            results.append(await value)

        asyncio.run(main())  # Returning the value from `main` could call its repr.
        return results[0]

    def __repr__(self) -> str:
        return "async" if self.is_async else "sync"


PLAIN, ASYNC = Kind(is_async=False), Kind(is_async=True)


def plain(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Turn a coroutine function that never suspends into a plain function."""

    def run(*args: Any, **kwargs: Any) -> Any:
        coroutine = fn(*args, **kwargs)
        try:
            coroutine.send(None)
        except StopIteration as stop:
            return stop.value
        raise AssertionError("a sync function cannot suspend")

    run.__name__, run.__qualname__ = fn.__name__, fn.__qualname__
    run.__signature__ = inspect.signature(fn)  # type: ignore[attr-defined]
    return run
