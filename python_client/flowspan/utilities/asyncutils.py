"""Helpers for coroutines in plain code, and for plain functions in coroutines."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = [
    "gather",
    "is_async_fn",
    "is_async_gen_fn",
    "run_coro_as_sync",
    "run_sync_in_worker_thread",
]

T = TypeVar("T")


def is_async_fn(func: Any) -> bool:
    """Return True for a function that gives a coroutine, also behind `functools.wraps`."""
    return inspect.iscoroutinefunction(inspect.unwrap(func))


def is_async_gen_fn(func: Any) -> bool:
    """Return True for a function that gives an asynchronous generator."""
    return inspect.isasyncgenfunction(inspect.unwrap(func))


def run_coro_as_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on a thread of its own, and return its result.

    It blocks the calling thread, an event loop on it too.

    Args:
        coroutine: The coroutine; it runs in a copy of the caller's context.

    Raises:
        BaseException: What the coroutine raised.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(asyncio.run(coroutine))
        except BaseException as error:  # noqa: BLE001 - raised in the calling thread
            errors.append(error)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,))
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


async def run_sync_in_worker_thread(fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
    """Call a plain function on another thread, and wait for it without blocking the event loop.

    Args:
        fn: The function.
        *args: Its arguments.
        **kwargs: Its arguments.
    """
    return await asyncio.to_thread(fn, *args, **kwargs)


async def gather(*calls: Callable[[], Coroutine[Any, Any, T]]) -> list[T]:
    """Call functions that give coroutines, run these side by side, and return their results.

    Args:
        *calls: The functions (not coroutines, which `asyncio.gather` takes).
    """
    return list(await asyncio.gather(*(call() for call in calls)))
