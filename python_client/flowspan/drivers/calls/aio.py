"""The driver for async functions; `flowspan.drivers.calls.sync` is its sync counterpart."""

from __future__ import annotations

import asyncio
from asyncio import current_task
from contextlib import asynccontextmanager, contextmanager, suppress
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Any

from flowspan.clock import aio as aio_clock
from flowspan.core.call_graph import sketched_state
from flowspan.core.engine import end_undriven, end_unstarted, execute
from flowspan.core.run import current_run, is_outermost
from flowspan.core.steps import RUN_FUNCTION
from flowspan.core.values.inspection import is_instance
from flowspan.core.values.traversal import ATOMIC_IDS, find
from flowspan.drivers.calls.aio_cancellation import (
    as_cancel,
    cancelled_error,
    is_break_off,
    passed_on,
)
from flowspan.drivers.calls.attempt import (
    begin_attempt,
    close_attempt,
    say_left,
    say_waiting,
    stop_attempt,
    taking_commands,
    timed_out,
)
from flowspan.drivers.calls.run_inputs import inputs_of
from flowspan.drivers.calls.start import begin_flow, begin_task
from flowspan.drivers.calls.time_skipping import limited_by
from flowspan.drivers.cancellation.scope import add_wait, remove_wait
from flowspan.drivers.cancellation.termination import (
    begin_ending_with_process,
    end_with_process,
    hear,
)
from flowspan.drivers.futures.arguments import (
    given_upstream,
    has_upstream,
    holds_upstream,
    pending_in,
    resolve_call,
    settle,
)
from flowspan.drivers.futures.awaiting import set_done, until_done
from flowspan.drivers.futures.future import TaskFuture
from flowspan.drivers.perform_async import perform, perform_closed
from flowspan.drivers.process import process_of
from flowspan.exceptions import RunSignal, SelfDependency

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator

    from flowspan.core.definition import FlowDefinition, TaskDefinition
    from flowspan.core.run import Run
    from flowspan.core.states import State
    from flowspan.drivers.process import ProcessContext
    from flowspan.drivers.task_runners.submitted import SubmittedTasks


async def drive(  # noqa: C901 - the hot path, in one piece
    process: ProcessContext,
    run: Run,
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    blocking_error: BaseException | None = None,
) -> State:
    """Run an async function to the end of its run, in this asyncio task.

    Args:
        process: The process context.
        run: The run, announced.
        fn: The function to call in each attempt.
        args: Its positional arguments.
        kwargs: Its keyword arguments.
        blocking_error: The reason not to call the function at all; None to call it.

    Returns:
        The terminal state. If the asyncio task was cancelled, but not the run, the data of the
        state is a CancelRun whose cause is the CancelledError.

    Raises:
        GeneratorExit: The coroutine was closed, which must not be delayed.
        BaseException: The error that interrupted the hooks after the end.
    """
    steps = (
        execute(run, process)
        if blocking_error is None
        else end_unstarted(run, process, blocking_error)
    )
    closed: GeneratorExit | None = None
    run.asyncio_task = current_task()
    token = current_run.set(run)
    run.args = args
    run.kwargs = kwargs
    holds = False
    try:
        step = next(steps)
        while True:
            try:
                if step is RUN_FUNCTION:
                    outcome = await _call(run, fn, args, kwargs)
                    holds = id(type(outcome)) not in ATOMIC_IDS and holds_upstream(outcome)
                elif closed is None:
                    outcome = await perform(step, run, run.span)
                else:
                    outcome = perform_closed(step, run)
            except BaseException as error:  # noqa: BLE001 - the engine decides what it means
                if is_instance(error, GeneratorExit):
                    closed = error
                step = steps.throw(as_cancel(run, error))
            else:
                step = steps.send(outcome)
    except StopIteration as stop:
        if closed is not None:
            raise closed from None
        state: State = stop.value
        if holds:
            state.holds_upstream = True
        return state
    except (RunSignal, KeyboardInterrupt) as stop:  # from the hooks after the end
        raise (cancelled_error(stop) or stop) from None
    finally:
        run.asyncio_task = None
        with suppress(ValueError):  # a coroutine may be closed in another context
            current_run.reset(token)


