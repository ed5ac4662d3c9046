"""The driver for plain functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowspan.core.engine import execute, never_run
from flowspan.core.runs import current_run
from flowspan.drivers.begin import begin_flow, begin_task
from flowspan.drivers.host import get_host

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.core.definitions import Definition, FlowDefinition
    from flowspan.core.runs import Run
    from flowspan.core.states import State
    from flowspan.drivers.host import Host


def drive(
    host: Host, run: Run, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> State:
    """Runs a run whose function is a plain one to its end, in this thread.

    Args:
        host: The process.
        run: The run, announced.
        fn: What to call in each attempt.
        args: Its positional arguments.
        kwargs: Its keyword arguments.

    Returns:
        The terminal state. Nothing that the function raises comes out of here.
    """
    steps = execute(run, host)
    # What needs more than the bare call: a span to be made current, a deadline, the end of a flow.
    bare = run.span is None and run.definition.timeout_s is None and not run.definition.is_flow
    token = current_run.set(run)
    try:
        step = next(steps)
        while True:
            try:
                if step is not None:
                    outcome = run.scope.sleep(step)
                elif bare:
                    outcome = fn(*args, **kwargs)
                else:
                    outcome = _call(run, fn, args, kwargs)
            except BaseException as error:  # noqa: BLE001 - the engine decides what it means
                step = steps.throw(error)
            else:
                step = steps.send(outcome)
    except StopIteration as stop:
        state: State = stop.value
        return state
    finally:
        current_run.reset(token)


def _call(run: Run, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    span = run.span
    token = span.enter() if span is not None else None
    try:
        return fn(*args, **kwargs)
    finally:
        if span is not None:
            span.leave(token)


def run_task(
    task: Definition, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> State:
    """Runs a task whose function is a plain one, here and now."""
    host = get_host()
    parent = current_run.get()
    run = begin_task(host, task, parent, None)
    state = drive(host, run, task.fn, args, kwargs)
    if parent is None:
        host.flush()
    return state


def run_flow(flow: FlowDefinition, args: tuple[Any, ...], kwargs: dict[str, Any]) -> State:
    """Runs a flow whose function is a plain one, here and now."""
    host = get_host()
    parent = current_run.get()
    call = begin_flow(host, flow, parent, args, kwargs)
    run = call.run
    host.on_cancel(run.record.id, run.scope.cancel)
    try:
        if call.error is not None:
            state = never_run(run, host, call.error)
        else:
            state = drive(host, run, flow.fn, call.args, call.kwargs)
    finally:
        host.forget(run.record.id)
        run.scope.close()
    if parent is None:
        host.flush()
    return state
