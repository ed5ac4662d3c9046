"""The driver for coroutines; the twin of `flowspan.drivers.sync`, which says more."""

from __future__ import annotations

import asyncio
import inspect
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from flowspan.core.engine import execute, never_begin
from flowspan.core.runs import current_run
from flowspan.core.steps import Do
from flowspan.core.traversal import ATOMIC
from flowspan.drivers.arguments import futures_in, has_upstream, resolve_call, settle
from flowspan.drivers.begin import begin_flow, begin_task
from flowspan.drivers.closing import cancel_with, close_attempt, stop_attempt, timed_out
from flowspan.drivers.host import get_host
from flowspan.drivers.links import link_inputs
from flowspan.exceptions import CancelRun

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator

    from flowspan.core.definitions import FlowDefinition, TaskDefinition
    from flowspan.core.runs import Run
    from flowspan.core.states import State
    from flowspan.drivers.host import Host
    from flowspan.drivers.task_runner import OpenTaskRunner


async def drive(
    host: Host, run: Run, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> State:
    """Runs a run whose function gives a coroutine to its end, in this asyncio task.

    Args:
        host: The process.
        run: The run, announced.
        fn: What to call in each attempt.
        args: Its positional arguments.
        kwargs: Its keyword arguments.

    Returns:
        The terminal state. If the asyncio task was cancelled, and not because the run was, its data
        is a CancelRun whose cause is the CancelledError.

    Raises:
        GeneratorExit: The coroutine was closed; that cannot be held up.
    """
    steps = execute(run, host)
    closed: GeneratorExit | None = None
    token = current_run.set(run)
    try:
        step = next(steps)
        while True:
            try:
                if step is None:
                    outcome = await _call(run, fn, args, kwargs)
                elif isinstance(step, Do):
                    # A coroutine that was closed may not await any more.
                    outcome = None if closed is not None else await _do(step)
                else:
                    await asyncio.sleep(step)
                    run.scope.check()
                    outcome = None
            except asyncio.CancelledError as error:
                step = steps.throw(_as_cancel(run, error))
            except GeneratorExit as error:
                closed = error
                step = steps.throw(error)
            except BaseException as error:  # noqa: BLE001 - the engine decides what it means
                step = steps.throw(error)
            else:
                step = steps.send(outcome)
    except StopIteration as stop:
        if closed is not None:
            raise closed from None
        state: State = stop.value
        return state
    finally:
        with suppress(ValueError):  # a coroutine may be closed in another context
            current_run.reset(token)


async def run_task(
    task: TaskDefinition,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    wait_for: Iterable[Any] | None,
) -> State:
    """Runs a task whose function gives a coroutine, here and now."""
    host = get_host()
    parent = current_run.get()
    inputs = args, kwargs, tuple(wait_for or ())
    args, kwargs, error = await _resolved(*inputs)
    run = begin_task(host, task, parent, args, kwargs)
    link_inputs(run, task, *inputs)
    async with _flushing(host, parent):
        error = error or run.begin_error
        if error is not None:
            return never_begin(run, host, error)
        if parent is not None:
            return _passed_on(await drive(host, run, task.fn, args, kwargs))
        with _cancellable(host, run):
            return _passed_on(await drive(host, run, task.fn, args, kwargs))


async def run_flow(
    flow: FlowDefinition,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    wait_for: Iterable[Any] | None,
) -> State:
    """Runs a flow whose function gives a coroutine, here and now."""
    host = get_host()
    parent = current_run.get()
    inputs = args, kwargs, tuple(wait_for or ())
    args, kwargs, error = await _resolved(*inputs)
    call = begin_flow(host, flow, parent, args, kwargs, unresolved=error is not None)
    run = call.run
    link_inputs(run, flow, *inputs)
    async with _flushing(host, parent):
        try:
            error = error or run.begin_error
            if error is not None:
                return never_begin(run, host, error)
            with _cancellable(host, run):
                return _passed_on(await drive(host, run, flow.fn, call.args, call.kwargs))
        finally:
            run.scope.close()


@asynccontextmanager
async def _flushing(host: Host, parent: Run | None) -> AsyncIterator[None]:
    """Flushes at the end of an outermost run, without holding up what else runs on the loop."""
    try:
        yield
    except GeneratorExit:  # nothing may be awaited any more
        raise
    except BaseException:
        if parent is None:
            await _in_thread(host.flush)
        raise
    if parent is None:
        await _in_thread(host.flush)


def _passed_on(state: State) -> State:
    """The state; but an asyncio task that was cancelled must end so.

    Raises:
        asyncio.CancelledError: It was cancelled, and not because the run was.
    """
    cause = state.data.__cause__ if isinstance(state.data, CancelRun) else None
    if isinstance(cause, asyncio.CancelledError):
        raise cause
    return state


async def _do(step: Do) -> Any:
    """Makes a call for the engine."""
    if not step.is_user_code:
        return await asyncio.to_thread(step.fn, *step.args)
    value = step.fn(*step.args)
    return await value if inspect.iscoroutine(value) else value


async def _call(
    run: Run, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Calls the function once, with its span, its deadline, and what it leaves behind."""
    span, timeout_s = run.span, run.definition.timeout_s
    attempt = run if timeout_s is None else run.copy_for_attempt(run.scope.child())
    current = current_run.set(attempt)
    token = span.enter() if span is not None else None
    error: BaseException | None = None
    try:
        value = await _within(run, timeout_s, _call_to_the_end(attempt, fn, args, kwargs))
    except asyncio.CancelledError as cancelled:
        # What it means is to be seen now: stopping what the attempt left behind cancels its scope.
        error = _as_cancel(run, cancelled)
        raise error from error.__cause__
    except BaseException as raised:
        error = raised
        raise
    finally:
        if span is not None:
            span.leave(token)
        await _finish_attempt(run, attempt, error)
        with suppress(ValueError):  # a coroutine may be closed in another context
            current_run.reset(current)
    if type(value) not in ATOMIC:
        futures = futures_in(value)
        if futures:
            await _ended(futures)
            value = settle(value)
    return value


async def _call_to_the_end(
    attempt: Run, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Calls the function and waits for the tasks that it submitted."""
    value = await fn(*args, **kwargs)
    if attempt.task_runner is not None:
        await _done(attempt.task_runner)
    return value


async def _finish_attempt(run: Run, attempt: Run, error: BaseException | None) -> None:
    patience_s = stop_attempt(run, attempt, error)
    try:
        if attempt.task_runner is not None and patience_s != 0:
            await _wait_for_submitted(run, attempt.task_runner, patience_s)
    except BaseException as broken_off:
        stop_attempt(run, attempt, broken_off)
        raise
    finally:
        close_attempt(run, attempt)


async def _wait_for_submitted(run: Run, runner: OpenTaskRunner, patience_s: float | None) -> None:
    with suppress(TimeoutError):
        try:
            await asyncio.wait_for(_done(runner), patience_s)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not run.scope.cancelled or task is None:
                raise
            # The run learnt that it is cancelled from a call of a task, and only now comes what
            # was to break off what it awaits.
            task.uncancel()
            await asyncio.wait_for(_done(runner), patience_s)


async def _within(run: Run, timeout_s: float | None, coroutine: Coroutine[Any, Any, Any]) -> Any:
    if timeout_s is None:
        return await coroutine
    deadline = asyncio.timeout(timeout_s)
    try:
        async with deadline:
            value = await coroutine
    except TimeoutError:
        if deadline.expired():
            raise timed_out(run) from None
        raise
    if deadline.expired():  # the code went on although it was told to stop
        raise timed_out(run)
    return value


def _as_cancel(run: Run, error: asyncio.CancelledError) -> CancelRun:
    """What the engine is told when the asyncio task was cancelled."""
    if run.scope.cancelled:
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()
        return CancelRun(run.scope.reason or "The run was cancelled.")
    stop = CancelRun("The asyncio task that ran it was cancelled.")
    stop.__cause__ = error
    return stop


@contextmanager
def _cancellable(host: Host, run: Run) -> Iterator[None]:
    """Lets the service cancel a run: what it awaits is broken off."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # noqa: S101 - only used in coroutines
    is_going_on = True

    def interrupt() -> None:
        loop.call_soon_threadsafe(cancel)

    def cancel() -> None:
        if is_going_on:  # what the asyncio task does after the run is not to be cancelled
            task.cancel()

    with cancel_with(host, run, task, interrupt):
        try:
            yield
        finally:
            is_going_on = False


async def _resolved(
    args: tuple[Any, ...], kwargs: dict[str, Any], wait_for: tuple[Any, ...]
) -> tuple[tuple[Any, ...], dict[str, Any], Exception | None]:
    """Waits for the futures in the arguments; the arguments with results, or what is in the way."""
    if not wait_for and not has_upstream(args, kwargs):
        return args, kwargs, None
    await _ended(futures_in(args, kwargs, wait_for))
    return resolve_call(args, kwargs, wait_for)


async def _ended(futures: Iterable[Any]) -> None:
    loop = asyncio.get_running_loop()
    missing = [future for future in futures if not future.done()]
    if not missing:
        return
    waits = []
    for future in missing:
        ended: asyncio.Future[None] = loop.create_future()

        def tell(_: object, ended: asyncio.Future[None] = ended) -> None:
            with suppress(RuntimeError):  # the loop was closed, and nobody waits any more
                loop.call_soon_threadsafe(_set, ended)

        future.add_done_callback(tell)
        waits.append(ended)
    await asyncio.gather(*waits)


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def _done(runner: OpenTaskRunner) -> None:
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        with suppress(RuntimeError):  # the loop was closed, and nobody waits any more
            loop.call_soon_threadsafe(_set, ended)

    runner.call_when_done(tell)
    await ended


async def _in_thread(function: Callable[[], object]) -> None:
    await asyncio.get_running_loop().run_in_executor(None, function)