async def run_task(
    task: TaskDefinition,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    wait_for: Iterable[Any] | None,
) -> State:
    """Run a task with an async function in this asyncio task."""
    parent = current_run.get()
    if parent is None:
        sketched = sketched_state(task, args, kwargs, wait_for)
        if sketched is not None:
            return sketched
    process = process_of(parent)
    inputs = args, kwargs, given_upstream(wait_for)
    args, kwargs, error = await resolved(*inputs)
    run = begin_task(process, task, parent, args, kwargs, inputs=inputs_of(task, *inputs))
    try:
        error = run.begin_error if error is None else error
        if parent is None:
            async with _outermost(process, parent):
                with _cancellable(process, run):
                    return passed_on(await drive(process, run, task.fn, args, kwargs, error))
        if parent.is_inherited:
            async with _outermost(process, parent):
                with interruptible(run):
                    return passed_on(await drive(process, run, task.fn, args, kwargs, error))
        if parent.definition.is_async:
            return passed_on(await drive(process, run, task.fn, args, kwargs, error))
        with interruptible(run):  # a sync parent does not interrupt this asyncio task
            return passed_on(await drive(process, run, task.fn, args, kwargs, error))
    except BaseException as stop:
        end_undriven(run, process, stop)
        raise


async def run_flow(
    flow: FlowDefinition,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    wait_for: Iterable[Any] | None,
) -> State:
    """Run a flow with an async function in this asyncio task."""
    parent = current_run.get()
    if parent is None:
        sketched = sketched_state(flow, args, kwargs, wait_for)
        if sketched is not None:
            return sketched
    process = process_of(parent)
    inputs = args, kwargs, given_upstream(wait_for)
    args, kwargs, error = await resolved(*inputs)
    found = inputs_of(flow, *inputs)
    call = begin_flow(
        process, flow, parent, args, kwargs, inputs=found, unresolved=error is not None
    )
    run, scope = call.run, call.run.scope
    try:
        async with _outermost(process, parent):
            try:
                with _cancellable(process, run):
                    error = run.begin_error if error is None else error
                    state = await drive(process, run, flow.fn, call.args, call.kwargs, error)
                    if run.task_runner is not None:  # its hooks submitted tasks
                        await runner_done(run.task_runner)
                    return passed_on(state)
            finally:
                close_attempt(run, run)
                scope.close()
    except BaseException as stop:
        end_undriven(run, process, stop)
        raise


@asynccontextmanager
async def _outermost(process: ProcessContext, parent: Run | None) -> AsyncIterator[None]:
    """Flush at the end of an outermost run, and let SIGTERM end the run before the process."""
    if not is_outermost(parent):
        yield
        return
    stop = cancelling_current_task()
    takes_sigterm = begin_ending_with_process(stop)
    try:
        async with _flushing(process):
            yield
    finally:
        if takes_sigterm:
            end_with_process(stop)


def cancelling_current_task() -> Callable[[], object]:
    """Return the function that cancels the current asyncio task when SIGTERM has arrived."""
    task = current_task()
    assert task is not None  # noqa: S101 - only used in coroutines
    loop = task.get_loop()

    def cancel() -> None:
        if hear():
            task.cancel()

    def stop() -> None:
        loop.call_soon_threadsafe(cancel)

    return stop


@asynccontextmanager
async def _flushing(process: ProcessContext) -> AsyncIterator[None]:
    """Flush at the end of a run, without blocking the loop."""
    try:
        yield
    except GeneratorExit:  # a closed coroutine must not await
        raise
    except BaseException:
        await flush_in_thread(process)
        raise
    await flush_in_thread(process)


