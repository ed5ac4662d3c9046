"""Futures of submitted tasks: waiting for several of them."""

from __future__ import annotations

import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from flowspan.core.runs import current_run
from flowspan.drivers.futures import TaskFuture, wait_until_done
from flowspan.drivers.interrupts import take
from flowspan.exceptions import RunTimeout

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["DoneAndNotDone", "TaskFuture", "TaskFutureList", "as_completed", "wait"]

R = TypeVar("R")


class TaskFutureList(list[TaskFuture[R]]):
    """The futures of a mapped task, in the order of its elements."""

    def wait(self, timeout: float | None = None) -> None:
        """Waits until all have ended, or until the time in seconds is over."""
        wait_until_done(tuple(self), timeout)

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> list[R]:  # noqa: FBT001, FBT002 - Prefect's signature
        """The results of all, in order.

        Args:
            timeout: How long to wait for all together, in seconds; None waits as long as it takes.
            raise_on_failure: Whether a run that did not complete raises its exception; else the
                exception stands in its place.

        Raises:
            RunTimeout: The time was over; the runs go on. It is a TimeoutError.
        """
        self.wait(timeout)
        missing = sum(not future.done() for future in self)
        if missing:
            raise RunTimeout(
                f"{missing} of {len(self)} task runs did not end within {timeout:g} s."
            )
        return [future.result(raise_on_failure=raise_on_failure) for future in self]


class DoneAndNotDone(NamedTuple):
    """What `wait` returns.

    Attributes:
        done: Those that have ended.
        not_done: Those that have not.
    """

    done: set[TaskFuture[Any]]
    not_done: set[TaskFuture[Any]]


def wait(futures: Iterable[TaskFuture[Any]], timeout: float | None = None) -> DoneAndNotDone:
    """Waits until all futures are done, or until the time is over.

    Args:
        futures: The futures.
        timeout: In seconds; None waits as long as it takes.
    """
    everyone = tuple(futures)
    wait_until_done(everyone, timeout)
    done = {future for future in everyone if future.done()}
    return DoneAndNotDone(done, set(everyone) - done)


def as_completed(
    futures: Iterable[TaskFuture[R]], timeout: float | None = None
) -> Iterator[TaskFuture[R]]:
    """Gives the futures in the order in which they end, each once.

    Args:
        futures: The futures.
        timeout: How long all together may take, in seconds; None waits as long as it takes.

    Raises:
        RunTimeout: The time was over; the runs go on. It is a TimeoutError.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    ended: SimpleQueue[TaskFuture[R] | None] = SimpleQueue()
    left = dict.fromkeys(futures)
    for future in left:
        future.add_done_callback(ended.put)
    run = current_run.get()
    if run is not None:  # a cancelled run must not go on waiting
        run.scope.add_interrupt(ended, lambda: ended.put(None))
    try:
        while left:
            remaining = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                one = take(ended, remaining)
            except Empty:
                raise RunTimeout(
                    f"{len(left)} task runs did not end within {timeout:g} s."
                ) from None
            if one is not None:
                del left[one]
                yield one
            elif run is not None:
                run.scope.check()
    finally:
        if run is not None:
            run.scope.remove_interrupt(ended)
        for future in left:
            future.remove_done_callback(ended.put)
