"""The running side of a ThreadPoolTaskRunner: threads, and event loops for async tasks."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from flowspan.drivers.task_runners.thread_pool import ThreadPool

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextvars import Context

    from flowspan.drivers.task_runners.loop_thread import LoopThread


class RunningThreads:
    """A running task runner on threads of this process; see `protocol` for its methods.

    Args:
        max_workers: The maximum number of concurrent tasks; None for no limit.
        name: The prefix of the names of threads.
        starts_at_once: True starts a thread for each call, even if a busy one may become free in a
            moment (up to a few more than the number of processors).
    """

    def __init__(self, max_workers: int | None, name: str, *, starts_at_once: bool = False) -> None:
        self._max_workers = max_workers
        self._name = name
        self._starts_at_once = starts_at_once
        self._pool: ThreadPool | None = None
        self._loops: list[LoopThread] = []
        self._lock = threading.Lock()

    def start(self, call: Callable[[], None]) -> None:
        """Run a callable on a thread of the pool."""
        pool = self._pool
        if pool is None:
            with self._lock:
                pool = self._pool
                if pool is None:
                    pool = self._pool = ThreadPool(self._max_workers, self._name)
        pool.put(call, at_once=self._starts_at_once)

    def start_async(
        self,
        call: Callable[[], Coroutine[Any, Any, None]],
        context: Context,
        at_end: Callable[[], None],
    ) -> None:
        """Run a coroutine on the event loop of another thread; see `LoopThread.put`."""
        self._next_loop().put(call, context, at_end)

    def cancel(self) -> None:
        """Cancel the running coroutines; sync functions stop at their next task."""
        with self._lock:
            loops = list(self._loops)
        for loop in loops:
            loop.cancel()

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.close()
        for loop in self._loops:
            loop.close()

    def _next_loop(self) -> LoopThread:
        """Return the loop for tasks that are submitted in this thread.

        A task on a loop may block on a task that it submitted. To avoid a deadlock, tasks that are
        submitted on one loop run on the next.
        """
        with self._lock:
            level = next((i + 1 for i, loop in enumerate(self._loops) if loop.is_current()), 0)
            if level == len(self._loops):
                from flowspan.drivers.task_runners.loop_thread import LoopThread  # noqa: PLC0415 - imports asyncio

                self._loops.append(LoopThread(self._max_workers, f"{self._name}-loop-{level}"))
            return self._loops[level]
