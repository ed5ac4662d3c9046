"""The worker processes of an open task runner: started on demand, and reused."""

from __future__ import annotations

import atexit
import contextlib
import threading
from itertools import count
from typing import TYPE_CHECKING

from flowspan.drivers.processes.worker_handle import EXIT_TIMEOUT_S, WorkerHandle

if TYPE_CHECKING:
    from flowspan.drivers.process import ProcessContext

_ending: set[threading.Thread] = set()
"""The threads that wait for processes to end."""


class WorkerPool:
    """A pool of worker processes.

    It grows to the maximum number of concurrent calls; its user limits their number.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[WorkerHandle] = []
        self._numbers = count(1)
        self._closed = False

    def take(self, process: ProcessContext) -> WorkerHandle:
        """Take a worker for one call; the most recently used one first.

        Raises:
            WorkerProcessDied: No worker could be started.
        """
        while True:
            with self._lock:
                worker = self._idle.pop() if self._idle else None
            if worker is None:
                return WorkerHandle(process, next(self._numbers))
            if worker.is_alive():
                return worker
            _end([worker])  # it was killed while it was idle

    def give_back(self, worker: WorkerHandle) -> None:
        """Return a worker to the pool after its call."""
        with self._lock:
            if not self._closed and worker.is_alive():
                self._idle.append(worker)
                return
        _end([worker])

    def close(self) -> None:
        """End the workers without waiting for their exit."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        if idle:
            _end(idle)


def _end(workers: list[WorkerHandle]) -> None:
    for worker in workers:
        worker.say_exit()

    def wait() -> None:
        try:
            for worker in workers:
                worker.end()
        finally:
            _ending.discard(threading.current_thread())

    thread = threading.Thread(target=wait, name="flowspan-workers-end", daemon=True)
    _ending.add(thread)
    thread.start()


def _at_exit() -> None:
    """Give the workers time to exit, as they may have spans to send."""
    for thread in list(_ending):
        with contextlib.suppress(KeyboardInterrupt):
            thread.join(EXIT_TIMEOUT_S)


atexit.register(_at_exit)
