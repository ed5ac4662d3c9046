"""Task runners: where submitted tasks run."""

from __future__ import annotations

from flowspan.drivers.task_runner import OpenTaskRunner

__all__ = ["ThreadPoolTaskRunner"]


class ThreadPoolTaskRunner:
    """Runs the submitted tasks of a flow on threads, and asynchronous ones on an event loop.

    Threads are made as the work needs them. A task whose inputs are not ready holds none, and a
    task that waits for one that it submitted runs that itself rather than block the pool.

    Args:
        max_workers: How many tasks may run at the same time; None for no bound.
    """

    def __init__(self, max_workers: int | None = None) -> None:
        """See the class.

        Raises:
            ValueError: max_workers is less than 1.
        """
        if max_workers is not None and max_workers < 1:
            raise ValueError(f"max_workers must be at least 1, not {max_workers}")
        self.max_workers = max_workers

    def open(self, name: str) -> OpenTaskRunner:
        """Starts it for one flow run; nothing is started before the first task.

        Args:
            name: For the names of threads.
        """
        return OpenTaskRunner(self.max_workers, name)

    def __repr__(self) -> str:
        return f"ThreadPoolTaskRunner(max_workers={self.max_workers})"
