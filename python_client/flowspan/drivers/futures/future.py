"""The future of a submitted task."""

from __future__ import annotations

import logging
import os
import threading
from types import BuiltinMethodType, MethodType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Protocol, TypeVar

from flowspan.core.run import current_run
from flowspan.core.states import PENDING, RUNNING, State
from flowspan.drivers.cancellation.safe_points import block
from flowspan.drivers.futures.deadlock import waiting_for
from flowspan.exceptions import RunTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from uuid import UUID

    from flowspan.core.run import Run

R = TypeVar("R")


class Job(Protocol):
    """What a future can ask of the execution of its run."""

    def help(self) -> None:
        """Runs it in this thread if no other has taken it, and this is one of the runner's."""

    def cancel(self) -> bool:
        """Stops it; False if it has ended."""


_logger = logging.getLogger("flowspan.futures")
_lock = threading.RLock()
_METHODS = (MethodType, BuiltinMethodType)
"""Guards what every future has of callbacks. Held for moments, and never while a callback runs.
Re-entrant, because a generator that is collected as garbage ends its run wherever that happens."""


class TaskFuture(Generic[R]):
    """The run of a submitted task, and what comes of it.

    Can be waited for (`wait`, `result`), awaited (gives the result), and passed to other tasks and
    flows, which then begin when it has ended and get its result.
    """

    __slots__ = ("__weakref__", "_callbacks", "_job", "_state", "needs", "run", "started")

    def __init__(self, run: Run, job: Job | None = None) -> None:
        """Made by `task.submit`.

        Args:
            run: The run.
            job: How it is executed; None where it cannot be helped or cancelled.
        """
        self.run = run
        self.started = False
        self.needs: tuple[TaskFuture[Any], ...] = ()
        """The futures that have to end before it begins."""
        self._job = job
        self._state: State | None = None
        self._callbacks: list[Callable[[TaskFuture[R]], object]] | None = None

    @property
    def task_run_id(self) -> UUID:
        """The id of the task run."""
        return self.run.id

    @property
    def state(self) -> State:
        """The terminal state; before, Pending or Running."""
        if self._state is not None:
            return self._state
        state = State(RUNNING if self.started else PENDING, run_id=self.run.record.id)
        state.flow_run_id = self.run.record.flow_run_id
        return state

    def done(self) -> bool:
        """Whether it has ended."""
        return self._state is not None

    def wait(self, timeout: float | None = None) -> None:
        """Waits until it has ended, or until the time is over.

        Args:
            timeout: In seconds; None waits as long as it takes.

        Raises:
            CancelRun: The run that waits was cancelled meanwhile.
            SelfDependency: It cannot end before the run that waits does.
        """
        if self._state is None:
            wait_until_done((self,), timeout)

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> R:  # noqa: FBT001, FBT002 - Prefect's signature
        """Waits for what the task returned.

        Args:
            timeout: In seconds; None waits as long as it takes.
            raise_on_failure: Whether a run that did not complete raises its exception; else the
                exception is returned.

        Raises:
            RunTimeout: The time was over; the run goes on. It is a TimeoutError.
            CancelRun: The run that waits was cancelled meanwhile.
            SelfDependency: It cannot end before the run that waits does.
        """
        self.wait(timeout)
        if self._state is None:
            raise RunTimeout(
                f"Task run {self.run.record.run_name!r} did not end within {timeout:g} s."
            )
        __tracebackhide__ = True  # for pytest and IPython
        result: R = self._state.outcome(raise_on_failure=raise_on_failure)
        return result

    def cancel(self) -> bool:
        """Asks the run to stop, and returns at once; `wait` waits for its end.

        One that has not begun never does. An asynchronous one is cancelled where it awaits. A plain
        one is not interrupted in the middle of its code, except in a worker process: it stops where
        it waits for a future or a retry, and at the next task or flow that it calls. What it called
        and submitted is stopped likewise. A run that was stopped is Cancelled, and `result` raises
        CancelRun.

        May be called from any thread, and from coroutines.

        Returns:
            Whether it was asked to: False if it had ended.
        """
        job = self._job
        return job is not None and job.cancel()

    def add_done_callback(self, callback: Callable[[TaskFuture[R]], object]) -> None:
        """Calls a function with this future once it has ended; at once if it has.

        It is called in the thread in which the run ended. What it raises is logged.
        """
        with _lock:
            if self._state is None:
                if self._callbacks is None:
                    self._callbacks = []
                self._callbacks.append(callback)
                return
        self._call(callback)

    def remove_done_callback(self, callback: Callable[[TaskFuture[R]], object]) -> None:
        """Takes a callback back, if it is there."""
        with _lock:
            for index, known in enumerate(self._callbacks or ()):
                # Methods are bound anew each time; what else is called is not asked what it equals.
                if known is callback or (type(known) in _METHODS and known == callback):
                    del self._callbacks[index]  # type: ignore[union-attr] # it has items
                    return

    def finish(self, state: State) -> bool:
        """The run has ended. For the task runner; only the first call counts.

        Returns:
            Whether this was the first call.
        """
        with _lock:
            if self._state is not None:
                return False
            self._state = state
            callbacks, self._callbacks = self._callbacks, None
            self._job, self.needs = None, ()
        stop: BaseException | None = None
        for callback in callbacks or ():
            try:
                self._call(callback)
            except BaseException as raised:  # noqa: BLE001 - the others wait for the end, too
                stop = raised
        if stop is not None:
            raise stop
        return True

    def help(self) -> None:
        """Runs the task in this thread if it waits for one of the task runner's."""
        job = self._job
        if job is not None:
            job.help()

    def _call(self, callback: Callable[[TaskFuture[R]], object]) -> None:
        try:
            callback(self)
        except Exception:
            _logger.exception("A done callback of task run %r raised.", self.run.record.run_name)

    def __await__(self) -> Generator[Any, None, R]:
        if self._state is None:
            from flowspan.drivers.futures.awaiting import until_done  # noqa: PLC0415 - imports asyncio

            yield from until_done((self,)).__await__()
        assert self._state is not None  # noqa: S101 - waited for
        __tracebackhide__ = True  # for pytest and IPython
        result: R = self._state.outcome()
        return result

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{self!r} cannot be pickled: a future belongs to the process that submitted the task. "
            "Pass it as an argument, or in a list or dictionary, and it is waited for and replaced "
            "by its result; elsewhere, pass on future.result() or future.state."
        )

    def __repr__(self) -> str:
        return f"<TaskFuture of {self.run.record.run_name!r}: {self.state.name}>"


