"""Submitting tasks: the way from `task.submit` to a future that is done."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

from flowspan.config import get_config
from flowspan.core.engine import announce, never_run
from flowspan.core.run import current_run
from flowspan.core.states import CRASHED, State
from flowspan.core.values.inspection import is_instance
from flowspan.drivers.calls import sync
from flowspan.drivers.calls.attempt import BREAK_OFF_WAIT_S
from flowspan.drivers.calls.span_links import link_inputs
from flowspan.drivers.calls.start import announce_task, begin_task
from flowspan.drivers.futures.arguments import (
    given_upstream,
    has_upstream,
    pending_in,
    resolve_call,
)
from flowspan.drivers.futures.deadlock import check_needs
from flowspan.drivers.futures.future import TaskFuture
from flowspan.drivers.process import process_of
from flowspan.drivers.task_runners.threads import OpenTaskRunner
from flowspan.exceptions import CancelRun, DeadlinePassed, SelfDependency
from flowspan.logging.capture import note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextvars import Context

    from flowspan.core.definition import TaskDefinition
    from flowspan.core.run import Run
    from flowspan.drivers.calls.span_links import Mapped
    from flowspan.drivers.process import ProcessContext

_opening = threading.Lock()
_logger = logging.getLogger("flowspan.task_runners")
_SILENT_S = 0.5
"""Time that the exit of the program waits silently for submitted tasks."""
_CANCELLED = "The future of the run was cancelled."


def submit(
    task: TaskDefinition,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    wait_for: Iterable[Any] | None,
    mapped: Mapped | None = None,
) -> TaskFuture[Any]:
    """Begins a run of a task that is executed elsewhere: on a thread, or on a loop.

    Args:
        task: The task.
        args: The positional arguments; futures and states anywhere in them are resolved.
        kwargs: The keyword arguments, likewise.
        wait_for: Futures and states that are to complete before.
        mapped: For a run that `map` makes: its place among them.

    Returns:
        The future of the run. If the run cannot be handed to the runner, it has failed.

    Raises:
        CancelRun: The calling run was asked to cancel.
    """
    parent = current_run.get()
    process = process_of(parent)
    runner = _runner_for(process, parent)
    others = given_upstream(wait_for)
    needs = bool(others) or has_upstream(args, kwargs)
    run = begin_task(process, task, parent, args, kwargs, later=needs)
    if run.begin_error is not None and not is_instance(run.begin_error, Exception):
        never_run(run, process, run.begin_error)
        raise run.begin_error  # Ctrl-C in the function that makes the name
    if run.span is not None:
        link_inputs(run, task, args, kwargs, others, mapped)
    is_announced = not needs or task.run_name is None
    try:
        job = PendingRun(process, runner, run, task, args, kwargs)
    except BaseException as error:
        if not is_announced:
            announce(run, process)
        never_run(run, process, error)
        raise
    job.is_announced = is_announced
    future = job.future
    try:
        if needs:
            job.check_upstream(others)
        else:
            job.ready()
    except BaseException as error:
        # The run is announced and the runner waits for it: both need its end.
        job.fail(error)
        if not is_instance(error, Exception):
            raise
    return future


def _runner_for(process: ProcessContext, parent: Run | None) -> OpenTaskRunner:
    """What runs the tasks that are submitted here: the flow run's runner, or the process's."""
    owner: Any = process if parent is None or parent.flow_run is None else parent.flow_run
    runner: OpenTaskRunner | None = owner.task_runner
    if runner is None or runner.process_id != os.getpid():
        with _opening:
            runner = owner.task_runner
            if runner is None or runner.process_id != os.getpid():
                options = owner.definition.own_runner if owner is not process else None
                name = owner.record.run_name if owner is not process else "flowspan"
                runner = _opened(options, name)
                owner.task_runner = runner
                if owner is process or owner.is_inherited:
                    wait = partial(_wait_at_exit, runner)
                    _call_at_exit(wait)
                    if owner is process:
                        runner.starts_at_once = True
                        process.wait_at_exit = wait
    return runner


def _wait_at_exit(runner: OpenTaskRunner) -> None:
    """Wait for what was submitted outside of flows, and say so if that takes a while."""
    with suppress(KeyboardInterrupt):
        runner.wait(_SILENT_S)
        count = runner.outstanding
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
        runner.wait(patience_s)


def _call_at_exit(wait: Callable[[], None]) -> None:
    """Wait at the end of the process: what was submitted last would be lost with daemon threads."""
    atexit.register(wait)
    util, process = (sys.modules.get(f"multiprocessing.{name}") for name in ("util", "process"))
    if util is not None and process is not None and process.parent_process() is not None:
        # Children of multiprocessing run no atexit handlers. Before the reporter, which has 0.
        util.Finalize(None, wait, exitpriority=1)


def _opened(options: Any, name: str) -> OpenTaskRunner:
    if options is not None:
        runner: OpenTaskRunner = options.open(name)
        return runner
    return OpenTaskRunner(get_config().task_runner_thread_pool_max_workers, name)


class PendingRun:
    """A submitted run on its way."""

    __slots__ = (
        "args",
        "context",
        "future",
        "has_begun",
        "is_announced",
        "kwargs",
        "process",
        "run",
        "runner",
        "task",
        "ticket",
        "upstream",
        "waiting",
    )

    def __init__(
        self,
        process: ProcessContext,
        runner: OpenTaskRunner,
        run: Run,
        task: TaskDefinition,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self.process = process
        self.runner = runner
        self.run = run
        run.is_submitted = True
        self.task = task
        self.args = args
        self.kwargs = kwargs
        self.context: Context = copy_context()
        self.future: TaskFuture[Any] = TaskFuture(run, self)
        self.upstream: tuple[Any, ...] | None = None
        self.waiting: list[None] = []
        # Whoever takes the ticket runs the task; taking it out of the list is atomic.
        self.ticket = [None]
        self.has_begun = False
        # One whose name is made of results that are not there yet is announced when they are.
        self.is_announced = True
        runner.expect()
        # It can be cancelled apart from its caller. At the end, for Ctrl-C may come anywhere here:
        # what is cancelled with its caller is complete, and is expected to settle.
        run.scope = run.scope.child(self._interrupt)

    def check_upstream(self, wait_for: tuple[Any, ...]) -> None:
        """Makes the job ready once all that it needs has ended."""
        self.upstream = wait_for
        missing = pending_in(self.args, self.kwargs, wait_for)
        if not missing:
            self.ready()
            return
        self.future.needs = missing
        try:
            check_needs(self.run, self.future.needs)
        except SelfDependency as error:
            self.future.needs = ()
            self.run.begin_error = error
            self.upstream = None
            self.ready()
            return
        # One more than there are futures, so that the last is not reached before all are told.
        self.waiting = [None] * (len(missing) + 1)
        for future in missing:
            future.add_done_callback(self._one_done)
        self._one_done(None)

    def fail(self, error: BaseException) -> None:
        """End the run, which nothing executes, unless another thread has begun it."""
        if self._take():
            self._finish(self._never_run(error))

    def _one_done(self, _: object) -> None:
        waiting = self.waiting
        waiting.pop()
        # Two threads may see the list empty; then the ticket decides.
        if waiting:
            return
        try:
            if any(future.state.holds_upstream for future in self.future.needs):
                self._look_again(waiting)
            else:
                self.ready()
        except Exception as error:  # noqa: BLE001 - no thread to be had, in most cases
            self.fail(error)

    def _look_again(self, waiting: list[None]) -> None:
        """Wait for the futures in the results of those that it waited for, if there are any."""
        with _opening:
            if self.waiting is not waiting:  # another thread does
                return
            self.waiting = [None]
        self.check_upstream(self.upstream or ())

    def ready(self) -> None:
        """Gives the job to a thread or a loop."""
        if not self.ticket:  # it was cancelled
            return
        if self.task.is_async and not self.runner.is_remote:
            self.runner.put_async(self._run_async, self.context, self._ensure_finished)
        else:
            self.runner.put(self._run_on_thread)

    def help(self) -> None:
        """Runs the job here if this is the pool's thread: a full pool must not wait for itself."""
        if self.task.is_async or self.runner.is_remote:
            return
        if not self.waiting and self.runner.owns_this_thread():
            self._run_on_thread()

    def cancel(self) -> bool:
        """Stops the run: it never begins, or is told to end; False if it has ended."""
        if self.future.done():
            return False
        self.run.scope.cancel(_CANCELLED)
        if self._take():
            self._finish(self._never_run(CancelRun(_CANCELLED)))
        return True

    def _interrupt(self) -> None:
        """End the run if it has not begun; else break off what it awaits."""
        # A flow that is cancelled or broken off waits for it, and a bounded pool may have no thread
        # for long. At a deadline nothing waits, and the pool ends it in its turn.
        if not self.run.scope.deadline_of and self._take():
            self._finish(self._never_run(self._stop_signal()))
            return
        task: Any = self.run.asyncio_task

        def cancel() -> None:
            # What comes after the end of the run, its last hooks, is not to be broken off.
            if not self.future.done() and not self.run.state.is_final():
                task.cancel()

        if task is not None:
            with suppress(RuntimeError):  # the loop was closed
                task.get_loop().call_soon_threadsafe(cancel)

    def _stop_signal(self) -> BaseException:
        try:
            self.run.scope.check()
        except (CancelRun, DeadlinePassed) as stop:
            return stop
        return CancelRun(_CANCELLED)

    def _run_on_thread(self) -> None:
        if self._take():
            self.context.run(self._run)

    def _take(self) -> bool:
        try:
            self.ticket.pop()
        except IndexError:
            return False
        return True

    def _run(self) -> None:
        try:
            error = self._prepare()
            fn = self.runner.function_for(self.task)
            state = sync.drive(self.process, self.run, fn, self.args, self.kwargs, error)
        except BaseException as error:  # noqa: BLE001 - whoever waits for it must not wait for ever
            state = self._broken_off(error)
        self._finish(state)

    async def _run_async(self) -> None:
        if not self._take():
            return
        self.has_begun = True
        from asyncio import current_task  # noqa: PLC0415 - measured start-up cost

        from flowspan.drivers.calls import aio  # noqa: PLC0415 - imports asyncio

        # Before it is looked whether the run was cancelled: later, this is what is interrupted.
        self.run.asyncio_task = current_task()
        try:
            error = self._prepare()
            state = await aio.drive(
                self.process, self.run, self.task.fn, self.args, self.kwargs, error
            )
        except GeneratorExit:
            raise
        except BaseException as stop:  # noqa: BLE001 - what its hooks raise must not end the loop
            state = self._broken_off(stop)
        self._finish(state)

    def _ensure_finished(self) -> None:
        """Sees to it that the future is done, however the coroutine ended."""
        if self.future.done():
            return
        stop = CancelRun(self.run.scope.reason or "Its event loop was closed.")
        if not self.has_begun:
            # It was cancelled before its first step; but `cancel` finishes what it has taken.
            if self._take():
                self._finish(self._never_run(stop))
        elif self.run.state.is_final():
            self._finish(self._broken_off(stop))
        else:  # it was closed; the engine has reported that
            self._finish(State(CRASHED, message=str(stop), data=stop, run_id=self.run.record.id))

    def _broken_off(self, error: BaseException) -> State:
        """How a run ended that the driver gave up: perhaps only its hooks were broken off."""
        if not self.run.state.is_final():
            return self._never_run(error)
        note(self.run, logging.ERROR, "Its hooks were broken off.", error)
        return self.run.state

    def _prepare(self) -> BaseException | None:
        """Resolves the arguments; what is in the way if the function is not to be called."""
        self.future.started = True
        try:
            self.run.scope.check()
        except (CancelRun, DeadlinePassed) as stop:
            self._announce()
            return stop
        error = None
        if self.upstream is not None:
            self.args, self.kwargs, error = resolve_call(self.args, self.kwargs, self.upstream)
        if not self.is_announced:
            if error is None and self.run.begin_error is None:
                self.is_announced = True
                announce_task(self.process, self.run, self.args, self.kwargs)
            else:
                self._announce()
        return self.run.begin_error if error is None else error

    def _never_run(self, error: BaseException) -> State:
        self._announce()
        return never_run(self.run, self.process, error)

    def _announce(self) -> None:
        """Announce the run under its default name, if it was not announced yet."""
        if not self.is_announced:
            self.is_announced = True
            announce(self.run, self.process)

    def _finish(self, state: State) -> None:
        # Nothing of the run is kept alive by what only asks for its state.
        self.run.release()
        del self.args, self.kwargs, self.context
        self.run.scope.close()
        try:
            self.future.finish(state)
        finally:  # a callback may ask the interpreter to exit
            self.runner.settled()
