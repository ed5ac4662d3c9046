"""Links in traces: from a run to the runs whose results it takes.

All of this is only done for runs that have a span.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from flowspan.core.provenance import provenance_of
from flowspan.core.states import State
from flowspan.core.values.annotations import allow_failure
from flowspan.core.values.inspection import is_instance
from flowspan.core.values.traversal import is_plain
from flowspan.drivers.futures.arguments import upstream_in
from flowspan.drivers.futures.future import TaskFuture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowspan.core.definition import FlowDefinition, TaskDefinition
    from flowspan.core.run import Run
    from flowspan.core.span import RunSpan

WAIT_FOR = "wait_for"

_logger = logging.getLogger("flowspan.telemetry")


class Mapped(NamedTuple):
    """The place of a run among those that one call of `map` makes.

    Attributes:
        number: 0 for the first.
        sources: The futures whose results were gone through, by the names of parameters.
    """

    number: int
    sources: tuple[tuple[str, TaskFuture[Any]], ...] = ()


def mapped_sources(
    definition: TaskDefinition, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[str, TaskFuture[Any]], ...]:
    """The arguments of `map` whose results it goes through, by the names of parameters."""
    values = [
        value.unwrap() if is_instance(value, allow_failure) else value
        for value in (*args, *kwargs.values())
    ]
    if not any(is_instance(value, TaskFuture) for value in values):
        return ()
    names = [*_positional_names(definition, len(args)), *kwargs]
    pairs = zip(names, values, strict=True)
    return tuple((name, value) for name, value in pairs if is_instance(value, TaskFuture))


def link_inputs(
    run: Run,
    definition: FlowDefinition | TaskDefinition,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    wait_for: tuple[Any, ...],
    mapped: Mapped | None = None,
) -> None:
    """Links the span of a run, if it has one, to those of the runs behind its arguments.

    Args:
        run: The run, announced.
        definition: The flow or task, for the names of parameters.
        args: The positional arguments as they were given, with futures, states and results of
            other runs in them.
        kwargs: The keyword arguments, likewise.
        wait_for: What is waited for besides.
        mapped: For a run that `map` made: its place among them.
    """
    if run.span is None:
        return
    try:
        _link_inputs(run.span, definition, args, kwargs, wait_for, mapped)
    except Exception:  # the run is announced: tracing that fails must not leave it open
        _logger.debug("Could not link run %s to its inputs.", run.record.id, exc_info=True)


def _link_inputs(
    span: RunSpan,
    definition: FlowDefinition | TaskDefinition,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    wait_for: tuple[Any, ...],
    mapped: Mapped | None,
) -> None:
    inputs: list[tuple[str, Any]] = []
    if mapped is not None:
        span.mapped(mapped.number)
        inputs += mapped.sources
    if not (is_plain(args) and is_plain(kwargs.values())):
        inputs += zip(_positional_names(definition, len(args)), args, strict=True)
        inputs += kwargs.items()
    inputs += [(WAIT_FOR, item) for item in wait_for]
    for run_id, traceparent, name in dict.fromkeys(_upstream_runs(inputs)):
        span.link(traceparent, run_id, name)


def _upstream_runs(inputs: list[tuple[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """The id and traceparent of each run behind the inputs, and the parameter that takes it."""
    for name, value in inputs:
        for item in upstream_in(value):
            if is_instance(item, TaskFuture):
                yield item.run.record.id, item.run.record.traceparent, name
            elif is_instance(item, State) and item.run_id is not None:
                yield item.run_id, item.traceparent, name
        for run_id, traceparent in provenance_of(value):
            yield run_id, traceparent, name


def _positional_names(definition: FlowDefinition | TaskDefinition, count: int) -> list[str]:
    """A name for each positional argument: its parameter's, or its number where there is none."""
    try:
        names = definition.binding.positional_names(count)
    except (TypeError, ValueError):  # not every callable has a signature
        names = []
    return names + [str(number) for number in range(len(names), count)]
