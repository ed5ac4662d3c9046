"""The driver for sync functions; `flowspan.drivers.calls.aio` is its async counterpart."""

from __future__ import annotations

from types import CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Any

from flowspan.core.async_dispatch import running_loop
from flowspan.core.call_graph import sketched_state
from flowspan.core.engine import end_undriven, end_unstarted, execute
from flowspan.core.provenance import any_known
from flowspan.core.run import current_run, is_outermost
from flowspan.core.steps import RUN_FUNCTION
from flowspan.core.values.traversal import ATOMIC_IDS
from flowspan.drivers.calls.attempt import (
    begin_attempt,
    close_attempt,
    say_left,
    say_waiting,
    stop_attempt,
    taking_commands,
)
from flowspan.drivers.calls.deadlines import call_within
from flowspan.drivers.calls.run_inputs import inputs_of
from flowspan.drivers.calls.start import begin_flow, begin_task
from flowspan.drivers.cancellation.safe_points import calls_user_code
from flowspan.drivers.cancellation.termination import begin_ending_with_process, end_with_process
from flowspan.drivers.futures.arguments import (
    given_upstream,
    has_upstream,
    holds_upstream,
    pending_in,
    resolve_call,
    settle,
)
from flowspan.drivers.futures.future import wait_until_done
from flowspan.drivers.perform import perform
from flowspan.drivers.process import process_of
from flowspan.drivers.sync_async_bridge import run_coroutine
from flowspan.exceptions import SelfDependency

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flowspan.core.definition import FlowDefinition, TaskDefinition
    from flowspan.core.run import Run
    from flowspan.core.span import RunSpan
    from flowspan.core.states import State
    from flowspan.drivers.process import ProcessContext


@calls_user_code
def drive(  # noqa: C901 - the hot path, in one piece
    process: ProcessContext,
    run: Run,
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    blocking_error: BaseException | None = None,
) -> State:
    """Run a sync function to the end of its run, in this thread.

    Args:
        process: The process context.
        run: The run, announced.
        fn: The function to call in each attempt.
        args: Its positional arguments.
        kwargs: Its keyword arguments.
        blocking_error: The reason not to call the function at all; None to call it.

    Returns:
        The terminal state. Errors of the function are not raised.

    Raises:
        BaseException: The error that interrupted the hooks after the end (Ctrl-C).
    """
    steps = (
        execute(run, process)
        if blocking_error is None
        else end_unstarted(run, process, blocking_error)
    )
    definition = run.definition
    # Most tasks need only the call: they have no deadline and, other than flows, submit no tasks.
    is_bare = definition.timeout_s is None and not definition.is_flow
    span = run.span
    run.loop = running_loop()
    token = current_run.set(run)
    run.args = args
    run.kwargs = kwargs
    holds = False
    try:
        step = next(steps)
        while True:
            try:
                if step is not RUN_FUNCTION:
                    outcome = perform(step, run, run.span)
                else:
                    if not is_bare:
                        outcome = _call(run, fn, args, kwargs)
                    elif span is None:
                        outcome = fn(*args, **kwargs)
                    else:
                        outcome = _call_in_span(span, fn, args, kwargs)
                    if id(type(outcome)) not in ATOMIC_IDS:
                        if type(outcome) is GeneratorType:
                            outcome = _call(run, list, (outcome,), {})
                        holds = holds_upstream(outcome)
                        if holds and definition.is_flow:
                            outcome = settle(outcome)
            except BaseException as error:  # noqa: BLE001 - the engine decides what it means
                step = steps.throw(error)
            else:
                step = steps.send(outcome)
    except StopIteration as stop:
        state: State = stop.value
        if holds:
            state.holds_upstream = True
        return state
    finally:
        current_run.reset(token)


def run_task(
    task: TaskDefinition,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    wait_for: Iterable[Any] | None,
) -> State:
    """Run a task with a sync function in this thread."""
    parent = current_run.get()
    process = process_of(parent)
    if parent is None or parent.is_inherited or wait_for is not None or has_upstream(args, kwargs):
        return _run_task_with_care(process, task, parent, args, kwargs, wait_for)
    # The arguments hold no future, but perhaps an object that another run has returned.
    found = inputs_of(task, args, kwargs) if any_known() else ()
    run = begin_task(process, task, parent, args, kwargs, inputs=found)
    return drive(process, run, task.fn, args, kwargs, run.begin_error)