async def _call(
    run: Run, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Call the function once, in its span and within its deadline, and end what it submitted."""
    span, timeout_s = run.span, run.definition.timeout_s
    attempt = begin_attempt(run)
    current = current_run.set(attempt)
    token = span.enter() if span is not None else None
    error: BaseException | None = None
    try:
        value = await within(run, timeout_s, _call_to_the_end(attempt, fn, args, kwargs))
    except asyncio.CancelledError as cancelled:
        # Translate it now: `finish_attempt` may cancel the scope, and then its meaning is lost.
        error = as_cancel(run, cancelled)
        raise error from error.__cause__
    except BaseException as raised:
        error = raised
        raise
    finally:
        if span is not None:
            span.leave(token)
        await finish_attempt(run, attempt, error)
        with suppress(ValueError):  # a coroutine may be closed in another context
            current_run.reset(current)
    if run.definition.is_flow and id(type(value)) not in ATOMIC_IDS:
        futures = find(value, (TaskFuture,))
        if futures:
            await until_done(futures)
            value = settle(value)
    return value


async def _call_to_the_end(
    attempt: Run, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Call the function and wait for the tasks that it submitted."""
    value = await fn(*args, **kwargs)
    if type(value) is GeneratorType:
        value = list(value)
    elif type(value) is AsyncGeneratorType:
        value = [each async for each in value]
    elif type(value) is CoroutineType and attempt.definition.is_flow:
        value = await value
    if attempt.task_runner is not None:
        await runner_done(attempt.task_runner)
    return value


async def finish_attempt(run: Run, attempt: Run, error: BaseException | None) -> None:
    """Wait for the tasks that an attempt submitted, or stop them."""
    try:
        patience_s = stop_attempt(run, attempt, error)
        if attempt.task_runner is not None and patience_s != 0:
            if patience_s is not None:
                say_waiting(run, attempt, error, patience_s)
            await _wait_for_submitted(run, attempt.task_runner, patience_s)
            if patience_s is not None:
                say_left(run, attempt)
    except BaseException as broken_off:
        stop_attempt(run, attempt, broken_off)
        if is_instance(broken_off, asyncio.CancelledError) and is_break_off(error):
            raise error from error.__cause__  # a second Ctrl-C, for example, ends the wait
        raise
    finally:
        close_attempt(run, attempt)


async def _wait_for_submitted(run: Run, runner: SubmittedTasks, patience_s: float | None) -> None:
    with suppress(TimeoutError):
        try:
            await _in_time(runner_done(runner), patience_s)
        except asyncio.CancelledError:
            task = current_task()
            if not run.scope.cancelled or task is None:
                raise
            # The run was cancelled at a task call, before this CancelledError reached its await.
            task.uncancel()
            await _in_time(runner_done(runner), patience_s)


async def _in_time(awaitable: Awaitable[None], patience_s: float | None) -> None:
    if patience_s is None:
        await awaitable
        return
    async with aio_clock.Deadline(patience_s):
        await awaitable


async def within(run: Run, timeout_s: float | None, awaitable: Awaitable[Any]) -> Any:
    """Await something within a time limit.

    Args:
        run: The run whose limit it is.
        timeout_s: The limit in seconds; None for no limit.
        awaitable: The awaitable.

    Raises:
        RunTimeout: The limit was exceeded.
    """
    if timeout_s is None:
        return await awaitable
    deadline = aio_clock.Deadline(timeout_s)
    try:
        with limited_by(run, deadline):
            async with deadline:
                value = await awaitable
    except TimeoutError as error:
        if not deadline.expired():
            raise
        # The traceback of the CancelledError shows where the code was. It is the cause; on early
        # patch releases of Python 3.11, which raise without `from`, it is the context.
        where = error.__cause__ or error.__context__ or error
        raise timed_out(run).with_traceback(where.__traceback__) from None
    if deadline.expired():  # the code ignored its cancellation
        raise timed_out(run)
    return value


@contextmanager
def _cancellable(process: ProcessContext, run: Run) -> Iterator[None]:
    """Let the service cancel a run by interrupting what it awaits."""
    with interruptible(run), taking_commands(process, run):
        yield


@contextmanager
def interruptible(run: Run) -> Iterator[None]:
    """Interrupt what the block awaits when the run is cancelled."""
    loop, task = asyncio.get_running_loop(), current_task()
    assert task is not None  # noqa: S101 - only used in coroutines
    is_going_on = True

    def interrupt() -> None:
        with suppress(RuntimeError):  # the loop was closed, so the run has ended
            loop.call_soon_threadsafe(cancel)

    def cancel() -> None:
        # Do not cancel the last hooks of the run, nor what the asyncio task does after the run.
        if is_going_on and not run.state.is_final():
            task.cancel()

    add_wait(run, task, interrupt)
    try:
        yield
    finally:
        is_going_on = False
        remove_wait(run, task)


async def resolved(
    args: tuple[Any, ...], kwargs: dict[str, Any], wait_for: tuple[Any, ...]
) -> tuple[tuple[Any, ...], dict[str, Any], BaseException | None]:
    """Wait for the futures in the arguments, and replace them with their results.

    Returns:
        The positional and keyword arguments, and the reason not to call the function, or None.
    """
    if not wait_for and not has_upstream(args, kwargs):
        return args, kwargs, None
    try:
        while pending := pending_in(args, kwargs, wait_for):
            await until_done(pending)
    except SelfDependency as error:
        return args, kwargs, error
    return resolve_call(args, kwargs, wait_for)


async def runner_done(runner: SubmittedTasks) -> None:
    """Wait until the submitted tasks have ended."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        with suppress(RuntimeError):  # the loop was closed, and with it the waiting coroutine
            loop.call_soon_threadsafe(set_done, ended)

    runner.call_when_done(tell)
    await ended


async def in_thread(function: Callable[[], object]) -> None:
    """Call a blocking function in a thread, without blocking the loop."""
    await asyncio.get_running_loop().run_in_executor(None, function)


async def flush_in_thread(process: ProcessContext) -> None:
    """Flush without blocking the loop; end early on cancellation.

    `asyncio.run` waits for the threads of its loop, so a flush that did not end early would make
    Ctrl-C ineffective.
    """
    try:
        await in_thread(process.flush)
    except asyncio.CancelledError:
        process.give_up()
        raise
