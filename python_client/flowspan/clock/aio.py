"""Waits of coroutines by the real clock, even if the event loop's own clock is frozen."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from math import inf
from threading import get_ident
from typing import TYPE_CHECKING

from flowspan import clock

if TYPE_CHECKING:
    from types import TracebackType

_PAST = float("-inf")


async def sleep(seconds: float) -> None:
    """Wait by the real clock."""
    waiting = after(seconds)
    try:
        await waiting
    finally:
        waiting.cancel()


def after(seconds: float) -> asyncio.Future[None]:
    """Return a future of the running loop that is done after a number of real seconds.

    Cancel it if it is no longer needed.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def end() -> None:
        if not future.done():
            future.set_result(None)

    if seconds <= 0:
        loop.call_soon(end)
    else:
        timer = clock.call_later(seconds, lambda: loop.call_soon_threadsafe(end))
        future.add_done_callback(lambda _: timer.cancel())
    return future


class Deadline:
    """A time limit on a block of a coroutine, like `asyncio.timeout`: ``async with Deadline(5):``.

    It cancels the block when the time is over, and raises TimeoutError.

    Attributes:
        when_s: The time of the deadline, by `clock.monotonic`.
        thread_id: The thread of its event loop.

    Args:
        seconds: Maximum duration of the block.
    """

    def __init__(self, seconds: float) -> None:
        self.when_s = clock.monotonic() + seconds
        self.thread_id = get_ident()
        self._loop = asyncio.get_running_loop()
        self._inner = asyncio.timeout_at(_PAST if seconds <= 0 else None)
        self._timer: clock.Timer | None = None
        self._has_ended_late = False

    def expired(self) -> bool:
        """Return True if the deadline passed before the block ended.

        That includes a block that blocked the event loop, and so could not be cancelled.
        """
        return self._inner.expired() or self._has_ended_late

    def advance(self, seconds: float) -> bool:
        """Move the deadline forward; return True if it has passed now. Thread-safe."""
        self._stop()
        self.when_s -= seconds
        self._start()
        return self.when_s <= clock.monotonic()

    async def __aenter__(self) -> Deadline:
        await self._inner.__aenter__()
        self._start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()
        self._has_ended_late = clock.monotonic() >= self.when_s
        await self._inner.__aexit__(kind, error, trace)

    def _start(self) -> None:
        if self.when_s == inf or self._inner.when() is not None:
            return  # no deadline, or already passed
        left_s = max(0.0, self.when_s - clock.monotonic())
        self._timer = clock.call_later(
            left_s, lambda: self._loop.call_soon_threadsafe(self._expire)
        )

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _expire(self) -> None:
        with suppress(RuntimeError):  # the block has just ended
            self._inner.reschedule(_PAST)
