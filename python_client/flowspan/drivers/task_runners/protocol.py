"""The protocol of task runners, for `.submit()` and `.map()`.

A task runner needs two methods once it runs, `start` and `close`. flowspan does the rest in its own
code: states, retries, waiting for inputs, counting the outstanding tasks, cancellation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextvars import Context


class TaskRunner(Protocol):
    """A task runner, as `@flow(task_runner=…)` takes it.

    One object serves all runs of its flow, also concurrent ones: it holds options, and `open`
        creates the running task runner of one flow run.
    """

    def open(self, name: str) -> RunningTaskRunner:
        """Return a running task runner for one flow run.

        Called in the thread of the first `.submit()` or `.map()` of a flow run, and again for each
        retry of the run. A flow run that submits nothing opens none. An error is raised by that
        call of `.submit()` or `.map()`.

        Args:
            name: The name of the flow run, for the names of threads.
        """


@runtime_checkable
class RunningTaskRunner(Protocol):
    """A task runner that was opened for one flow run.

    It may also have the methods of `RunsCoroutines`, `Cancellable` and `CallsRemotely`. flowspan
    looks for them once, right after `open`. Its own state must be thread-safe: tasks submit tasks.
    """

    def start(self, call: Callable[[], None]) -> None:
        """Call a function soon, once, on another thread than the calling one. Must not block.

        May be called in any thread, also at the same time in several. The calls may run in any
        order, and concurrently.

        Args:
            call: Executes one submitted task run: its attempts, retries, hooks and states. Does not
                raise. It may do nothing, if the run was cancelled in the meantime.

        Raises:
            Exception: The call cannot be started, now or later: the task run fails with it.
        """

    def close(self) -> None:
        """Release threads and other resources. Must not block.

        Called once, after the last started call has ended; in any thread, perhaps in one that
        `start` has used. No method is called afterwards. Its errors are logged.
        """


@runtime_checkable
class RunsCoroutines(Protocol):
    """The option of a running task runner to run asynchronous tasks.

    Without it, they run on event loops in threads of flowspan.
    """

    def start_async(
        self,
        call: Callable[[], Coroutine[Any, Any, None]],
        context: Context,
        at_end: Callable[[], None],
    ) -> None:
        """Run a coroutine soon, once, on the event loop of another thread. Must not block.

        May be called in any thread. Do not use the flow's own loop: a flow that blocks on
        `future.result()` would deadlock with the task that it waits for.

        Args:
            call: Creates the coroutine of one submitted task run. The coroutine does not raise,
                except for the cancellation of its asyncio task.
            context: The context in which the coroutine runs.
            at_end: Must be called when the coroutine has ended, also if it was cancelled before its
                first step.

        Raises:
            Exception: The coroutine cannot be started: the task run fails with it.
        """


@runtime_checkable
class Cancellable(Protocol):
    """The option of a running task runner to interrupt its calls."""

    def cancel(self) -> None:
        """Interrupt running calls, as far as possible. Must not block.

        Called in any thread, when a cancelled flow run in a worker process ends. The runs are
        already marked as cancelled: calls that have not begun do nothing, and synchronous code
        stops at its next task. `close` follows. Its errors are logged.
        """


@runtime_checkable
class CallsRemotely(Protocol):
    """The option of a running task runner to call tasks' functions elsewhere, as in a cluster.

    flowspan still executes the task run in this process, on the thread of `start`. Asynchronous
    tasks come through `start`, too.
    """

    def function_for(self, task: SubmittedTask) -> Callable[..., Any]:
        """Return the function to call in place of the task's own, with the same arguments.

        It is called once for each attempt, on the thread of `start`; it blocks, and returns the
        return value of the task's function (for an asynchronous task, of its coroutine). An error
        that it raises fails the attempt. `flowspan.context.get_run_context()` works in it. Called
        in the thread of `start`, once for each task run.

        Args:
            task: The task.
        """


class SubmittedTask(Protocol):
    """A task as `CallsRemotely.function_for` sees it: a `flowspan.tasks.Task`."""

    @property
    def name(self) -> str:
        """The name of the task."""

    @property
    def fn(self) -> Callable[..., Any]:
        """The function of the task."""

    @property
    def is_async(self) -> bool:
        """True if calling the function returns a coroutine."""
