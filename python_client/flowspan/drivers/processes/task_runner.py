"""The running side of a ProcessPoolTaskRunner."""

from __future__ import annotations

import contextlib
import inspect
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from flowspan import telemetry
from flowspan.core import waits
from flowspan.core.definition import TaskDefinition
from flowspan.core.failures import CARRIED_TRACE, summary, trace_text
from flowspan.core.pickling import EditedError
from flowspan.core.run import current_run
from flowspan.core.stand_in import is_stand_in
from flowspan.drivers.calls.attempt import timed_out
from flowspan.drivers.calls.start import current_tags
from flowspan.drivers.process import process_of
from flowspan.drivers.processes import pickling
from flowspan.drivers.processes.pipe_messages import Call
from flowspan.drivers.processes.pool import WorkerPool
from flowspan.drivers.processes.run_snapshot import dump_flow_run, dump_task_run
from flowspan.drivers.sync_async_bridge import run_coroutine
from flowspan.drivers.task_runners.reserving import ReservingCall
from flowspan.drivers.task_runners.threads import RunningThreads
from flowspan.exceptions import DeadlinePassed, NotPortable
from flowspan.logging.capture import note

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.core.run import Run
    from flowspan.drivers.processes.worker_handle import Answer, WorkerHandle
    from flowspan.drivers.task_runners.protocol import SubmittedTask


