"""Futures of submitted tasks."""

from __future__ import annotations

import logging
import os
import threading
from types import BuiltinMethodType, MethodType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Protocol, TypeVar

from flowspan.core.run import current_run
from flowspan.core.states import PENDING, RUNNING, State
from flowspan.drivers.cancellation.safe_points import block
from flowspan.drivers.cancellation.scope import add_wait, remove_wait
from flowspan.drivers.futures.deadlock import waiting_for
from flowspan.exceptions import RunTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from uuid import UUID

    from flowspan.core.run import Run

R = TypeVar("R")


class Submitted(Protocol):
    """The execution of a run, as seen by its future."""

    def help(self) -> None:
        """Run it in this thread, if that runs tasks of the same flow and no other has taken it."""

    def cancel(self) -> bool:
        """Cancel it; return False if it has already ended."""


_logger = logging.getLogger("flowspan.futures")
# Guards the callbacks of all futures. Held briefly, and never while a callback runs. Re-entrant,
# because a garbage-collected generator ends its run in whatever thread collects it.
_lock = threading.RLock()
_METHODS = (MethodType, BuiltinMethodType)


class TaskFuture(Generic[R]):
    """The run of a submitted task, and its outcome.

    You can wait for it (`wait`, `result`), await it (for the result), and pass it to other tasks
    and flows, which begin when it has ended and get its result.
    """

    __slots__ = ("__weakref__", "_callbacks", "_pending", "_state", "needs", "run", "started")

    def __init__(self, run: Run, pending: Submitted | None = None) -> None:
        """Create a future; called by `task.submit`.

        Args:
            run: The run.
            pending: Its execution; None if it cannot be helped or cancelled.
        """
        self.run = run
        self.started = False
        self.needs: tuple[TaskFuture[Any], ...] = ()
        """The futures that must end before it begins."""
        self._pending = pending
        self._state: State | None = None
        self._callbacks: list[Callable[[TaskFuture[R]], object]] | None = None

    @property
    def task_run_id(self) -> UUID:
        """The id of the task run."""
        return self.run.id

    @property
    def state(self) -> State:
        """The terminal state; before the end, Pending or Running."""
        if self._state is not None:
            return self._state
        state = State(RUNNING if self.started else PENDING, run_id=self.run.record.id)
        state.flow_run_id = self.run.record.flow_run_id
        return state

    def done(self) -> bool:
        """Return True if the run has ended."""
        return self._state is not None

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the run has ended, or until the timeout.

        Args:
            timeout: In seconds; None waits without a limit.

        Raises:
            CancelRun: The waiting run was cancelled in the meantime.
            SelfDependency: It cannot end before the waiting run does.
        """
        if self._state is None:
            wait_until_done((self,), timeout)

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> R:  # noqa: FBT001, FBT002 - Prefect's signature
        """Wait for the result of the task and return it.

        Args:
            timeout: In seconds; None waits without a limit.
            raise_on_failure: True raises the exception of a run that did not complete; False
                returns it.

        Raises:
            RunTimeout: The timeout passed; the run continues. It is a TimeoutError.
            CancelRun: The waiting run was cancelled in the meantime.
            SelfDependency: It cannot end before the waiting run does.
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
        """Ask the run to stop, and return at once; `wait` waits for its end.

        A run that has not begun never begins. An async run is cancelled at its next await. A sync
        run is not interrupted in the middle of its code, except in a worker process: it stops where
        it waits for a future or a retry, and at its next call of a task or flow. Its nested and
        submitted runs are stopped in the same way. A stopped run is Cancelled, and `result` raises
        CancelRun.

        May be called from any thread, and from coroutines.

        Returns:
            True if the request was made; False if the run had already ended.
        """
        pending = self._pending
        return pending is not None and pending.cancel()

    def add_done_callback(self, callback: Callable[[TaskFuture[R]], object]) -> None:
        """Call a function with this future when the run has ended; at once if it already has.

        The function runs in the thread in which the run ended. Its exceptions are logged.
        """
        with _lock:
            if self._state is None:
                if self._callbacks is None:
                    self._callbacks = []
                self._callbacks.append(callback)
                return
        self._call(callback)

    def remove_done_callback(self, callback: Callable[[TaskFuture[R]], object]) -> None:
        """Remove a callback, if it is there."""
        with _lock:
            for index, known in enumerate(self._callbacks or ()):
                # Bound methods are new objects on each access. Other callables may override `==`.
                if known is callback or (type(known) in _METHODS and known == callback):
                    del self._callbacks[index]  # type: ignore[union-attr] # not None here
                    return

    def finish(self, state: State) -> bool:
        """Store the terminal state. For the task runner; only the first call has an effect.

        Returns:
            True if this was the first call.
        """
        with _lock:
            if self._state is not None:
                return False
            self._state = state
            callbacks, self._callbacks = self._callbacks, None
            self._pending, self.needs = None, ()
        stop: BaseException | None = None
        for callback in callbacks or ():
            try:
                self._call(callback)
            except BaseException as raised:  # noqa: BLE001 - the other callbacks must run, too
                stop = raised
        if stop is not None:
            raise stop
        return True

    def help(self) -> None:
        """Run the task in this thread, if it waits for a thread of the task runner."""
        pending = self._pending
        if pending is not None:
            pending.help()

    def _call(self, callback: Callable[[TaskFuture[R]], object]) -> None:
        try:
            callback(self)
        except Exception:
            _logger.exception("A done callback of task run %r raised.", self.run.record.run_name)

    def __await__(self) -> Generator[Any, None, R]:
        if self._state is None:
            from flowspan.drivers.futures.awaiting import until_done  # noqa: PLC0415 - imports asyncio

            yield from until_done((self,)).__await__()
        assert self._state is not None  # noqa: S101 - set when the future is done
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
    """Block until all futures are done, or until the timeout.

    Raises:
        CancelRun: The waiting run was cancelled in the meantime.
        SelfDependency: One of the futures cannot end before the waiting run does.
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
    add_wait(run, wake, wake.set)
    try:
        block(wake, timeout)
    finally:
        remove_wait(run, wake)
        for future in missing:
            future.remove_done_callback(one_done)
    if left:
        run.scope.check()


def _renew_lock() -> None:
    """Replace the lock in a forked child: a thread of the parent may have held it."""
    global _lock  # noqa: PLW0603 - one per process
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_renew_lock)