def wait_until_done(futures: tuple[TaskFuture[Any], ...], timeout: float | None = None) -> None:
    """Blocks until all futures are done or the time is over.

    Raises:
        CancelRun: The run that waits was cancelled meanwhile.
        SelfDependency: One of the futures cannot end before the run that waits does.
    """
    if timeout is not None:
        _block_until_done(futures, timeout)
        return
    missing = tuple(future for future in futures if not future.done())
    if missing:
        with waiting_for(missing):
            for future in missing:
                future.help()
            _block_until_done(missing, None)


def _block_until_done(futures: tuple[TaskFuture[Any], ...], timeout: float | None) -> None:
    missing = [future for future in futures if not future.done()]
    if not missing:
        return
    wake = threading.Event()
    left = len(missing)

    def one_done(_: object) -> None:
        nonlocal left
        with _lock:
            left -= 1
            is_last = not left
        if is_last:
            wake.set()

    for future in missing:
        future.add_done_callback(one_done)
    run = current_run.get()
    if run is None:
        block(wake, timeout)
        return
    run.scope.add_interrupt(wake, wake.set)
    try:
        block(wake, timeout)
    finally:
        run.scope.remove_interrupt(wake)
        for future in missing:
            future.remove_done_callback(one_done)
    if left:
        run.scope.check()


def _renew_lock() -> None:
    """A forked child may find the lock held by a thread that it does not have."""
    global _lock  # noqa: PLW0603 - one per process
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_renew_lock)
