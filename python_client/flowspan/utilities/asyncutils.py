"""Helpers for coroutines in synchronous code, and for synchronous functions in coroutines."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from flowspan.core.async_dispatch import gives_awaitable
from flowspan.prefect_names import refusing

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = [
    "gather",
    "is_async_fn",
    "is_async_gen_fn",
    "run_coro_as_sync",
    "run_sync_in_worker_thread",
    "sync",
    "sync_compatible",
]

T = TypeVar("T")

# In a synchronous run, calls return results, but not inside the coroutines that it calls.
_is_inside: contextvars.ContextVar[bool] = contextvars.ContextVar("is_inside", default=False)


def is_async_fn(func: Any) -> bool:
    """Return True for a coroutine function, also behind `functools.wraps`."""
    return inspect.iscoroutinefunction(inspect.unwrap(func))


def is_async_gen_fn(func: Any) -> bool:
    """Return True for an asynchronous generator function."""
    return inspect.isasyncgenfunction(inspect.unwrap(func))


def run_coro_as_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to completion in a separate thread, and return its result.

    It blocks the calling thread, including an event loop on it.

    Args:
        coroutine: The coroutine; it runs in a copy of the caller's context.

    Raises:
        BaseException: The exception of the coroutine.
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


def sync(fn: Callable[..., Coroutine[Any, Any, T]], /, *args: Any, **kwargs: Any) -> T:
    """Call an asynchronous function from synchronous code, and return its result.

    Args:
        fn: The function.
        *args: Its positional arguments.
        **kwargs: Its keyword arguments.

    Raises:
        BaseException: The exception of the function.
    """
    return run_coro_as_sync(fn(*args, **kwargs))


def sync_compatible(fn: Callable[..., Coroutine[Any, Any, T]]) -> Callable[..., Any]:
    """Wrap an asynchronous function so that synchronous code can call it as well.

    In asynchronous runs, and if an event loop is running, a call returns a coroutine; elsewhere it
    returns the result. `_sync=True` always returns the result, `_sync=False` always a coroutine.

    Args:
        fn: The function.
    """

    async def call_inside(*args: Any, **kwargs: Any) -> T:
        token = _is_inside.set(True)
        try:
            return await fn(*args, **kwargs)
        finally:
            _is_inside.reset(token)

    @functools.wraps(fn)
    def call(*args: Any, _sync: bool | None = None, **kwargs: Any) -> Any:
        coroutine = call_inside(*args, **kwargs)
        is_awaited = gives_awaitable(sync=_sync) or (_sync is None and _is_inside.get())
        return coroutine if is_awaited else run_coro_as_sync(coroutine)

    return call


async def run_sync_in_worker_thread(fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
    """Call a synchronous function in another thread, without blocking the event loop.

    Args:
        fn: The function.
        *args: Its positional arguments.
        **kwargs: Its keyword arguments.
    """
    return await asyncio.to_thread(fn, *args, **kwargs)


async def gather(*calls: Callable[[], Coroutine[Any, Any, T]]) -> list[T]:
    """Call coroutine functions, run the coroutines concurrently, and return their results.

    Args:
        *calls: The functions (not coroutines, for which `asyncio.gather` exists).
    """
    return list(await asyncio.gather(*(call() for call in calls)))


__getattr__ = refusing(__name__)
