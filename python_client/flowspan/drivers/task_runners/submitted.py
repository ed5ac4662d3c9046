"""The submitted tasks of a flow run, and the task runner that was opened for them."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from flowspan.config import get_config
from flowspan.core.values.inspection import shown
from flowspan.drivers.calls.attempt import BREAK_OFF_WAIT_S
from flowspan.drivers.cancellation.safe_points import block
from flowspan.drivers.task_runners.protocol import (
    CallsRemotely,
    Cancellable,
    RunningTaskRunner,
    RunsCoroutines,
)
from flowspan.drivers.task_runners.threads import RunningThreads

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.core.run import Run
    from flowspan.drivers.process import ProcessContext
    from flowspan.drivers.task_runners.protocol import TaskRunner

_opening = threading.Lock()
"""Held while a task runner is opened, so that each flow run opens only one."""
_logger = logging.getLogger("flowspan.task_runners")
_SILENT_S = 0.5
"""Time that the exit of the program waits silently for submitted tasks."""


class SubmittedTasks:
    """The submitted tasks of a flow run that have not ended, and their running task runner.

    Attributes:
        running: The running task runner.
        coroutines: The runner of asynchronous tasks: the same one, if it can run them.
        function_for: Returns the function that calls a task elsewhere; None if tasks are called on
            the threads of `start`.
        lock: Guards its state; held for moments.
        process_id: The process in which it was opened. After a fork, a child opens another.

    Args:
        running: The running task runner.
        name: The prefix of the names of threads.
    """

    __slots__ = (
        "_closing",
        "_outstanding",
        "_when_done",
        "coroutines",
        "function_for",
        "lock",
        "process_id",
        "running",
    )

    def __init__(self, running: RunningTaskRunner, name: str) -> None:
        self.process_id = os.getpid()
        self.running = running
        self.lock = threading.Lock()
        self._outstanding = 0
        self._when_done: list[Callable[[], object]] = []
        self._closing = False
        self.function_for = running.function_for if isinstance(running, CallsRemotely) else None
        self.coroutines: RunsCoroutines = (
            running if isinstance(running, RunsCoroutines) else RunningThreads(None, name)
        )

    @property
    def is_busy(self) -> bool:
        """True if submitted tasks have not ended."""
        return self._outstanding > 0

    @property
    def outstanding(self) -> int:
        """The number of submitted tasks that have not ended."""
        return self._outstanding

    def expect(self) -> None:
        """Count a submitted task, for which `settled` must be called."""
        with self.lock:
            self._outstanding += 1

    def settled(self) -> None:
        """Record the end of a submitted task."""
        with self.lock:
            self._outstanding -= 1
            if self._outstanding:
                return
            callbacks, self._when_done = self._when_done, []
            is_over = self._closing
        for callback in callbacks:
            callback()
        if is_over:
            self._close()

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until all submitted tasks have ended, or until the timeout passes."""
        ended = threading.Event()
        self.call_when_done(ended.set)
        block(ended, timeout_s)

    def call_when_done(self, callback: Callable[[], object]) -> None:
        """Call a function once when all submitted tasks have ended; at once if they have."""
        with self.lock:
            if self._outstanding:
                self._when_done.append(callback)
                return
        callback()

    def cancel(self) -> None:
        """Interrupt the running tasks, as far as the task runner can."""
        for each in self._runners:
            if isinstance(each, Cancellable):
                _call_or_log(each.cancel)

    def close(self) -> None:
        """Close the task runner once all submitted tasks have ended."""
        with self.lock:
            self._closing = True
            if self._outstanding:
                return
        self._close()

    def _close(self) -> None:
        for each in self._runners:
            _call_or_log(each.close)

    @property
    def _runners(self) -> tuple[RunningTaskRunner, ...]:
        if isinstance(self.coroutines, RunningThreads) and self.coroutines is not self.running:
            return self.running, self.coroutines
        return (self.running,)


