"""Task runners: where submitted tasks run."""

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
    """What `@flow(task_runner=…)` takes: it is opened anew for each flow run."""

    def open(self, name: str) -> OpenTaskRunner:
        """Starts it for one flow run; nothing is started before the first task.

        Args:
            name: For the names of threads.
        """


class ThreadPoolTaskRunner:
    """Runs the submitted tasks of a flow on threads, and asynchronous ones on an event loop.

    Threads are made as the work needs them. A task whose inputs are not ready holds none, and a
    task that waits for one that it submitted runs that itself rather than block the pool.

    Args:
        max_workers: How many tasks may run at the same time: so many plain ones, and so many
            asynchronous ones (of those that a task submits, once more as many, so that it can wait
            for them); None for what FLOWSPAN_TASK_RUNNER_THREAD_POOL_MAX_WORKERS
            says, and no bound without that.
    """

    name = "threadpool"

    @names_options("`ThreadPoolTaskRunner`")
    def __init__(self, max_workers: int | None = None) -> None:
        """See the class.

        Raises:
            ValueError: max_workers is less than 1.
            TypeError: max_workers is no whole number, or another option was given.
        """
        self.max_workers = _checked(max_workers)

    def open(self, name: str) -> OpenTaskRunner:
        """See `TaskRunner.open`."""
        bound = self.max_workers or get_config().task_runner_thread_pool_max_workers
        return OpenTaskRunner(bound, name)

    def duplicate(self) -> ThreadPoolTaskRunner:
        """Another one like this; there is no need for it, since each flow run opens its own."""
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
"""The older name of it in Prefect."""


class ProcessPoolTaskRunner:
    """Runs the submitted tasks of a flow in other processes: for work that needs the processor.

    Processes are started when the first tasks need them, used again, and ended with the flow run. A
    deadline (`timeout_seconds`) and cancelling stop the code whatever it does: after a moment to
    clean up, its process is killed. A process that dies crashes the run that it was in, and no
    other.

    Functions, arguments and results go to them and back pickled, functions of the main module and
    lambdas too (by cloudpickle); that module is not run again, so it needs no
    `if __name__ == "__main__"`.

    Args:
        max_workers: How many tasks may run at the same time, each in a process; None for what
            FLOWSPAN_TASK_RUNNER_PROCESS_POOL_MAX_WORKERS says, and without that for the number of
            processors that this process may use.
        initializer: Called in each process before its first task. What it raises fails the task
            that needed the process.
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
        """See the class.

        Raises:
            ValueError: max_workers is less than 1.
            TypeError: max_workers is no whole number, initializer cannot be called, or another
                option was given.
        """
        self.max_workers = _checked(max_workers)
        if initializer is not None and not callable(initializer):
            raise TypeError(f"initializer must be a function, not {shown(initializer)}")
        self.initializer = initializer
        self.initargs = tuple(initargs)

    def open(self, name: str) -> OpenTaskRunner:
        """See `TaskRunner.open`."""
        # Imports subprocess, multiprocessing and cloudpickle.
        from flowspan.drivers.processes.task_runner import OpenProcessRunner  # noqa: PLC0415

        bound = self.max_workers or get_config().task_runner_process_pool_max_workers
        return OpenProcessRunner(bound or _processors(), name, self.initializer, self.initargs)

    def duplicate(self) -> ProcessPoolTaskRunner:
        """Another one like this; there is no need for it, since each flow run opens its own."""
        options: Any = {"initializer": self.initializer, "initargs": self.initargs}
        return type(self)(self.max_workers, **options)

    def __eq__(self, other: object) -> bool:
        # The arguments of the initializer are the user's: whether they are equal is not asked.
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
