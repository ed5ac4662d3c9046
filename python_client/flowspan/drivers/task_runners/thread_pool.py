"""A growing thread pool for submitted tasks.

Surplus threads only compete for the GIL: ten thousand no-op tasks finish soonest on one thread. So
a thread is added only when a call has to wait while the running ones make no progress. The pool
grows quickly up to a few more than the number of processors. Beyond that it grows only while the
processor is idle, which means that the calls wait for I/O. The limit is `max_threads`, or else
the system's limit.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from flowspan import clock

if TYPE_CHECKING:
    from collections.abc import Callable

    Call = Callable[[], object]

_TICK_S = 0.001
_EAGER_THREADS = (os.cpu_count() or 1) + 4
_IDLE_SHARE = 0.5
"""The processor counts as idle while the process uses less than this share of one core."""

_logger = logging.getLogger("flowspan.task_runners")


class ThreadPool:
    """A pool of threads that run callables.

    Args:
        max_threads: The maximum number of threads; None for no limit.
        name: The prefix of the threads' names.
    """

    def __init__(self, max_threads: int | None, name: str) -> None:
        self._max_threads = max_threads
        self._name = name
        self._queue: SimpleQueue[Call | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0
        self._done = deque[None](maxlen=1)
        """Not empty if a call ended since the last tick; appending is atomic, counting is not."""
        self._is_growing = False
        self._closed = False

    def put(self, call: Call, *, at_once: bool = False) -> None:
        """Run a callable, which must not raise, as soon as a thread is available.

        Args:
            call: The callable.
            at_once: Start a thread for it even if a busy one may become free in a moment. From
                Python 3.12 on, no thread can be started during interpreter shutdown.
        """
        self._queue.put(call)
        if self._idle or self._threads == self._max_threads:
            return
        if not self._threads or (at_once and self._threads < _EAGER_THREADS):
            self._add_thread()
        elif not self._is_growing:
            self._start_growing()

    def close(self) -> None:
        """Let the threads end once the queue is empty."""
        with self._lock:
            self._closed = True
            threads = self._threads
        for _ in range(threads):
            self._queue.put(None)

    def _add_thread(self) -> bool:
        with self._lock:
            if self._closed or self._threads == self._max_threads:
                return False
            self._threads += 1
            name = f"{self._name}-{self._threads}"
        try:
            # Daemon threads, so that a task that hangs does not delay the end of the process.
            threading.Thread(target=self._work, name=name, daemon=True).start()
        except RuntimeError:  # the system has no more threads
            with self._lock:
                self._threads -= 1
                if not self._threads:
                    raise
            return False
        return True

    def _work(self) -> None:
        queue, done = self._queue, self._done
        while True:
            try:
                call = queue.get_nowait()
            except Empty:
                with self._lock:
                    self._idle += 1
                call = queue.get()
                with self._lock:
                    self._idle -= 1
            if call is None:
                return
            try:
                call()
            except BaseException:
                _logger.exception("A call of the task runner raised.")
            del call
            done.append(None)

    def _start_growing(self) -> None:
        with self._lock:
            if self._is_growing or self._closed:
                return
            self._is_growing = True
        try:
            threading.Thread(target=self._grow, name=f"{self._name}-growth", daemon=True).start()
        except RuntimeError:  # the system has no more threads: the existing ones must do
            self._is_growing = False

    def _grow(self) -> None:
        """Add threads until no call waits. Runs in its own thread, as the others are busy."""
        while True:
            cpu, wall = clock.process_time(), clock.monotonic()
            self._done.clear()
            clock.sleep(_TICK_S)
            if self._queue.empty() or self._threads == self._max_threads or self._closed:
                with self._lock:
                    self._is_growing = False
                    # A call that was put in the meantime did not start another growth: check again.
                    if self._queue.empty() or self._idle or self._closed or self._is_full():
                        return
                    self._is_growing = True
            elif self._done or self._idle:
                continue  # the threads make progress
            used = (clock.process_time() - cpu) / (clock.monotonic() - wall)
            if self._threads < _EAGER_THREADS:
                more = 1
            elif used < _IDLE_SHARE:
                more = min(self._threads, self._queue.qsize())
            else:
                continue
            for _ in range(more):
                if not self._add_thread():
                    break

    def _is_full(self) -> bool:
        return self._threads == self._max_threads
