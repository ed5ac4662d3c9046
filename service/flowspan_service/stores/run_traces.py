"""The derived trace contexts of runs that were read (see domain.traces)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import select

from flowspan_service.domain.traces import MAX_DEPTH, is_derived, trace_of
from flowspan_service.stores.engine.bulk import IDS_PER_STATEMENT, chunks
from flowspan_service.stores.runs import run, stored_trace

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.engine import Connection

    from flowspan_service.domain.runs import Run, TraceContext
    from flowspan_service.stores.engine.reading import Reading


class _Node(NamedTuple):
    """The fields of a run from which trace contexts are derived (domain.traces.TraceNode)."""

    id: str
    parent_run_id: str | None
    root_run_id: str
    trace: TraceContext | None


_NODES = select(
    run.c.id,
    run.c.parent_run_id,
    run.c.root_run_id,
    run.c.traceparent,
    run.c.tracestate,
    run.c.parent_span_id,
    run.c.exported_by_service,
)


def derive_traces(reading: Reading, runs: Iterable[Run]) -> None:
    """Set the trace contexts of the runs whose contexts are derived.

    Reads one level of ancestors after the other, and nothing if no context is derived.
    """
    derived = [each for each in runs if is_derived(each.trace)]
    if not derived:
        return
    known: dict[str, Any] = {each.id: _Node(*_fields(each)) for each in derived}
    _read_ancestors(reading, {each.parent_run_id for each in derived if each.parent_run_id}, known)
    for each in derived:
        each.trace = trace_of(known[each.id], known.get)


def read_traces(reading: Reading, run_ids: Iterable[str]) -> dict[str, TraceContext]:
    """Return the trace contexts of the runs among these that have one, by run."""
    wanted = set(run_ids)
    known: dict[str, Any] = {}
    _read_ancestors(reading, wanted, known)
    nodes = [known[run_id] for run_id in sorted(wanted) if known[run_id] is not None]
    traces = {node.id: trace_of(node, known.get) for node in nodes}
    return {run_id: trace for run_id, trace in traces.items() if trace is not None}


def _read_ancestors(reading: Reading, run_ids: set[str], known: dict[str, Any]) -> None:
    """Read runs into `known`, and those of their ancestors that the derivation may need."""
    wanted = run_ids - known.keys()
    if not wanted:
        return
    with reading.connection() as connection:
        for _ in range(MAX_DEPTH):
            wanted = _read(connection, wanted, known) - known.keys()
            if not wanted:
                return


def _fields(found: Run) -> tuple[str, str | None, str, TraceContext | None]:
    return found.id, found.parent_run_id, found.root_run_id, found.trace


def _read(connection: Connection, run_ids: Iterable[str], known: dict[str, Any]) -> set[str]:
    """Read runs into `known`; return the parents that the derivation may need, too."""
    known.update(dict.fromkeys(run_ids))  # those that do not exist
    parents: set[str] = set()
    for chunk in chunks(sorted(run_ids), IDS_PER_STATEMENT):
        for row in connection.execute(_NODES.where(run.c.id.in_(chunk))):
            run_id, parent_id, root_id, *trace = row
            known[run_id] = node = _Node(run_id, parent_id, root_id, stored_trace(*trace))
            if parent_id and (node.trace is None or is_derived(node.trace)):
                parents.add(parent_id)
    return parents
