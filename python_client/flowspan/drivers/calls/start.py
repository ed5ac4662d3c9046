"""The beginning of a run: its id, name, place in the tree, and record."""

from __future__ import annotations

import logging
import random
from contextvars import ContextVar
from itertools import count
from typing import TYPE_CHECKING, Any

from flowspan import telemetry
from flowspan.core.engine import announce
from flowspan.core.events import RunRecord
from flowspan.core.limits import MAX_TAGS
from flowspan.core.run_names import petname
from flowspan.core.run_objects import FlowRun, TaskRun
from flowspan.core.transactions import current_transaction
from flowspan.core.values.payloads import encode_parameters
from flowspan.drivers.calls.outer_run import find_outer_run
from flowspan.drivers.calls.run_inputs import link_inputs, preview_of
from flowspan.drivers.calls.run_names import announce_named
from flowspan.drivers.cancellation.scope import CancelScope
from flowspan.logging import prints
from flowspan.logging.capture import ensure_installed, note

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.core.definition import Definition, FlowDefinition, TaskDefinition
    from flowspan.core.events import RunInput
    from flowspan.core.result_options import ResultPolicy
    from flowspan.core.run import Run, Scope
    from flowspan.core.run_context import OuterRun
    from flowspan.drivers.process import ProcessContext

    Attach = Callable[[ProcessContext, Run, ResultPolicy | None], object]

current_tags: ContextVar[tuple[str, ...]] = ContextVar("flowspan_current_tags", default=())
"""The tags that `with tags(...)` adds to the runs inside the block."""

_UNSERIALIZABLE = (
    "Parameter {0.name!r} (of type {0.type}) is not stored with the run: {0.reason}. The run "
    "continues with the value itself; the service stores a placeholder. To see the value there, "
    "pass plain data, a path or an id, or make it a pydantic model or a dataclass."
)


def begin_task(
    process: ProcessContext,
    task: TaskDefinition,
    parent: Run | None,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    inputs: tuple[RunInput, ...] = (),
    map_number: int | None = None,
    later: bool = False,
) -> Run:
    """Create and announce a task run.

    Args:
        process: The process context.
        task: The task.
        parent: The calling run.
        args: The positional arguments, for the preview and the name of the run.
        kwargs: The keyword arguments.
        inputs: Its upstream runs.
        map_number: Its position among the runs of a `map`, from 0; None without.
        later: The caller announces a run whose name is computed from its arguments
            (`announce_task`), because they are not available yet.

    Raises:
        CancelRun: The calling run was cancelled: no new runs begin in it.
        DeadlinePassed: The deadline of the calling run has passed.
    """
    if parent is None:
        name = f"{task.name}-{random.getrandbits(24):06x}"
    else:
        if parent.scope.cancelled:
            parent.scope.check()
        name = _counted_name(parent.flow_run or parent, task.name)
    preview_bytes = process.preview_bytes
    has_preview = preview_bytes and (args or kwargs)
    preview = preview_of(task, args, kwargs, preview_bytes) if has_preview else None
    run = _made(process, task, parent, name, preview, inputs, map_number)
    if run.result_handler is not None:
        run.result_handler.note_call(args, kwargs)
    if task.run_name is None:
        announce(run, process)
    elif not later:
        announce_task(process, run, args, kwargs)
    return run


