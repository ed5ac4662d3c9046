"""Trace links from a run to its upstream runs, whose results it takes.

Only used for runs that have a span.
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
    """The position of a run among the runs of one call of `map`.

    Attributes:
        number: 0 for the first.
        sources: The futures whose results are mapped over, by parameter.
    """

    number: int
    sources: tuple[tuple[str, TaskFuture[Any]], ...] = ()


def mapped_sources(
    definition: TaskDefinition, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[str, TaskFuture[Any]], ...]:
    """Return the arguments of `map` that are futures to map over, by parameter."""
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
    """Link the span of a run, if it has one, to the spans of its upstream runs.

    Args:
        run: The run, already announced.
        definition: The flow or task, for the names of parameters.
        args: The positional arguments as given, with futures, states and results of other runs.
        kwargs: The keyword arguments as given.
        wait_for: The additional upstream runs.
        mapped: The position of the run if `map` created it.
    """
    if run.span is None:
        return
    try:
        _link_inputs(run.span, definition, args, kwargs, wait_for, mapped)
    except Exception:  # the run is already announced: a tracing error must not leave it open
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
    """Yield id and traceparent of each upstream run, with the parameter that takes its result."""
    for name, value in inputs:
        for item in upstream_in(value):
            if is_instance(item, TaskFuture):
                yield item.run.record.id, item.run.record.traceparent, name
            elif is_instance(item, State) and item.run_id is not None:
                yield item.run_id, item.traceparent, name
        for run_id, traceparent in provenance_of(value):
            yield run_id, traceparent, name


def _positional_names(definition: FlowDefinition | TaskDefinition, count: int) -> list[str]:
    """Return a name for each positional argument: its parameter, or its number without one."""
    try:
        names = definition.binding.positional_names(count)
    except (TypeError, ValueError):  # not every callable has a signature
        names = []
    return names + [str(number) for number in range(len(names), count)]