def _run_task_with_care(
    process: ProcessContext,
    task: TaskDefinition,
    parent: Run | None,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    wait_for: Iterable[Any] | None,
) -> State:
    """Run a task that takes results of other runs, or that is called outside of flows."""
    if parent is None:
        sketched = sketched_state(task, args, kwargs, wait_for)
        if sketched is not None:
            return sketched
    inputs = args, kwargs, given_upstream(wait_for)
    args, kwargs, error = resolved(*inputs)
    run = begin_task(process, task, parent, args, kwargs, inputs=inputs_of(task, *inputs))
    try:
        error = run.begin_error if error is None else error
        with _Outermost(process, parent):
            if parent is not None:
                return drive(process, run, task.fn, args, kwargs, error)
            with taking_commands(process, run):
                return drive(process, run, task.fn, args, kwargs, error)
    except BaseException as stop:
        end_undriven(run, process, stop)
        raise


def run_flow(
    flow: FlowDefinition,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    wait_for: Iterable[Any] | None,
) -> State:
    """Run a flow with a sync function in this thread."""
    parent = current_run.get()
    if parent is None:
        sketched = sketched_state(flow, args, kwargs, wait_for)
        if sketched is not None:
            return sketched
    process = process_of(parent)
    inputs = args, kwargs, given_upstream(wait_for)
    args, kwargs, error = resolved(*inputs)
    found = inputs_of(flow, *inputs)
    call = begin_flow(
        process, flow, parent, args, kwargs, inputs=found, unresolved=error is not None
    )
    run, scope = call.run, call.run.scope
    try:
        with _Outermost(process, parent):
            try:
                with taking_commands(process, run):
                    error = run.begin_error if error is None else error
                    state = drive(process, run, flow.fn, call.args, call.kwargs, error)
                    if run.task_runner is not None:  # its hooks submitted tasks
                        run.task_runner.wait()
                    return state
            finally:
                close_attempt(run, run)
                scope.close()
    except BaseException as stop:
        end_undriven(run, process, stop)
        raise


class _Outermost:
    """Flushes at the end of an outermost run, and lets SIGTERM end the run before the process.

    Args:
        process: The process context.
        parent: The parent of the run. For a run that is not outermost, the block does nothing.
    """

    __slots__ = ("_flush", "_parent", "_takes_sigterm")

    def __init__(self, process: ProcessContext, parent: Run | None) -> None:
        self._flush = process.flush
        self._parent = parent

    def __enter__(self) -> None:
        if is_outermost(self._parent):
            self._takes_sigterm = begin_ending_with_process(None)

    def __exit__(self, *_: object) -> None:
        if not is_outermost(self._parent):
            return
        try:
            self._flush()
        finally:
            if self._takes_sigterm:
                end_with_process(None)


@calls_user_code
def _call(run: Run, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call the function once, in its span and within its deadline, and end what it submitted."""
    span, timeout_s = run.span, run.definition.timeout_s
    attempt = begin_attempt(run)
    current = current_run.set(attempt)
    token = span.enter() if span is not None else None
    error: BaseException | None = None
    try:
        if timeout_s is None or getattr(type(fn), "keeps_deadline", False):
            value = _call_to_the_end(attempt, fn, args, kwargs)
        else:
            value = call_within(run, timeout_s, _call_to_the_end, (attempt, fn, args, kwargs))
    except BaseException as raised:
        error = raised
        raise
    finally:
        if span is not None:
            span.leave(token)
        finish_attempt(run, attempt, error)
        current_run.reset(current)
    return value


@calls_user_code
def _call_in_span(
    span: RunSpan, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    token = span.enter()
    try:
        return fn(*args, **kwargs)
    finally:
        span.leave(token)


@calls_user_code
def _call_to_the_end(
    attempt: Run, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Call the function and wait for the tasks that it submitted."""
    value = fn(*args, **kwargs)
    if type(value) is CoroutineType and attempt.definition.is_flow:
        value = run_coroutine(value)
    if attempt.task_runner is not None:
        attempt.task_runner.wait()
    return value


def finish_attempt(run: Run, attempt: Run, error: BaseException | None) -> None:
    """Wait for the tasks that an attempt submitted, or stop them."""
    try:
        patience_s = stop_attempt(run, attempt, error)
        if attempt.task_runner is not None and patience_s != 0:
            if patience_s is not None:
                say_waiting(run, attempt, error, patience_s)
            attempt.task_runner.wait(patience_s)
            if patience_s is not None:
                say_left(run, attempt)
    except BaseException as broken_off:
        stop_attempt(run, attempt, broken_off)
        raise
    finally:
        close_attempt(run, attempt)


def resolved(
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
            wait_until_done(pending)
    except SelfDependency as error:
        return args, kwargs, error
    return resolve_call(args, kwargs, wait_for)
