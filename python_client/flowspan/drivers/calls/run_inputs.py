"""The inputs of a run: the upstream runs whose results it takes, and a preview of its arguments.

Upstream runs are reported with the run, and its span, if it has one, links to theirs.
"""

from __future__ import annotations

import logging
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from flowspan.core.events import WAIT_FOR, RunInput
from flowspan.core.limits import MAX_INPUTS
from flowspan.core.provenance import provenance_of
from flowspan.core.states import State
from flowspan.core.values.annotations import allow_failure
from flowspan.core.values.inspection import is_instance
from flowspan.core.values.preview import preview
from flowspan.core.values.traversal import is_plain
from flowspan.drivers.futures.arguments import upstream_in
from flowspan.drivers.futures.future import TaskFuture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowspan.core.definition import FlowDefinition, TaskDefinition
    from flowspan.core.span import RunSpan

_logger = logging.getLogger("flowspan.inputs")

MAX_LINKS = 10
"""Maximum number of links of a span for one parameter."""


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


def inputs_of(
    definition: FlowDefinition | TaskDefinition,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    wait_for: tuple[Any, ...] = (),
    mapped: Mapped | None = None,
) -> tuple[RunInput, ...]:
    """Return the inputs of a run that is about to begin. Never raises.

    Args:
        definition: The flow or task, for the names of parameters.
        args: The positional arguments as given, with futures, states and results of other runs.
        kwargs: The keyword arguments as given.
        wait_for: The additional upstream runs.
        mapped: The position of the run if `map` creates it.

    Returns:
        At most 1000 inputs, in order and without duplicates.
    """
    sources = () if mapped is None else mapped.sources
    has_plain = is_plain(args) and (not kwargs or is_plain(kwargs.values()))
    if has_plain and not wait_for and not sources:
        return ()
    try:
        inputs: list[tuple[str, Any]] = [*sources]
        if not has_plain:
            inputs += zip(_positional_names(definition, len(args)), args, strict=True)
            inputs += kwargs.items()
        inputs += [(WAIT_FOR, item) for item in wait_for]
        return tuple(islice(dict.fromkeys(_upstream_runs(inputs)), MAX_INPUTS))
    except Exception:  # the run can do without them
        _logger.debug("Could not find the inputs of %s.", definition.name, exc_info=True)
        return ()


def link_inputs(span: RunSpan, inputs: tuple[RunInput, ...], map_number: int | None) -> None:
    """Link the span of a run to the spans of its upstream runs. Never raises.

    Args:
        span: The span.
        inputs: The upstream runs.
        map_number: The position of the run among those of a `map`, from 0; None without.
    """
    try:
        if map_number is not None:
            span.mapped(map_number)
        for each, count in _linked(inputs):
            span.link(each.traceparent, each.run_id, each.parameter, count)
    except Exception:  # an error of tracing must not end the run
        _logger.debug("Could not link a span to its inputs.", exc_info=True)


def _linked(inputs: tuple[RunInput, ...]) -> Iterator[tuple[RunInput, int]]:
    """Yield the inputs to link to, each with the number of inputs that the link stands for.

    The number is 0 for a link of its own. A parameter with many inputs gets one link, to the first
    of them that has a span: a thousand links to one `reduce` say less than a link and a number.
    """
    if len(inputs) <= MAX_LINKS:
        yield from ((each, 0) for each in inputs)
        return
    counts = Counter(each.parameter for each in inputs)
    linked: set[str] = set()
    for each in inputs:
        count = counts[each.parameter]
        if count <= MAX_LINKS:
            yield each, 0
        elif each.traceparent and each.parameter not in linked:
            linked.add(each.parameter)
            yield each, count


def preview_of(
    definition: TaskDefinition, args: tuple[Any, ...], kwargs: dict[str, Any], limit_bytes: int
) -> bytes | None:
    """Return a preview of the arguments of a task run; None if it fails. Never raises.

    Args:
        definition: The task.
        args: The positional arguments, with or without futures and states.
        kwargs: The keyword arguments.
        limit_bytes: The largest size of the preview.
    """
    try:
        names, values = definition.binding.given(args, kwargs)
        return preview(names, values, limit_bytes, _own_text)
    except Exception:  # the run can do without it
        _logger.debug("Could not preview the arguments of %s.", definition.name, exc_info=True)
        return None


def _own_text(value: Any) -> str | None:
    """Return the text that stands for a future or a state in a preview."""
    if is_instance(value, TaskFuture):
        return f"<result of {value.run.record.run_name}>"
    if is_instance(value, State):
        return "<state>" if value.run_id is None else f"<result of run {value.run_id}>"
    return None


def _upstream_runs(inputs: list[tuple[str, Any]]) -> Iterator[RunInput]:
    """Yield each upstream run, once for each time that it is found."""
    for name, value in inputs:
        for item in upstream_in(value):
            if is_instance(item, TaskFuture):
                yield RunInput(item.run.record.id, name, item.run.record.traceparent)
            elif is_instance(item, State) and item.run_id is not None:
                yield RunInput(item.run_id, name, item.traceparent)
        for run_id, traceparent in provenance_of(value):
            yield RunInput(run_id, name, traceparent)


def _positional_names(definition: FlowDefinition | TaskDefinition, count: int) -> list[str]:
    """Return a name for each positional argument: its parameter, or its number without one."""
    try:
        names = definition.binding.positional_names(count)
    except (TypeError, ValueError):  # not every callable has a signature
        names = []
    return names + [str(number) for number in range(len(names), count)]
