"""Waiting for futures in coroutines."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from flowspan.clock import aio as aio_clock
from flowspan.drivers.futures.deadlock import waiting_for

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowspan.drivers.futures.future import TaskFuture


async def until_done(futures: Iterable[TaskFuture[Any]]) -> None:
    """Wait until all futures are done.

    Raises:
        SelfDependency: One of them cannot end before the waiting run does.
    """
    missing = tuple(future for future in futures if not future.done())
    if not missing:
        return
    with waiting_for(missing):
        for future in missing:
            await _ended(future)


async def until_one_done(futures: Iterable[TaskFuture[Any]], timeout_s: float | None) -> bool:
    """Wait until one of the futures is done, or until the timeout.

    Returns:
        True if one is done.
    """
    waits = [_ended(future) for future in futures]
    over = [] if timeout_s is None else [aio_clock.after(timeout_s)]
    try:
        done, _ = await asyncio.wait([*waits, *over], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in (*waits, *over):
            wait.cancel()
    return any(wait in done for wait in waits)


def _ended(future: TaskFuture[Any]) -> asyncio.Future[None]:
    """Return a future of the running loop that is done when the run has ended."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def tell(_: object) -> None:
        with suppress(RuntimeError):  # the loop is closed, so there is no waiter left
            loop.call_soon_threadsafe(set_done, ended)

    future.add_done_callback(tell)
    ended.add_done_callback(lambda _: future.remove_done_callback(tell))
    return ended


def set_done(future: asyncio.Future[None]) -> None:
    """Wake the waiter of a future."""
    if not future.done():
        future.set_result(None)
