"""Background work of the service, which runs beside its calls."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from flowspan_service.loops.idle import until_idle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable


@contextlib.asynccontextmanager
async def running(work: Iterable[Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Run coroutines during the block, and cancel them at its end."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until_stopped(
    stopped: asyncio.Event,
    *,
    idle_since_us: Callable[[], int | None],
    monotonic_us: Callable[[], int],
    timeout_s: float | None,
) -> None:
    """Return when a signal stops the service, or when it was idle for the timeout.

    Args:
        stopped: Set by the signal; set here, too, so that a later signal ends the process.
        idle_since_us: Returns the last use on the monotonic clock; None while it is in use.
        monotonic_us: The monotonic clock.
        timeout_s: The idle timeout; None for a service that never ends because of it.
    """
    waits: list[Coroutine[Any, Any, object]] = [stopped.wait()]
    if timeout_s is not None:
        waits.append(until_idle(idle_since_us, monotonic_us, timeout_s=timeout_s))
    tasks = [asyncio.create_task(each) for each in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    stopped.set()
    for task in tasks:
        task.cancel()
