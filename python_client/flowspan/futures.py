"""Futures of submitted tasks, and functions that wait for several of them."""

from __future__ import annotations

from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import TIMEOUT_MAX
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from flowspan import clock
from flowspan.core.run import current_run
from flowspan.core.values.traversal import HeldList
from flowspan.drivers.cancellation.safe_points import take
from flowspan.drivers.cancellation.scope import add_wait, remove_wait
from flowspan.drivers.futures.arguments import settle, settle_to_results
from flowspan.drivers.futures.future import TaskFuture, wait_until_done
from flowspan.exceptions import RunTimeout
from flowspan.prefect_names import refusing

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from typing import Self

    from flowspan.core.run import Run

__all__ = [
    "AsCompleted",
    "DoneAndNotDone",
    "PrefectConcurrentFuture",
    "PrefectFuture",
    "PrefectFutureList",
    "TaskFuture",
    "TaskFutureList",
    "as_completed",
    "resolve_futures_to_results",
    "resolve_futures_to_states",
    "wait",
]

R = TypeVar("R")


class TaskFutureList(HeldList, list[TaskFuture[R]]):
    """The futures of a mapped task, in the order of its elements."""

    def wait(self, timeout: float | None = None) -> None:
        """Wait until all have ended or the timeout, in seconds, has expired."""
        wait_until_done(tuple(self), timeout)

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> list[R]:  # noqa: FBT001, FBT002 - Prefect's signature
        """Return all results, in order.

        Args:
            timeout: The maximum time to wait for all together, in seconds; None for no limit.
            raise_on_failure: True to raise the exception of a run that did not complete, False to
                return the exception in the place of its result.

        Raises:
            RunTimeout: The timeout expired; the runs continue. It is a TimeoutError.
        """
        self.wait(timeout)
        missing = sum(not future.done() for future in self)
        if missing:
            raise RunTimeout(
                f"{missing} of {len(self)} task runs did not end within {timeout:g} s."
            )
        return [future.result(raise_on_failure=raise_on_failure) for future in self]

    def cancel(self) -> bool:
        """Request cancellation of all unfinished futures without waiting; see `TaskFuture.cancel`.

        Returns:
            True if at least one was asked to stop, False if all had ended.
        """
        asked = [future.cancel() for future in self]
        return any(asked)

    def __await__(self) -> Generator[Any, Any, list[R]]:
        """Wait in a coroutine; return all results, in order."""
        from flowspan.drivers.futures.awaiting import until_done  # noqa: PLC0415 - imports asyncio

        yield from until_done(self).__await__()
        return self.result()


class DoneAndNotDone(NamedTuple):
    """The return value of `wait`.

    Attributes:
        done: The futures that have ended.
        not_done: The futures that have not ended.
    """

    done: set[TaskFuture[Any]]
    not_done: set[TaskFuture[Any]]


def wait(futures: Iterable[TaskFuture[Any]], timeout: float | None = None) -> DoneAndNotDone:
    """Wait until all futures are done or the timeout expires.

    Args:
        futures: The futures.
        timeout: The maximum time to wait, in seconds; None for no limit.

    Returns:
        The futures that have ended and those that have not, as two sets.
    """
    everyone = tuple(futures)
    wait_until_done(everyone, timeout)
    done = {future for future in everyone if future.done()}
    return DoneAndNotDone(done, set(everyone) - done)


def as_completed(futures: Iterable[TaskFuture[R]], timeout: float | None = None) -> AsCompleted[R]:
    """Iterate over futures in the order in which they end, with `for` or `async for`.

    Args:
        futures: The futures. Duplicates are returned once.
        timeout: The maximum time for all together, in seconds; None for no limit.

    Returns:
        An iterator that is also an asynchronous iterator.

    Raises:
        RunTimeout: During iteration, if the timeout expires; the runs continue. It is a
            TimeoutError.
    """
    return AsCompleted(futures, timeout)


class AsCompleted(Generic[R]):
    """Iterator over futures in the order in which they end; returned by `as_completed`."""

    def __init__(self, futures: Iterable[TaskFuture[R]], timeout: float | None) -> None:
        """Create the iterator; see `as_completed`."""
        self._timeout_s = timeout
        self._deadline_s: float | None = None
        if timeout is not None:
            self._deadline_s = clock.monotonic() + float(min(timeout, TIMEOUT_MAX))
        self._ended: SimpleQueue[TaskFuture[R] | None] = SimpleQueue()
        self._left = dict.fromkeys(futures)
        for future in self._left:
            future.add_done_callback(self._ended.put)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> TaskFuture[R]:
        if not self._left:
            raise StopIteration
        run = current_run.get()
        if run is not None:  # a cancelled run must stop waiting
            add_wait(run, self._ended, lambda: self._ended.put(None))
        try:
            return self._taken(run)
        finally:
            if run is not None:
                remove_wait(run, self._ended)

    def _taken(self, run: Run | None) -> TaskFuture[R]:
        while True:
            try:
                one = take(self._ended, self._remaining_s())
            except Empty:
                raise self._timed_out() from None
            if one is not None:
                del self._left[one]
                return one
            if run is not None:
                run.scope.check()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TaskFuture[R]:
        if not self._left:
            raise StopAsyncIteration
        from flowspan.drivers.futures.awaiting import until_one_done  # noqa: PLC0415 - imports asyncio

        while True:
            with suppress(Empty):
                one = self._ended.get_nowait()
                if one is not None:
                    del self._left[one]
                    return one
                continue
            if not await until_one_done(self._left, self._remaining_s()):
                raise self._timed_out()

    def _remaining_s(self) -> float | None:
        if self._deadline_s is None:
            return None
        return max(0.0, self._deadline_s - clock.monotonic())

    def _timed_out(self) -> RunTimeout:
        return RunTimeout(f"{len(self._left)} task runs did not end within {self._timeout_s:g} s.")


PrefectFuture = TaskFuture
PrefectConcurrentFuture = TaskFuture
PrefectFutureList = TaskFutureList


def resolve_futures_to_states(expr: Any) -> Any:
    """Wait for the futures in a value and return the value with their terminal states instead.

    Args:
        expr: A future, or a collection with futures at any depth.
    """
    return settle(expr)


def resolve_futures_to_results(expr: Any) -> Any:
    """Wait for the futures in a value and return the value with their results instead.

    Args:
        expr: A future, or a collection with futures at any depth.

    Raises:
        UpstreamFailed: A run did not complete; the exception's cause is its error.
    """
    return settle_to_results(expr)


__getattr__ = refusing(__name__)