def _call_or_log(function: Callable[[], None]) -> None:
    try:
        function()
    except Exception:
        _logger.exception("A method of the task runner failed: %r.", function)


_here = threading.local()
"""Thread-local: the submitted tasks to which the thread's current task belongs."""


def current_submitted() -> SubmittedTasks | None:
    """Return the submitted tasks to which the calling thread's task belongs; see `act_for`."""
    return getattr(_here, "submitted", None)


def act_for(submitted: SubmittedTasks | None) -> None:
    """Set the submitted tasks for which the calling thread acts.

    A thread that waits for another of these tasks may run that task itself.
    """
    _here.submitted = submitted


def submitted_tasks_for(process: ProcessContext, parent: Run | None) -> SubmittedTasks:
    """Return the submitted tasks of the flow run, or of the process; open its task runner first.

    Args:
        process: The process context.
        parent: The calling run; None outside of runs.

    Raises:
        TypeError: The task runner of the flow opened something other than a running task runner.
    """
    owner: Any = process if parent is None or parent.flow_run is None else parent.flow_run
    submitted: SubmittedTasks | None = owner.task_runner
    if submitted is None or submitted.process_id != os.getpid():
        with _opening:
            submitted = owner.task_runner
            if submitted is None or submitted.process_id != os.getpid():
                submitted = _open_for(owner, is_process=owner is process)
                owner.task_runner = submitted
                if owner is process or owner.is_inherited:
                    wait = partial(_wait_at_exit, submitted)
                    _call_at_exit(wait)
                    if owner is process:
                        process.wait_at_exit = wait
    return submitted


def _open_for(owner: Any, *, is_process: bool) -> SubmittedTasks:
    options: TaskRunner | None = None if is_process else owner.definition.own_runner
    name: str = "flowspan" if is_process else owner.record.run_name
    if options is None:
        bound = get_config().task_runner_thread_pool_max_workers
        # Outside of flows, the program may be at its end right after it has submitted.
        running: RunningTaskRunner = RunningThreads(bound, name, starts_at_once=is_process)
        return SubmittedTasks(running, name)
    running = options.open(name)
    if not isinstance(running, RunningTaskRunner):
        raise TypeError(
            f"{type(options).__name__}.open() must return a running task runner, with the methods "
            f"start(call) and close(), not {shown(running)}. "
            "See flowspan.task_runners.RunningTaskRunner."
        )
    return SubmittedTasks(running, name)


def _wait_at_exit(submitted: SubmittedTasks) -> None:
    """Wait for tasks submitted outside of flows, with a warning if that takes a while."""
    with suppress(KeyboardInterrupt):
        submitted.wait(_SILENT_S)
        count = submitted.outstanding
        if not count:
            return
        was_interrupted = isinstance(getattr(sys, "last_value", None), KeyboardInterrupt)
        patience_s = BREAK_OFF_WAIT_S if was_interrupted else None
        _logger.warning(
            "The program ends %s: %d submitted task run%s not ended. Ctrl-C ends it at once.",
            "when its tasks have ended" if patience_s is None else f"in {patience_s:g} s at most",
            count,
            " has" if count == 1 else "s have",
        )
        submitted.wait(patience_s)


def _call_at_exit(wait: Callable[[], None]) -> None:
    """Wait at the end of the process, as daemon threads would lose the last submitted tasks."""
    atexit.register(wait)
    util, process = (sys.modules.get(f"multiprocessing.{name}") for name in ("util", "process"))
    if util is not None and process is not None and process.parent_process() is not None:
        # Children of multiprocessing run no atexit handlers. Before the reporter, which has 0.
        util.Finalize(None, wait, exitpriority=1)


def _renew_lock() -> None:
    """Replace the lock in a forked child: a thread that the child does not have may hold it."""
    global _opening  # noqa: PLW0603 - one per process
    _opening = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)
