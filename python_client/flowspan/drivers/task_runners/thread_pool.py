"""Threads for submitted tasks: as many as the work can use, made when they are needed.

More threads than that only fight for the interpreter: ten thousand tasks that do nothing are done
soonest by one. So a thread is added when a job has to wait while those that run do not get done:
quickly up to the number of processors and a few; beyond that only while the processor is idle,
which is when the jobs wait for something. Up to the bound, if there is one, else as far as the
system lets us.
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

    Job = Callable[[], object]

_TICK_S = 0.001
_EAGER_THREADS = (os.cpu_count() or 1) + 4
_IDLE_SHARE = 0.5
"""The processor counts as idle while the process uses less than this part of one."""

_here = threading.local()
"""Which pool this thread belongs to."""

_logger = logging.getLogger("flowspan.task_runners")


def current_pool() -> ThreadPool | None:
    """The pool that the calling thread is one of, or stands in for one of; else None."""
    return getattr(_here, "pool", None)


def be_of(pool: ThreadPool | None) -> None:
    """Says so of the calling thread."""
    _here.pool = pool


class ThreadPool:
    """Runs jobs on threads.

    Args:
        max_threads: How many threads there may be; None for no bound.
        name: The beginning of the threads' names.
    """

    def __init__(self, max_threads: int | None, name: str) -> None:
        self._max_threads = max_threads
        self._name = name
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0
        self._done = deque[None](maxlen=1)
        """Not empty if a job was done since the last tick; appending is atomic, counting is not."""
        self._is_growing = False
        self._closed = False

    def put(self, job: Job, *, at_once: bool = False) -> None:
        """Runs a job, which must not raise, as soon as there is a thread for it.

        Args:
            job: The job.
            at_once: Whether a thread is started for it although those that there are may be free
                in a moment. Since Python 3.12 none can be started once the program is at its end.
        """
        self._queue.put(job)
        if self._idle or self._threads == self._max_threads:
            return
        if not self._threads or (at_once and self._threads < _EAGER_THREADS):
            self._add_thread()
        elif not self._is_growing:
            self._start_growing()

    def close(self) -> None:
        """Lets the threads end once the queue is empty."""
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
            # Daemons, so that a task that hangs does not hold up the end of the process.
            threading.Thread(target=self._work, name=name, daemon=True).start()
        except RuntimeError:  # the system has no more threads for us
            with self._lock:
                self._threads -= 1
                if not self._threads:
                    raise
            return False
        return True

    def _work(self) -> None:
        be_of(self)
        queue, done = self._queue, self._done
        while True:
            try:
                job = queue.get_nowait()
            except Empty:
                with self._lock:
                    self._idle += 1
                job = queue.get()
                with self._lock:
                    self._idle -= 1
            if job is None:
                return
            try:
                job()
            except BaseException:
                _logger.exception("A job of the task runner raised.")
            del job
            done.append(None)

    def _start_growing(self) -> None:
        with self._lock:
            if self._is_growing or self._closed:
                return
            self._is_growing = True
        try:
            threading.Thread(target=self._grow, name=f"{self._name}-growth", daemon=True).start()
        except RuntimeError:  # the system has no more threads for us: those that there are will do
            self._is_growing = False

    def _grow(self) -> None:
        """Adds threads until no job waits. Runs in a thread of its own, for the others are busy."""
        while True:
            cpu, wall = clock.process_time(), clock.monotonic()
            self._done.clear()
            clock.sleep(_TICK_S)
            if self._queue.empty() or self._threads == self._max_threads or self._closed:
                with self._lock:
                    self._is_growing = False
                    # A job put in the meantime did not start another growth: look once more.
                    if self._queue.empty() or self._idle or self._closed or self._is_full():
                        return
                    self._is_growing = True
            elif self._done or self._idle:
                continue  # They get things done.
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
