"""Task runners, which run submitted tasks.

To write your own, see `TaskRunner` and `RunningTaskRunner`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from flowspan.config import get_config
from flowspan.core.number_options import checked_count
from flowspan.core.option_errors import names_options
from flowspan.core.values.inspection import shown
from flowspan.drivers.task_runners.protocol import (
    CallsRemotely,
    Cancellable,
    RunningTaskRunner,
    RunsCoroutines,
    SubmittedTask,
    TaskRunner,
)
from flowspan.drivers.task_runners.threads import RunningThreads
from flowspan.prefect_names import refusing

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "CallsRemotely",
    "Cancellable",
    "ConcurrentTaskRunner",
    "ProcessPoolTaskRunner",
    "RunningTaskRunner",
    "RunsCoroutines",
    "SubmittedTask",
    "TaskRunner",
    "ThreadPoolTaskRunner",
]


class ThreadPoolTaskRunner:
    """A task runner on threads; asynchronous tasks run on an event loop in another thread.

    Threads are started on demand. A task whose inputs are not ready occupies no thread. A task that
    waits for a task that it submitted runs that task itself instead of blocking the pool.

    Args:
        max_workers: The maximum number of concurrent synchronous tasks and, separately, of
            concurrent asynchronous tasks. Asynchronous tasks submitted by asynchronous tasks have
            the same limit once more, so that their callers can wait for them. None for the value
            of FLOWSPAN_TASK_RUNNER_THREAD_POOL_MAX_WORKERS, or else no limit.
    """

    name = "threadpool"

    @names_options("`ThreadPoolTaskRunner`")
    def __init__(self, max_workers: int | None = None) -> None:
        """Create the task runner; starts nothing.

        Raises:
            ValueError: max_workers is less than 1.
            TypeError: max_workers is not an integer, or another option was given.
        """
        self.max_workers = _checked(max_workers)

    def open(self, name: str) -> RunningTaskRunner:
        """Open it for one flow run; see `TaskRunner.open`."""
        bound = self.max_workers or get_config().task_runner_thread_pool_max_workers
        return RunningThreads(bound, name)

    def duplicate(self) -> ThreadPoolTaskRunner:
        """Return an equal task runner. Not needed in flowspan: each flow run opens its own."""
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
"""An alias of ThreadPoolTaskRunner, its older name in Prefect."""


class ProcessPoolTaskRunner:
    """A task runner in worker processes, for CPU-bound work.

    Processes are started on demand, reused, and ended with the flow run. A deadline
    (`timeout_seconds`) and a cancellation stop any code: after a moment to clean up, its process is
    killed. A process that dies crashes only its own run.

    Functions, arguments and results are pickled; functions of the main module and lambdas by
    cloudpickle. The main module is not run again, so it needs no `if __name__ == "__main__"`.

    Args:
        max_workers: The maximum number of concurrent tasks, each in a process. None for the value
            of FLOWSPAN_TASK_RUNNER_PROCESS_POOL_MAX_WORKERS, or else the number of processors that
            this process may use.
        initializer: Called in each process before its first task. Its errors fail the task that
            needed the process.
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
        """Create the task runner; starts nothing.

        Raises:
            ValueError: max_workers is less than 1.
            TypeError: max_workers is not an integer, initializer cannot be called, or another
                option was given.
        """
        self.max_workers = _checked(max_workers)
        if initializer is not None and not callable(initializer):
            raise TypeError(f"initializer must be a function, not {shown(initializer)}")
        self.initializer = initializer
        self.initargs = tuple(initargs)

    def open(self, name: str) -> RunningTaskRunner:
        """Open it for one flow run; see `TaskRunner.open`."""
        from flowspan.drivers.processes.task_runner import RunningProcesses  # noqa: PLC0415 - imports subprocess, multiprocessing and cloudpickle

        bound = self.max_workers or get_config().task_runner_process_pool_max_workers
        return RunningProcesses(bound or _processors(), name, self.initializer, self.initargs)

    def duplicate(self) -> ProcessPoolTaskRunner:
        """Return an equal task runner. Not needed in flowspan: each flow run opens its own."""
        options: Any = {"initializer": self.initializer, "initargs": self.initargs}
        return type(self)(self.max_workers, **options)

    def __eq__(self, other: object) -> bool:
        # The arguments of the initializer are user values, whose `==` must not be called.
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
