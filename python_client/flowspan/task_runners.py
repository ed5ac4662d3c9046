"""Task runners, which execute submitted tasks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol

from flowspan.config import get_config
from flowspan.core.number_options import checked_count
from flowspan.core.option_errors import names_options
from flowspan.core.values.inspection import shown
from flowspan.drivers.task_runners.threads import OpenTaskRunner
from flowspan.prefect_names import refusing

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ConcurrentTaskRunner", "ProcessPoolTaskRunner", "TaskRunner", "ThreadPoolTaskRunner"]


class TaskRunner(Protocol):
    """Protocol of the values of `@flow(task_runner=…)`. Each flow run opens a new instance."""

    def open(self, name: str) -> OpenTaskRunner:
        """Open the runner for one flow run. Workers start with the first task.

        Args:
            name: A prefix for the names of threads.
        """


class ThreadPoolTaskRunner:
    """Executes submitted plain tasks on threads, and asynchronous tasks on an event loop.

    Threads are started on demand. A task whose inputs are not ready does not occupy a thread. A
    task that waits for a task that it submitted executes it on its own thread, so that the pool
    cannot deadlock.

    Args:
        max_workers: The maximum number of concurrent tasks: this many plain tasks, and this many
            asynchronous tasks. Tasks that a task submits have a second quota of the same size, so
            that their parent can wait for them. None for
            FLOWSPAN_TASK_RUNNER_THREAD_POOL_MAX_WORKERS, which is unlimited by default.
    """

    name = "threadpool"

    @names_options("`ThreadPoolTaskRunner`")
    def __init__(self, max_workers: int | None = None) -> None:
        """Create the runner.

        Raises:
            ValueError: max_workers is less than 1.
            TypeError: max_workers is not an integer, or an unknown option was given.
        """
        self.max_workers = _checked(max_workers)

    def open(self, name: str) -> OpenTaskRunner:
        """Open the runner; see `TaskRunner.open`."""
        bound = self.max_workers or get_config().task_runner_thread_pool_max_workers
        return OpenTaskRunner(bound, name)

    def duplicate(self) -> ThreadPoolTaskRunner:
        """Return a copy. Copies are not required, since each flow run opens its own instance."""
        return type(self)(self.max_workers)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.max_workers == other.max_workers

    def __hash__(self) -> int:
        return hash((type(self), self.max_workers))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(max_workers={self.max_workers})"


ConcurrentTaskRunner = ThreadPoolTaskRunner
"""Alias under Prefect's older name."""


class ProcessPoolTaskRunner:
    """Executes submitted tasks in worker processes, for CPU-bound work.

    Processes are started on demand, reused, and stopped at the end of the flow run. A deadline
    (`timeout_seconds`) or a cancellation stops any code: after a moment to clean up, the
    process is killed. A process that dies crashes only the run that it was executing.

    Functions, arguments and results are pickled. Functions of the main module and lambdas are
    pickled by cloudpickle. Workers do not execute the main module again, so it needs no `if
    __name__ == "__main__"` guard.

    Args:
        max_workers: The maximum number of concurrent tasks, one per process. None for
            FLOWSPAN_TASK_RUNNER_PROCESS_POOL_MAX_WORKERS, which defaults to the number of CPUs
            available to this process.
        initializer: A function called in each process before its first task. An exception fails
            the task that needed the process.
        initargs: The arguments of the initializer.
    """

    name = "processpool"

    @names_options("`ProcessPoolTaskRunner`")
    def __init__(
        self,
        max_workers: int | None = None,
        *,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        """Create the runner.

        Raises:
            ValueError: max_workers is less than 1.
            TypeError: max_workers is not an integer, initializer is not callable, or an unknown
                option was given.
        """
        self.max_workers = _checked(max_workers)
        if initializer is not None and not callable(initializer):
            raise TypeError(f"initializer must be a function, not {shown(initializer)}")
        self.initializer = initializer
        self.initargs = tuple(initargs)

    def open(self, name: str) -> OpenTaskRunner:
        """Open the runner; see `TaskRunner.open`."""
        # Loaded here, because it imports subprocess, multiprocessing and cloudpickle.
        from flowspan.drivers.processes.task_runner import OpenProcessRunner  # noqa: PLC0415

        bound = self.max_workers or get_config().task_runner_process_pool_max_workers
        return OpenProcessRunner(bound or _processors(), name, self.initializer, self.initargs)

    def duplicate(self) -> ProcessPoolTaskRunner:
        """Return a copy. Copies are not required, since each flow run opens its own instance."""
        options: Any = {"initializer": self.initializer, "initargs": self.initargs}
        return type(self)(self.max_workers, **options)

    def __eq__(self, other: object) -> bool:
        # Compare initargs by identity: they are user values, and comparing them may run user
        # code.
        if type(other) is not type(self):
            return NotImplemented
        is_same = self.initializer is other.initializer and (
            self.initargs is other.initargs or not (self.initargs or other.initargs)
        )
        return is_same and self.max_workers == other.max_workers

    def __hash__(self) -> int:
        return hash((type(self), self.max_workers))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(max_workers={self.max_workers})"


def _checked(max_workers: int | None) -> int | None:
    return None if max_workers is None else checked_count(max_workers, "max_workers", 1)


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


__getattr__ = refusing(__name__)
