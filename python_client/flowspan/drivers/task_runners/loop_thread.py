"""An event loop in a dedicated thread, for submitted async tasks.

They do not run on the flow's loop: a flow that blocks on `future.result()` would deadlock with the
tasks that it waits for.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextvars import Context

    _Item = tuple[Callable[[], Coroutine[Any, Any, None]], Context, Callable[[], None]]


class LoopThread:
    """A thread with an event loop.

    Args:
        max_tasks: The maximum number of concurrent coroutines; None for no limit.
        name: The thread's name.
    """

    def __init__(self, max_tasks: int | None, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._room = asyncio.Semaphore(max_tasks) if max_tasks is not None else None
        self._new: deque[_Item] = deque()
        self._is_woken = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def is_current(self) -> bool:
        """Return True if the calling thread is this one."""
        return threading.current_thread() is self._thread

    def put(
        self,
        start: Callable[[], Coroutine[Any, Any, None]],
        context: Context,
        at_end: Callable[[], None],
    ) -> None:
        """Run a coroutine in a context. May be called from any thread.

        Args:
            start: Creates the coroutine.
            context: The context in which it runs.
            at_end: Called when it has ended, also if it was cancelled before its first step.
        """
        self._new.append((start, context, at_end))
        # Waking the loop costs a system call, so one wake-up serves all pending items.
        if not self._is_woken:
            self._is_woken = True
            try:
                self._loop.call_soon_threadsafe(self._start_new)
            except BaseException:
                self._is_woken = False
                raise

    def cancel(self) -> None:
        """Cancel all running coroutines. May be called from any thread."""
        self._loop.call_soon_threadsafe(self._cancel)

    def close(self) -> None:
        """Stop the thread; running coroutines are cancelled."""
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _run(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            self._cancel()
            if self._tasks:
                self._loop.run_until_complete(asyncio.gather(*self._tasks, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    def _start_new(self) -> None:
        self._is_woken = False
        while self._new:
            self._start(*self._new.popleft())

    def _start(
        self,
        start: Callable[[], Coroutine[Any, Any, None]],
        context: Context,
        at_end: Callable[[], None],
    ) -> None:
        task = self._loop.create_task(self._bounded(start), context=context)
        self._tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            at_end()

        task.add_done_callback(ended)

    async def _bounded(self, start: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if self._room is None:
            await start()
            return
        async with self._room:
            await start()

    def _cancel(self) -> None:
        for task in self._tasks:
            task.cancel()
