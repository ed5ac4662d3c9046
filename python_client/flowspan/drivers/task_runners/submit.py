"""Submitting tasks: the path from `task.submit` to a completed future."""

from __future__ import annotations

import logging
from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from flowspan.core import waits
from flowspan.core.engine import announce, never_run
from flowspan.core.provenance import any_known
from flowspan.core.run import current_run
from flowspan.core.states import CRASHED, State
from flowspan.core.values.inspection import is_instance
from flowspan.drivers.calls import sync
from flowspan.drivers.calls.run_inputs import inputs_of
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
from flowspan.drivers.task_runners.reserving import ReservingCall
from flowspan.drivers.task_runners.submitted import (
    act_for,
    current_submitted,
    submitted_tasks_for,
)
from flowspan.exceptions import CancelRun, DeadlinePassed, SelfDependency
from flowspan.logging.capture import note

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextvars import Context

    from flowspan.core.definition import TaskDefinition
    from flowspan.core.events import RunInput
    from flowspan.core.run import Run
    from flowspan.drivers.calls.run_inputs import Mapped
    from flowspan.drivers.process import ProcessContext
    from flowspan.drivers.task_runners.submitted import SubmittedTasks

_CANCELLED = "The future of the run was cancelled."


def submit(
    task: TaskDefinition,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    wait_for: Iterable[Any] | None,
    mapped: Mapped | None = None,
) -> TaskFuture[Any]:
    """Begin a run of a task, and hand it to the task runner.

    Args:
        task: The task.
        args: The positional arguments; futures and states anywhere in them are resolved.
        kwargs: The keyword arguments; futures and states in them are resolved, too.
        wait_for: Futures and states that must complete first.
        mapped: The position of the run among those of a `map`; None without.

    Returns:
        The future of the run. If the run cannot be handed to the runner, it has failed.

    Raises:
        CancelRun: The calling run was cancelled.
        TypeError: The task runner of the flow opened something other than a running task runner.
    """
    parent = current_run.get()
    process = process_of(parent)
    submitted = submitted_tasks_for(process, parent)
    others = given_upstream(wait_for)
    needs = bool(others) or has_upstream(args, kwargs)
    found: tuple[RunInput, ...] = ()
    map_number = None if mapped is None else mapped.number
    if needs or any_known() or (mapped is not None and mapped.sources):
        found = inputs_of(task, args, kwargs, others, mapped)
    run = begin_task(
        process, task, parent, args, kwargs, inputs=found, map_number=map_number, later=needs
    )
    if run.begin_error is not None and not is_instance(run.begin_error, Exception):
        never_run(run, process, run.begin_error)
        raise run.begin_error  # Ctrl-C in the function that computes the name
    is_announced = not needs or task.run_name is None
    try:
        pending = SubmittedRun(process, submitted, run, task, args, kwargs)
    except BaseException as error:
        if not is_announced:
            announce(run, process)
        never_run(run, process, error)
        raise
    pending.is_announced = is_announced
    future = pending.future
    try:
        if needs:
            pending.check_upstream(others)
        else:
            pending.ready()
    except BaseException as error:
        # The run is announced, and the end of the flow waits for it.
        pending.fail(error)
        if not is_instance(error, Exception):
            raise
    return future


