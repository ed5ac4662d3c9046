"""Helpers for coroutines in plain code, and for plain functions in coroutines."""

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

# A plain run's function decides that calls give results, but not for the coroutines it calls.
_is_inside: contextvars.ContextVar[bool] = contextvars.ContextVar("is_inside", default=False)


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


def sync(fn: Callable[..., Coroutine[Any, Any, T]], /, *args: Any, **kwargs: Any) -> T:
    """Call an asynchronous function from plain code, and return its result.

    Args:
        fn: The function.
        *args: Its arguments.
        **kwargs: Its arguments.

    Raises:
        BaseException: What the function raised.
    """
    return run_coro_as_sync(fn(*args, **kwargs))


def sync_compatible(fn: Callable[..., Coroutine[Any, Any, T]]) -> Callable[..., Any]:
    """Make an asynchronous function that plain code can call as well.

    In asynchronous runs, and where an event loop is running, a call gives a coroutine; elsewhere it
    gives the result. `_sync=True` always gives the result, `_sync=False` always a coroutine.

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


__getattr__ = refusing(__name__)