def announce_task(
    process: ProcessContext, run: Run, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Announce a task run under the name that its task computes from the arguments.

    Args:
        process: The process context.
        run: The run.
        args: The positional arguments.
        kwargs: The keyword arguments.
    """
    template = run.definition.run_name
    try:
        if template is not None:
            run.arguments = run.definition.binding.bind(args, kwargs)
    except Exception as error:  # noqa: BLE001 - the run ends with it
        run.begin_error = error
        template = None
    if template is None:
        announce(run, process)
    else:
        announce_named(process, run, template, "task_run_name")


class FlowCall:
    """A call of a flow whose run has begun.

    Attributes:
        run: The run, already announced.
        args: The validated positional arguments of the function.
        kwargs: Its validated keyword arguments.
    """

    __slots__ = ("args", "kwargs", "run")

    def __init__(self, run: Run, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.run = run
        self.args = args
        self.kwargs = kwargs


def begin_flow(
    process: ProcessContext,
    flow: FlowDefinition,
    parent: Run | None,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    inputs: tuple[RunInput, ...] = (),
    unresolved: bool = False,
) -> FlowCall:
    """Validate the arguments of a flow; create and announce its run.

    Args:
        process: The process context.
        flow: The flow.
        parent: The calling run.
        args: The positional arguments.
        kwargs: The keyword arguments.
        inputs: Its upstream runs.
        unresolved: True skips the arguments, because an upstream run failed.

    Raises:
        CancelRun: The calling run was cancelled: no new runs begin in it.
        DeadlinePassed: The deadline of the calling run has passed.
    """
    if parent is not None:
        parent.scope.check()
    arguments: dict[str, Any] = {}
    error: Exception | None = None
    warnings: list[str] = []
    if not unresolved:
        try:
            bound_by = flow.binding
            try:
                arguments = bound_by.bind(args, kwargs)
            finally:
                warnings = bound_by.take_warnings()
            args, kwargs = bound_by.call_arguments(arguments, args, kwargs)
        except Exception as problem:  # noqa: BLE001 - validators are user code
            error = problem
    parameters, problems = encode_parameters(arguments) if arguments else (None, [])
    run = _made(process, flow, parent, petname(random.randrange), parameters, inputs)
    run.arguments = arguments
    run.begin_error = error
    if run.result_handler is not None and not unresolved and error is None:
        run.result_handler.note_call(args, kwargs)
    if flow.run_name is None or unresolved or error is not None:
        announce(run, process)
    else:
        announce_named(process, run, flow.run_name, "flow_run_name")
    for item in problems:
        note(run, logging.WARNING, _UNSERIALIZABLE.format(item))
    for text in warnings:
        note(run, logging.WARNING, f"Flow {flow.name!r}: {text}")
    return FlowCall(run, args, kwargs)


def _made(
    process: ProcessContext,
    definition: Definition,
    parent: Run | None,
    name: str,
    parameters: bytes | None,
    inputs: tuple[RunInput, ...],
    map_number: int | None = None,
) -> Run:
    result_policy = process.result_policy if parent is None else parent.result_policy
    attach: Attach | None = None
    if (
        result_policy is not None
        or definition.result_policy is not None
        or (definition.is_flow and definition.retry is not None)
        or (parent is None and current_transaction.get() is not None)
        or (definition.hooks is not None and definition.hooks.are_of_transactions)
    ):
        attach = _result_attacher()  # before the run: the import does not count as a part of it
    run_id = process.new_id()
    now = process.now_ns()
    if parent is None or definition.is_flow:
        ensure_installed()
    outer: OuterRun | None = None
    if parent is None:
        outer = find_outer_run()
        flow_run, flow_run_id = None, None
        parent_id, root_id = (None, run_id) if outer is None else outer
        scope: Scope = CancelScope()
    else:
        flow_run, scope = parent.flow_run, parent.scope
        parent_id, root_id = parent.record.id, parent.record.root_run_id
        flow_run_id = flow_run.record.id if flow_run is not None else None
        if definition.is_flow:
            scope = scope.child()
    tags, extra = definition.run_tags, current_tags.get()
    if extra:
        tags = tuple(dict.fromkeys((*tags, *extra)))[:MAX_TAGS]
    log_prints = definition.log_prints
    if log_prints is None:
        log_prints = parent.log_prints if parent is not None else process.log_prints
    if log_prints:
        prints.install()
    record = RunRecord(
        run_id,
        is_flow=definition.is_flow,
        function_name=definition.name,
        run_name=name,
        parent_run_id=parent_id,
        root_run_id=root_id,
        flow_run_id=run_id if definition.is_flow else flow_run_id,
        tags=tags,
        parameters=parameters,
        version=definition.version or "",
        details=definition.details,
        inputs=inputs,
    )
    made = FlowRun if definition.is_flow else TaskRun
    run: Run = made(record, definition, parent, flow_run, scope, now, log_prints)
    if attach is not None:
        attach(process, run, result_policy)
    run.span = telemetry.start_run(record, definition, now, outer, flow_run)
    if run.span is not None and (inputs or map_number is not None):
        link_inputs(run.span, inputs, map_number)
    return run


def _result_attacher() -> Attach:
    from flowspan.results.handler import attach  # noqa: PLC0415 - most programs store no results

    return attach


def _counted_name(owner: Run, task_name: str) -> str:
    numbers = owner.task_numbers
    if numbers is None:
        numbers = owner.task_numbers = {}
    number = numbers.get(task_name)
    if number is None:
        number = numbers.setdefault(task_name, count())
    return f"{task_name}-{next(number)}"
