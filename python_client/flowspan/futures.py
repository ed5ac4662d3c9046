"""Futures of submitted tasks: waiting for several of them."""

from __future__ import annotations

from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import TIMEOUT_MAX
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from flowspan import clock
from flowspan.core.run import current_run
from flowspan.core.values.traversal import HeldList
from flowspan.drivers.cancellation.safe_points import take
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

    def cancel(self) -> bool:
        """Asks all that have not ended to stop, and returns at once; see `TaskFuture.cancel`.

        Returns:
            Whether one of them was asked to: False if all had ended.
        """
        asked = [future.cancel() for future in self]
        return any(asked)

    def __await__(self) -> Generator[Any, Any, list[R]]:
        """In coroutines: the results of all, in order."""
        from flowspan.drivers.futures.awaiting import until_done  # noqa: PLC0415 - imports asyncio

        yield from until_done(self).__await__()
        return self.result()


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


def as_completed(futures: Iterable[TaskFuture[R]], timeout: float | None = None) -> AsCompleted[R]:
    """Gives the futures in the order in which they end, each once: by `for` and by `async for`.

    Args:
        futures: The futures.
        timeout: How long all together may take, in seconds; None waits as long as it takes.

    Returns:
        An iterator, also an asynchronous one.

    Raises:
        RunTimeout: While iterating: the time was over; the runs go on. It is a TimeoutError.
    """
    return AsCompleted(futures, timeout)


class AsCompleted(Generic[R]):
    """Futures in the order in which they end. Made by `as_completed`."""

    def __init__(self, futures: Iterable[TaskFuture[R]], timeout: float | None) -> None:
        """See `as_completed`."""
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
        if run is not None:  # a cancelled run must not go on waiting
            run.scope.add_interrupt(self._ended, lambda: self._ended.put(None))
        try:
            return self._taken(run)
        finally:
            if run is not None:
                run.scope.remove_interrupt(self._ended)

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
    """Return a value with the terminal states of futures in their place; waits for them.

    Args:
        expr: A future, or a collection with futures anywhere in it.
    """
    return settle(expr)


def resolve_futures_to_results(expr: Any) -> Any:
    """Return a value with the results of futures in their place; waits for them.

    Args:
        expr: A future, or a collection with futures anywhere in it.

    Raises:
        UpstreamFailed: A run did not complete; its cause says why.
    """
    return settle_to_results(expr)


__getattr__ = refusing(__name__)
