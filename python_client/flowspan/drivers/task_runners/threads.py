"""What runs the submitted tasks of a flow run: threads for plain functions, a loop for others."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from flowspan.drivers.cancellation.safe_points import block
from flowspan.drivers.task_runners.thread_pool import ThreadPool, current_pool

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextvars import Context

    from flowspan.core.definition import TaskDefinition
    from flowspan.drivers.task_runners.loop_thread import LoopThread


class OpenTaskRunner:
    """The running side of a ThreadPoolTaskRunner, opened for a flow run.

    Attributes:
        process_id: The process that it belongs to; a fork leaves its threads behind.
        is_remote: Whether the functions are called elsewhere than on its threads.

    Args:
        max_workers: How many tasks run at the same time; None for no bound.
        name: For the names of threads.
    """

    is_remote = False

    def __init__(self, max_workers: int | None, name: str) -> None:
        self.process_id = os.getpid()
        self._max_workers = max_workers
        self._name = name
        self._pool: ThreadPool | None = None
        self._loops: list[LoopThread] = []
        self._lock = threading.Lock()
        self._outstanding = 0
        self._when_done: list[Callable[[], object]] = []
        self._closing = False
        self.starts_at_once = False
        """Set for what is submitted outside of flows: the program may be at its end right after."""

    @property
    def is_busy(self) -> bool:
        """True if tasks that were submitted have not ended."""
        return self._outstanding > 0

    def expect(self) -> None:
        """Counts a task that was submitted; `settled` is to be called for it."""
        with self._lock:
            self._outstanding += 1

    def settled(self) -> None:
        """A task that was submitted has ended."""
        with self._lock:
            self._outstanding -= 1
            if self._outstanding:
                return
            callbacks, self._when_done = self._when_done, []
            is_over = self._closing
        for callback in callbacks:
            callback()
        if is_over:
            self._end_threads()

    @property
    def outstanding(self) -> int:
        """The number of submitted tasks that have not ended."""
        return self._outstanding

    def function_for(self, task: TaskDefinition) -> Callable[..., Any]:
        """What the driver of a run calls: the task's function, or what calls it elsewhere."""
        return task.fn

    def put(self, job: Callable[[], object]) -> None:
        """Runs a job on a thread."""
        pool = self._pool
        if pool is None:
            with self._lock:
                pool = self._pool
                if pool is None:
                    pool = self._pool = ThreadPool(self._max_workers, self._name)
        pool.put(job, at_once=self.starts_at_once)

    def owns_this_thread(self) -> bool:
        """Whether the calling thread is one of those that run its plain functions."""
        return self._pool is not None and current_pool() is self._pool

    def put_async(
        self,
        start: Callable[[], Coroutine[Any, Any, None]],
        context: Context,
        at_end: Callable[[], None],
    ) -> None:
        """Runs a coroutine on a loop in another thread than this one; see `LoopThread.put`."""
        self._loop_beyond().put(start, context, at_end)

    def wait(self, timeout_s: float | None = None) -> None:
        """Waits until all tasks that were submitted have ended, or until the time is over."""
        ended = threading.Event()
        self.call_when_done(ended.set)
        block(ended, timeout_s)

    def call_when_done(self, callback: Callable[[], object]) -> None:
        """Calls a function once, when all tasks that were submitted have ended: perhaps at once."""
        with self._lock:
            if self._outstanding:
                self._when_done.append(callback)
                return
        callback()

    def cancel(self) -> None:
        """Breaks off the coroutines that run; plain functions stop at their next task."""
        with self._lock:
            loops = list(self._loops)
        for loop in loops:
            loop.cancel()

    def close(self) -> None:
        """Ends the threads once all tasks that were submitted have ended."""
        with self._lock:
            self._closing = True
            if self._outstanding:
                return
        self._end_threads()

    def _end_threads(self) -> None:
        if self._pool is not None:
            self._pool.close()
        for loop in self._loops:
            loop.close()

    def _loop_beyond(self) -> LoopThread:
        """The loop for tasks that are submitted in this thread.

        A task on a loop that blocks for one that it submitted must not wait for its own thread, so
        what is submitted on a loop runs on the next one.
        """
        with self._lock:
            level = next((i + 1 for i, loop in enumerate(self._loops) if loop.is_current()), 0)
            if level == len(self._loops):
                from flowspan.drivers.task_runners.loop_thread import LoopThread  # noqa: PLC0415 - imports asyncio

                self._loops.append(LoopThread(self._max_workers, f"{self._name}-loop-{level}"))
            return self._loops[level]
