"""The future of a submitted task."""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from flowspan.core.runs import current_run
from flowspan.core.states import PENDING, RUNNING, State
from flowspan.drivers.interrupts import block
from flowspan.exceptions import RunTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from flowspan.core.runs import Run

R = TypeVar("R")

_logger = logging.getLogger("flowspan.futures")
_lock = threading.RLock()
"""Guards what every future has of callbacks. Held for moments, and never while a callback runs.
Re-entrant, because a generator that is collected as garbage ends its run wherever that happens."""


class TaskFuture(Generic[R]):
    """The run of a submitted task, and what comes of it.

    Can be waited for (`wait`, `result`), awaited (gives the result), and passed to other tasks and
    flows, which then begin when it has ended and get its result.
    """

    __slots__ = ("__weakref__", "_callbacks", "_help", "_state", "run", "started")

    def __init__(self, run: Run, help_: Callable[[], None] | None = None) -> None:
        """Made by `task.submit`.

        Args:
            run: The run.
            help_: Runs the task in the calling thread if no thread has taken it; None if that is
                not done.
        """
        self.run = run
        self.started = False
        self._help = help_
        self._state: State | None = None
        self._callbacks: list[Callable[[TaskFuture[R]], object]] | None = None

    @property
    def task_run_id(self) -> str:
        """The id of the task run."""
        return self.run.record.id

    @property
    def state(self) -> State:
        """The terminal state; before, Pending or Running."""
        if self._state is not None:
            return self._state
        return State(RUNNING if self.started else PENDING, run_id=self.run.record.id)

    def done(self) -> bool:
        """Whether it has ended."""
        return self._state is not None

    def wait(self, timeout: float | None = None) -> None:
        """Waits until it has ended, or until the time is over.

        Args:
            timeout: In seconds; None waits as long as it takes.

        Raises:
            CancelRun: The run that waits was cancelled meanwhile.
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
        """
        self.wait(timeout)
        if self._state is None:
            raise RunTimeout(
                f"Task run {self.run.record.run_name!r} did not end within {timeout:g} s."
            )
        result: R = self._state.result(raise_on_failure)
        return result

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
            if self._callbacks and callback in self._callbacks:
                self._callbacks.remove(callback)

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
            self._help = None
        for callback in callbacks or ():
            self._call(callback)
        return True

    def help(self) -> None:
        """Runs the task in this thread if it waits for one of the task runner's."""
        helper = self._help
        if helper is not None:
            helper()

    def _call(self, callback: Callable[[TaskFuture[R]], object]) -> None:
        try:
            callback(self)
        except Exception:
            _logger.exception("A done callback of task run %r raised.", self.run.record.run_name)

    def __await__(self) -> Generator[Any, None, R]:
        if self._state is None:
            from asyncio import get_running_loop  # noqa: PLC0415 - imported already by whoever awaits

            loop = get_running_loop()
            ended: Any = loop.create_future()

            def wake(_: object) -> None:
                if not ended.done():
                    ended.set_result(None)

            self.add_done_callback(lambda _: loop.call_soon_threadsafe(wake, None))
            yield from ended
        assert self._state is not None  # noqa: S101 - waited for
        result: R = self._state.result()
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
    """
    if timeout is None:
        for future in futures:
            future.help()
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
