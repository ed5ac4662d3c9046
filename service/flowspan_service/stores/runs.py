"""The tables of runs, and the mapping of rows to runs.

The order of the values in a row is that of the columns. The unary plus makes plain ints of enums
and bools, which drivers treat specially.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    and_,
    literal_column,
    text,
)

from flowspan_service.domain.payloads import Payload
from flowspan_service.domain.runs import Definition, Run, RunDetails, TraceContext
from flowspan_service.domain.states import State
from flowspan_service.stores.engine.bounds import detail_bytes, state_bytes, tag_bytes
from flowspan_service.stores.ids import Id, to_bytes
from flowspan_service.stores.schema import NAME, metadata

if TYPE_CHECKING:
    from collections.abc import Sequence

Row = tuple[Any, ...]

RUN_BYTES = 512
"""The approximate size of the ids, times, numbers and names in a run's message."""
ID_COLUMNS = 5
"""The number of ids at the beginning of a row of `run`."""
DEFINITIONS_KEPT = 1000

_definitions: dict[bytes, Definition] = {}
"""Recently read definitions, by key."""

run = Table(
    "run",
    metadata,
    Column("id", Id, primary_key=True),
    Column("parent_run_id", Id),
    Column("root_run_id", Id, nullable=False),
    Column("flow_run_id", Id),
    Column("session_id", Id),
    Column("kind", SmallInteger, nullable=False),
    Column("state_type", SmallInteger, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("transition_count", Integer, nullable=False),
    Column("cause", SmallInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("run_duration_us", BigInteger, nullable=False),
    Column("state_time_us", BigInteger, nullable=False),
    Column("started_us", BigInteger),
    Column("ended_us", BigInteger),
    Column("state_scheduled_us", BigInteger),
    Column("state_name", Text, nullable=False),
    Column("state_message", Text, nullable=False),
    Column("state_failure", LargeBinary),
    Column("state_result", LargeBinary),
    Column("function_name", NAME, nullable=False),
    Column("run_name", NAME, nullable=False),
    Column("version", Text, nullable=False),
    Column("tags", Text),
    Column("parameters_encoding", Text),
    Column("parameters", LargeBinary),
    Column("traceparent", Text),
    Column("tracestate", Text),
    Column("parent_span_id", Text),
    Column("exported_by_service", Boolean),
    Column("definition_key", LargeBinary),
    Column("inputs", LargeBinary),
    Column("clock_shift_us", BigInteger),
)
"""Flow runs and task runs. The five ids come first: the row mapping and the dialects rely on it.

It has a rowid in SQLite: without one, a search for an id reads whole rows on the way to it, and a
row may hold megabytes.
"""

definition = Table(
    "definition",
    metadata,
    Column("key", LargeBinary, primary_key=True),
    Column("data", LargeBinary, nullable=False),
)
"""The facts that runs of one function share, such as its description: stored once, not with each
of a thousand runs. Rows are never changed, and never deleted: they are about code, not about runs.
"""

DEFINITION_SQL = "(SELECT data FROM definition WHERE definition.key = run.definition_key)"
RUN_COLUMNS = (*(f"run.{column.name}" for column in run.c), DEFINITION_SQL)
"""The columns that `run_of` takes, in SQL."""
SELECTED = (*run.c, literal_column(DEFINITION_SQL).label("definition_data"))
"""The same, for `select`."""

IS_TOP_LEVEL = text("parent_run_id IS NULL")
IS_BELOW_ROOT = text("root_run_id <> id")
IS_NOT_CHILD_OF_ROOT = text("(parent_run_id IS NULL OR parent_run_id <> root_run_id)")
IS_IN_FLOW_RUN = text("flow_run_id IS NOT NULL")
IS_NOT_CHILD_OF_FLOW_RUN = text("(parent_run_id IS NULL OR parent_run_id <> flow_run_id)")
IS_OPEN = text("state_type < 6")
# For "kind = 1", SQLite may prefer another index that begins with the kind.
IS_FLOW = text("kind <> 2")
"""The predicates of the partial indexes. A query repeats the predicate to use the index."""


def _run_index(name: str, *columns: str, where: object = None) -> Index:
    return Index(
        name,
        *(run.c[column] for column in columns),
        sqlite_where=where,
    )


_run_index("run_by_state", "kind", "state_type", "id")
_run_index("run_by_function", "function_name", "kind", "state_type", "id")
_run_index("run_by_parent", "parent_run_id", "kind", "state_type", "id")
# The index by parent finds the children of a root, and most runs are children of a root: only the
# others pay for an entry here. The same holds for tasks whose parent is not their flow run.
_run_index(
    "run_by_root",
    "root_run_id",
    "kind",
    "state_type",
    "id",
    where=and_(IS_BELOW_ROOT, IS_NOT_CHILD_OF_ROOT),
)
_run_index(
    "run_by_flow_run",
    "flow_run_id",
    "kind",
    "state_type",
    "id",
    where=and_(IS_IN_FLOW_RUN, IS_NOT_CHILD_OF_FLOW_RUN),
)
_run_index("run_top_level", "kind", "state_type", "id", where=IS_TOP_LEVEL)
_run_index("run_open", "session_id", "id", where=IS_OPEN)
_run_index("run_by_name", "run_name", "id", where=IS_FLOW)

run_tag = Table(
    "run_tag",
    metadata,
    Column("tag", NAME, primary_key=True),
    Column("kind", SmallInteger, primary_key=True, autoincrement=False),
    Column("run_id", Id, primary_key=True),
    sqlite_with_rowid=False,
)
"""The runs by tag. The `tags` of a run keep their order."""


def run_row(run: Run, null: object) -> Row:
    """Return a row of `run`, with ids as bytes, and `null` for fields that are None."""
    state, parameters, trace = run.state, run.parameters, run.trace
    return (
        to_bytes(run.id),
        to_bytes(run.parent_run_id) if run.parent_run_id else null,
        to_bytes(run.root_run_id),
        to_bytes(run.flow_run_id) if run.flow_run_id else null,
        to_bytes(run.session_id) if run.session_id else null,
        +run.kind,
        +state.type,
        run.attempt,
        run.transition_count,
        +run.cause,
        run.position,
        run.created_us,
        run.run_duration_us,
        state.time_us,
        null if run.started_us is None else run.started_us,
        null if run.ended_us is None else run.ended_us,
        null if state.scheduled_us is None else state.scheduled_us,
        state.name,
        state.message,
        null if state.failure is None else state.failure,
        null if state.result is None else state.result,
        run.function_name,
        run.run_name,
        run.version,
        json.dumps(run.tags, ensure_ascii=False) if run.tags else null,
        *((parameters.encoding, parameters.data) if parameters else (null, null)),
        *(_trace_values(trace, null) if trace else (null, null, null, null)),
        *((null, null) if run.details is None else _detail_values(run.details, null)),
        null if run.clock_shift_us is None else run.clock_shift_us,
    )


def _detail_values(details: RunDetails, null: object) -> Row:
    return (
        # A bytearray, because Python's sqlite3 binds it faster (see ids.to_bytes).
        null if details.definition is None else bytearray(details.definition.key),
        null if details.inputs is None else bytearray(details.inputs),
    )


def _trace_values(trace: TraceContext, null: object) -> Row:
    """Return the columns of a context; a derived one is NULL but for its exporter."""
    return (
        trace.traceparent or null,
        trace.tracestate,
        trace.parent_span_id,
        +trace.exported_by_service,
    )


def stored_trace(
    traceparent: str | None,
    tracestate: str | None,
    parent_span_id: str | None,
    exported: bool | None,  # noqa: FBT001 - a column
) -> TraceContext | None:
    """Return the trace context in its columns; a derived one has no ids."""
    if traceparent is None and not exported:
        return None
    return TraceContext(traceparent or "", tracestate or "", parent_span_id or "", bool(exported))


CHANGING_COLUMNS = (
    "id",
    "session_id",
    "state_type",
    "attempt",
    "transition_count",
    "cause",
    "position",
    "run_duration_us",
    "state_time_us",
    "started_us",
    "ended_us",
    "state_scheduled_us",
    "state_name",
    "state_message",
    "state_failure",
    "state_result",
)
"""The id, and the columns that may change after the creation."""


def change_row(run: Run, null: object) -> Row:
    """Return the values of CHANGING_COLUMNS, with ids as bytes, and `null` for None."""
    state = run.state
    return (
        to_bytes(run.id),
        to_bytes(run.session_id) if run.session_id else null,
        +state.type,
        run.attempt,
        run.transition_count,
        +run.cause,
        run.position,
        run.run_duration_us,
        state.time_us,
        null if run.started_us is None else run.started_us,
        null if run.ended_us is None else run.ended_us,
        null if state.scheduled_us is None else state.scheduled_us,
        state.name,
        state.message,
        null if state.failure is None else state.failure,
        null if state.result is None else state.result,
    )


def run_of(row: Sequence[Any]) -> Run:
    """Return the run in a row of RUN_COLUMNS with ids as text."""
    (
        run_id, parent, root, flow_run, session,
        kind, state_type, attempt, transition_count, cause, position,
        created_us, duration_us, state_time_us, started_us, ended_us, scheduled_us,
        state_name, state_message, failure, result,
        function_name, run_name, version, tags,
        encoding, data, traceparent, tracestate, parent_span_id, exported,
        definition_key, inputs, clock_shift_us, definition_data,
    ) = row  # fmt: skip
    return Run(
        id=run_id,
        kind=kind,
        function_name=function_name,
        run_name=run_name,
        parent_run_id=parent,
        root_run_id=root,
        flow_run_id=flow_run,
        tags=tuple(json.loads(tags)) if tags else (),
        parameters=Payload(encoding, data) if encoding is not None else None,
        trace=None
        if traceparent is None and not exported
        else stored_trace(traceparent, tracestate, parent_span_id, exported),
        version=version,
        created_us=created_us,
        state=State(
            state_type, state_name, state_message, state_time_us, scheduled_us, failure, result
        ),
        details=None
        if definition_key is None and inputs is None
        else RunDetails(_definition_of(definition_key, definition_data), inputs),
        attempt=attempt,
        transition_count=transition_count,
        cause=cause,
        session_id=session,
        started_us=started_us,
        ended_us=ended_us,
        run_duration_us=duration_us,
        position=position,
        clock_shift_us=clock_shift_us,
    )


def _definition_of(key: bytes | None, data: bytes | None) -> Definition | None:
    """Return a definition: one object for all runs that share it, for the sake of the memory."""
    if key is None or data is None:
        return None
    known = _definitions.get(key)
    if known is None:
        if len(_definitions) >= DEFINITIONS_KEPT:
            _definitions.clear()
        known = _definitions[key] = Definition(key, data)
    return known


def run_bytes(run: Run) -> int:
    """Return the approximate size of a run's message."""
    size = RUN_BYTES + state_bytes(run.state)
    if run.parameters is not None:
        size += len(run.parameters.data)
    if run.details is not None:
        size += detail_bytes(run.details)
    return size + tag_bytes(run.tags) if run.tags else size