class RunningProcesses(RunningThreads):
    """A task runner that runs submitted tasks, sync and async, in worker processes.

    Each active run is driven by a thread of this process, which calls the function in a worker.

    Args:
        max_workers: The maximum number of concurrent tasks, each in a process.
        name: The prefix of the names of threads.
        initializer: Called in each worker before its first task; None for none.
        initargs: Its arguments.
    """

    def __init__(
        self,
        max_workers: int,
        name: str,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        super().__init__(max_workers, name)
        self._initializer = initializer, initargs
        self.workers = WorkerPool()
        self._functions: dict[TaskDefinition, bytes] = {}
        """The pickled functions that are sent by name, and so stay the same."""
        self._flow_run: tuple[Run, bytes] | None = None

    def function_for(self, task: SubmittedTask) -> Callable[..., Any]:
        """Return a function that calls the task in a worker, or its mock in this process."""
        assert isinstance(task, TaskDefinition)  # noqa: S101 - for mypy
        if is_stand_in(task.fn):
            return partial(_call_here, task.fn)
        return RemoteCall(self, task)

    def dump_initializer(self) -> tuple[bytes, bytes] | None:
        """Pickle the initializer and its arguments; return None if there is no initializer.

        Raises:
            NotPortable: They cannot be pickled.
        """
        function, arguments = self._initializer
        if function is None:
            return None
        who = "The initializer of the task runner"
        return (
            pickling.dump_function(who, function)[0],
            pickling.dump_call(who, function, arguments, {}),
        )

    def dump_function(self, task: TaskDefinition) -> bytes:
        """Return the pickled function of a task."""
        data = self._functions.get(task)
        if data is None:
            who = f"Task {task.name!r}"
            data, is_constant = pickling.dump_function(who, task.fn, task.code.text)
            if is_constant:
                self._functions[task] = data
        return data

    def dump_again(self, run: Run, task: TaskDefinition, module: str) -> bytes:
        """Pickle a task's function again if its module was edited after this process imported it.

        If that fails, the function is sent by name anyway, and the run's log says so.

        Raises:
            NotPortable: It cannot be pickled, and its result would get the old code's cache key.
        """
        who = f"Task {task.name!r}"
        try:
            data = pickling.dump_function_by_value(who, task.fn, module)
        except NotPortable as error:
            edited = f"Module {module!r} was edited after this program imported it"
            if run.result_handler is not None:
                raise NotPortable(f"{edited}. Restart the program. {error}") from None
            message = f"{edited}, and worker processes run the edited {task.name!r}. {error}"
            note(run, logging.WARNING, message)
            data, _ = pickling.dump_function(who, task.fn)
        self._functions[task] = data
        return data

    def dump_flow_run(self, run: Run) -> bytes:
        """Return the pickled flow run, for a worker that does not have it."""
        if self._flow_run is None or self._flow_run[0] is not run:
            self._flow_run = run, dump_flow_run(run)
        return self._flow_run[1]

    def close(self) -> None:
        """End the threads and the workers."""
        super().close()
        self.workers.close()


def _call_here(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    value = fn(*args, **kwargs)
    return run_coroutine(value) if inspect.iscoroutine(value) else value


class RemoteCall(ReservingCall):
    """A stand-in for the function of a task that calls it in a worker process.

    Args:
        runner: The task runner with the workers.
        task: The task.

    Attributes:
        keeps_deadline: True, as it enforces the run's timeout itself.
    """

    keeps_deadline = True

    def __init__(self, runner: RunningProcesses, task: TaskDefinition) -> None:
        self._runner = runner
        self._task = task
        self._worker: WorkerHandle | None = None
        """The worker that is reserved for the next call."""
        self._problem: BaseException | None = None
        """The reason why none could be reserved; the next call raises it."""

    def reserve(self, run: Run) -> None:
        """Reserve a worker for the next call; wait for its start. An error is raised by the call.

        Args:
            run: The run.
        """
        if run.scope.cancelled or (self._worker is not None and self._worker.is_alive()):
            return
        self.release()
        self._problem = None
        if run.span is not None:
            run.span.waits_for(waits.PROCESS, process_of(run).now_ns())
        try:
            self._worker = self._runner.workers.take(process_of(run))
        except Exception as error:  # noqa: BLE001 - the attempt fails with it
            self._problem = error

    def release(self) -> None:
        """Give back a worker that was reserved and not needed."""
        worker, self._worker = self._worker, None
        if worker is not None:
            self._runner.workers.give_back(worker)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function with these arguments in a worker.

        Raises:
            BaseException: An error of the function.
            NotPortable: The function, its arguments or its result cannot be sent.
            RunTimeout: It took longer than timeout_seconds.
            WorkerProcessDied: The process ended before the function did.
            CancelRun: The run was cancelled.
        """
        run = current_run.get()
        assert run is not None  # noqa: S101 - called by a driver, in a run
        who = f"Task {self._task.name!r}"
        fn = self._runner.dump_function(self._task)
        payload = pickling.dump_call(who, self._task.fn, args, kwargs)
        del args, kwargs
        is_error, outcome = self._outcome(run, who, fn, payload)
        if is_error and type(outcome) is EditedError:
            fn = self._runner.dump_again(run, self._task, outcome.module)
            is_error, outcome = self._outcome(run, who, fn, payload)
        if is_error:
            raise outcome
        return outcome

    def _outcome(self, run: Run, who: str, fn: bytes, payload: bytes) -> tuple[bool, Any]:
        run.scope.check()
        problem, self._problem = self._problem, None
        if problem is not None:
            raise problem
        worker, self._worker = self._worker, None
        if worker is None:
            worker = self._runner.workers.take(process_of(run))
        try:
            answer = self._call(worker, run, fn, payload)
        finally:
            self._runner.workers.give_back(worker)
        if answer.is_late:
            raise _late(run, answer, worker)
        return answer.is_error, pickling.load_result(who, answer.payload or b"")

    def _call(self, worker: WorkerHandle, run: Run, fn: bytes, payload: bytes) -> Answer:
        flow_run = run.flow_run
        assert flow_run is not None  # noqa: S101 - a runner is opened for a flow run
        key = flow_run.record.id
        call = Call(
            fn=fn,
            is_async=self._task.is_async,
            who=f"Task {self._task.name!r}",
            run=dump_task_run(run),
            flow_run=(
                None if worker.known_flow_run == key else self._runner.dump_flow_run(flow_run)
            ),
            flow_run_key=key,
            tags=current_tags.get(),
            carrier=telemetry.inject() if run.span is not None else None,
            initializer=None if worker.is_initialized else self._runner.dump_initializer(),
        )
        answer = worker.call(call, payload, run)
        if not answer.is_error:  # otherwise the initializer may have raised
            worker.is_initialized = True
        return answer


def _late(run: Run, answer: Answer, worker: WorkerHandle) -> BaseException:
    """Return the timeout error of a run, with the interrupted location as its traceback."""
    error = timed_out(run)
    if answer.payload is None:
        message = (
            "The function did not stop at its deadline: "
            f"its worker process {worker.pid} was killed."
        )
        note(run, logging.WARNING, message)
        return error
    with contextlib.suppress(Exception):  # a late answer may be anything
        passed = pickling.loads(answer.payload)
        if isinstance(passed, DeadlinePassed):
            frames = trace_text(passed).rstrip().rpartition("\n")[0]
            error.__dict__[CARRIED_TRACE] = f"{frames}\n{summary(error)}\n"
    return error