class SubmittedRun:
    """A submitted run from `submit` to its end."""

    __slots__ = (
        "args",
        "context",
        "future",
        "has_begun",
        "is_announced",
        "kwargs",
        "process",
        "ready_ns",
        "run",
        "submitted",
        "task",
        "ticket",
        "upstream",
        "waiting",
    )

    def __init__(
        self,
        process: ProcessContext,
        submitted: SubmittedTasks,
        run: Run,
        task: TaskDefinition,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self.process = process
        self.submitted = submitted
        self.run = run
        run.is_submitted = True
        self.task = task
        self.args = args
        self.kwargs = kwargs
        self.context: Context = copy_context()
        self.future: TaskFuture[Any] = TaskFuture(run, self)
        self.upstream: tuple[Any, ...] | None = None
        self.waiting: list[None] = []
        # The thread that takes the ticket runs the task; removing it from the list is atomic.
        self.ticket = [None]
        self.has_begun = False
        # The time when its upstream runs had ended; 0 while it waits for them.
        self.ready_ns = run.created_ns
        # If its name is computed from results of upstream runs, it is announced later.
        self.is_announced = True
        submitted.expect()
        # It can be cancelled separately from its caller. Last, as Ctrl-C may arrive anywhere here:
        # an object that is cancelled with its caller must be complete and counted.
        run.scope = run.scope.child(self._interrupt)

    def check_upstream(self, wait_for: tuple[Any, ...]) -> None:
        """Start the run once all upstream runs have ended."""
        self.upstream = wait_for
        missing = pending_in(self.args, self.kwargs, wait_for)
        if not missing:
            self.ready()
            return
        self.future.needs = missing
        self.ready_ns = 0
        try:
            check_needs(self.run, self.future.needs)
        except SelfDependency as error:
            self.future.needs = ()
            self.run.begin_error = error
            self.upstream = None
            self.ready()
            return
        # One more than there are futures, so that the list is empty only after all are registered.
        self.waiting = [None] * (len(missing) + 1)
        for future in missing:
            future.add_done_callback(self._one_done)
        self._one_done(None)

    def fail(self, error: BaseException) -> None:
        """End the run without executing it, unless another thread has begun it."""
        if self._take():
            self._finish(self._never_run(error))

    def _one_done(self, _: object) -> None:
        waiting = self.waiting
        waiting.pop()
        # Two threads may see the list empty; the ticket decides between them.
        if waiting:
            return
        try:
            if any(future.state.holds_upstream for future in self.future.needs):
                self._look_again(waiting)
            else:
                self.ready()
        except Exception as error:  # noqa: BLE001 - mostly, no thread can be started
            self.fail(error)

    def _look_again(self, waiting: list[None]) -> None:
        """Wait for the futures in the results of the upstream runs, if there are any."""
        with self.submitted.lock:
            if self.waiting is not waiting:  # another thread does it
                return
            self.waiting = [None]
        self.check_upstream(self.upstream or ())

    def ready(self) -> None:
        """Hand the run to the task runner."""
        if not self.ticket:  # it was cancelled
            return
        if not self.ready_ns:
            self.ready_ns = self.process.now_ns()
        submitted = self.submitted
        if self.task.is_async and submitted.function_for is None:
            submitted.coroutines.start_async(self._run_async, self.context, self._ensure_finished)
        else:
            submitted.running.start(self._run_on_thread)

    def help(self) -> None:
        """Run it here if this thread runs another task of the flow: a full pool would deadlock."""
        if self.task.is_async or self.submitted.function_for is not None:
            return
        if not self.waiting and current_submitted() is self.submitted:
            self._run_on_thread()

    def cancel(self) -> bool:
        """Cancel the run, before or after its start; return False if it has ended."""
        if self.future.done():
            return False
        self.run.scope.cancel(_CANCELLED)
        if self._take():
            self._finish(self._never_run(CancelRun(_CANCELLED)))
        return True

    def _interrupt(self) -> None:
        """End the run if it has not begun; otherwise interrupt its await."""
        # An interrupted flow waits for it, and a bounded pool may have no free thread for a while.
        # At a deadline the flow does not wait, and the pool ends it in its turn.
        if not self.run.scope.deadline_of and self._take():
            self._finish(self._never_run(self._stop_signal()))
            return
        task: Any = self.run.asyncio_task

        def cancel() -> None:
            # The hooks after the end of the run are not interrupted.
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
            before = current_submitted()
            act_for(self.submitted)
            try:
                self.context.run(self._run)
            finally:
                act_for(before)

    def _take(self) -> bool:
        try:
            self.ticket.pop()
        except IndexError:
            return False
        return True

    def _run(self) -> None:
        try:
            error = self._prepare()
            function_for = self.submitted.function_for
            fn = self.task.fn if function_for is None else function_for(self.task)
            if is_instance(fn, ReservingCall):
                fn.attach(self.run)
            state = sync.drive(self.process, self.run, fn, self.args, self.kwargs, error)
        except BaseException as error:  # noqa: BLE001 - the future must be completed
            state = self._broken_off(error)
        self._finish(state)

    async def _run_async(self) -> None:
        if not self._take():
            return
        self.has_begun = True
        from asyncio import current_task  # noqa: PLC0415 - measured start-up cost

        from flowspan.drivers.calls import aio  # noqa: PLC0415 - imports asyncio

        # Before the check for cancellation: from here on, a cancellation interrupts this task.
        self.run.asyncio_task = current_task()
        try:
            error = self._prepare()
            state = await aio.drive(
                self.process, self.run, self.task.fn, self.args, self.kwargs, error
            )
        except GeneratorExit:
            raise
        except BaseException as stop:  # noqa: BLE001 - errors of its hooks must not end the loop
            state = self._broken_off(stop)
        self._finish(state)

    def _ensure_finished(self) -> None:
        """Complete the future, however the coroutine ended."""
        if self.future.done():
            return
        stop = CancelRun(self.run.scope.reason or "Its event loop was closed.")
        if not self.has_begun:
            # It was cancelled before its first step. If `cancel` took the ticket, it finishes it.
            if self._take():
                self._finish(self._never_run(stop))
        elif self.run.state.is_final():
            self._finish(self._broken_off(stop))
        else:  # it was closed; the engine has reported that
            self._finish(State(CRASHED, message=str(stop), data=stop, run_id=self.run.record.id))

    def _broken_off(self, error: BaseException) -> State:
        """Return the last state of a run that the driver abandoned, perhaps only in its hooks."""
        if not self.run.state.is_final():
            return self._never_run(error)
        note(self.run, logging.ERROR, "Its hooks were interrupted.", error)
        return self.run.state

    def _prepare(self) -> BaseException | None:
        """Resolve the arguments; return an error if the function must not be called."""
        self.future.started = True
        self._record_waits()
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

    def _record_waits(self) -> None:
        """Record in the span what the run has waited for, before its code begins."""
        run = self.run
        if run.span is None:
            return
        if not self.ready_ns:
            run.span.waits_for(waits.INPUT, run.created_ns)
            return
        if self.ready_ns > run.created_ns:
            run.span.waits_for(waits.INPUT, run.created_ns)
        is_called_here = self.submitted.function_for is None
        run.span.waits_for(waits.THREAD if is_called_here else waits.PROCESS, self.ready_ns)
        if run.stages.before_run or self.upstream is not None:
            # Reading results may take a while.
            run.span.waits_for(waits.NOTHING, self.process.now_ns())

    def _never_run(self, error: BaseException) -> State:
        if not self.future.started:
            self._record_waits()
        self._announce()
        return never_run(self.run, self.process, error)

    def _announce(self) -> None:
        """Announce the run under its default name, if it was not announced yet."""
        if not self.is_announced:
            self.is_announced = True
            announce(self.run, self.process)

    def _finish(self, state: State) -> None:
        # References to the future must not keep the objects of the run alive.
        self.run.release()
        del self.args, self.kwargs, self.context
        self.run.scope.close()
        try:
            self.future.finish(state)
        finally:  # a callback may ask the interpreter to exit
            self.submitted.settled()
