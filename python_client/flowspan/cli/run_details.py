"""Rendering of what a run says of itself: attempts, arguments, inputs, code and errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan.api.models import FlowRun
from flowspan.cli import format as fmt
from flowspan.cli import json_output
from flowspan.cli.lookup import short_id
from flowspan.cli.safe_text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from uuid import UUID

    from flowspan.api.models import Failure, Payload, Run

_FIELD_WIDTH = 300
_SHOWN_INPUTS = 10
_SHOWN_TRACE_LINES = 12
_SHOWN_CAUSES = 5


def attempts(run: Run) -> str:
    """Return the attempt of a run, with their largest number if it is known: "2 of 4"."""
    if run.max_attempts < run.attempt:  # unknown
        return fmt.count(run.attempt)
    return f"{fmt.count(run.attempt)} of {fmt.count(run.max_attempts)}"


def arguments(run: Run, *, width: int | None) -> str:
    """Return the arguments of a run on one line: "row=17, table=<pandas.DataFrame>".

    Args:
        run: The run.
        width: The number of characters to show at most; None for all.
    """
    return "" if run.parameters is None else _arguments(run.parameters, width=width)


def _arguments(payload: Payload, *, width: int | None) -> str:
    try:
        value = payload.json()
    except ValueError:
        return f"{fmt.size(len(payload.data))}, encoded as {payload.encoding!r}"
    if not isinstance(value, dict):
        return _shortened(json_output.line(value), width)
    text = ", ".join(f"{name}={json_output.line(item)}" for name, item in value.items())
    return _shortened(text, width)


def fields(
    run: Run, labels: Mapping[str, str], names: Mapping[UUID, str], *, full: bool
) -> Iterator[tuple[str, str]]:
    """Yield the fields below the title of a run, each with its name, in order.

    Args:
        run: The run.
        labels: Its labels.
        names: The names of its upstream runs, as far as they are known.
        full: True to shorten nothing.
    """
    width = None if full else _FIELD_WIDTH
    description = run.description.strip()
    if description:
        first = description if full else description.partition("\n")[0]
        yield "description", _shortened(first, width)
    version = run.flow_version if isinstance(run, FlowRun) else run.task_version
    if version:
        yield "version", version
    if run.attempt > 1 or run.max_attempts > 1:
        yield "attempt", attempts(run)
    if run.tags:
        yield "tags", ", ".join(run.tags)
    if labels:
        yield "labels", _shortened(fmt.labels(labels), width)
    if run.parameters is not None:
        name = "parameters" if isinstance(run, FlowRun) else "arguments"
        yield name, arguments(run, width=width)
    if run.inputs:
        yield "inputs", _inputs(run, names, full=full)
    if run.code is not None:
        yield "code", str(run.code)


def _inputs(run: Run, names: Mapping[UUID, str], *, full: bool) -> str:
    """Return the inputs by parameter: "records from load-0 (9e1b2c3d)"."""
    shown = run.inputs if full else run.inputs[:_SHOWN_INPUTS]
    parts = []
    for each in shown:
        name = names.get(each.run_id)
        run_text = f"{name} ({short_id(each.run_id)})" if name else short_id(each.run_id)
        parts.append(f"{each.parameter} from {run_text}")
    if len(run.inputs) > len(shown):
        parts.append(f"… {fmt.count(len(run.inputs) - len(shown))} more")
    return ", ".join(parts)


def _shortened(text: str, width: int | None) -> str:
    return text if width is None or len(text) <= width else f"{text[:width]}…"


def failure_lines(failure: Failure | None, *, full: bool) -> Iterator[str]:
    """Yield the stack trace of an error, and one line for each cause that the trace leaves out.

    Args:
        failure: The error; None yields nothing.
        full: True for whole traces, also of the causes.
    """
    if failure is None:
        return
    trace = _trace(failure, full=full)
    yield from trace
    left_out = [
        (how, cause)
        for how, cause in _causes(failure)
        if fmt.failure_line(cause) not in failure.stack_trace
    ]
    for how, cause in left_out if full else left_out[:_SHOWN_CAUSES]:
        yield f"{how} {fmt.failure_line(cause)}"
        if full:
            yield from (f"  {line}" for line in _trace(cause, full=True))
    if not full and len(left_out) > _SHOWN_CAUSES:
        more = fmt.count(len(left_out) - _SHOWN_CAUSES, "more cause")
        yield f"… {more}. Use --full to show all."


def _causes(failure: Failure) -> Iterator[tuple[str, Failure]]:
    """Yield each cause at any depth, with its relation to the error that it caused."""
    waiting = [("", failure)]
    while waiting:
        how, error = waiting.pop()
        if how:
            yield how, error
        waiting += [("together with", other) for other in reversed(error.other_causes)]
        if error.cause is not None:
            waiting.append(("caused by", error.cause))


def _trace(failure: Failure, *, full: bool) -> list[str]:
    # Clean here, because rich removes the terminators of some escape sequences.
    lines = clean(failure.stack_trace).rstrip().splitlines()
    if full or len(lines) <= _SHOWN_TRACE_LINES:
        return lines
    more = fmt.count(len(lines) - _SHOWN_TRACE_LINES, "more line")
    return [f"… {more}. Use --full to show all.", *lines[-_SHOWN_TRACE_LINES:]]
