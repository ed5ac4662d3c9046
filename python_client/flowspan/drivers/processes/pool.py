"""The worker processes of an open task runner: started when needed, and used again."""

from __future__ import annotations

import atexit
import contextlib
import threading
from itertools import count
from typing import TYPE_CHECKING

from flowspan.drivers.processes.worker_process import EXIT_TIMEOUT_S, WorkerHandle

if TYPE_CHECKING:
    from flowspan.drivers.process import ProcessContext

_ending: set[threading.Thread] = set()
"""The threads that wait for the ends of processes."""


class WorkerPool:
    """Worker processes.

    It has as many as were in use at the same time; whoever uses it sees to it that they are not too
    many.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[WorkerHandle] = []
        self._numbers = count(1)
        self._closed = False

    def take(self, process: ProcessContext) -> WorkerHandle:
        """A worker for one call; the one that was used last is taken first.

        Raises:
            WorkerProcessDied: None could be started.
        """
        while True:
            with self._lock:
                worker = self._idle.pop() if self._idle else None
            if worker is None:
                return WorkerHandle(process, next(self._numbers))
            if worker.is_alive():
                return worker
            _end([worker])  # somebody killed it while it had nothing to do

    def give_back(self, worker: WorkerHandle) -> None:
        """Takes a worker back after its call."""
        with self._lock:
            if not self._closed and worker.is_alive():
                self._idle.append(worker)
                return
        _end([worker])

    def close(self) -> None:
        """Ends the workers, without waiting for that."""
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
    """Lets the workers end in peace: they may have spans to send."""
    for thread in list(_ending):
        with contextlib.suppress(KeyboardInterrupt):
            thread.join(EXIT_TIMEOUT_S)


atexit.register(_at_exit)
