"""Records to rows and back. The order of the values is that of the columns in `tables`.

The unary plus makes plain ints of enums and bools, which drivers take for something special.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from flowspan_service.domain.artifacts import Artifact
from flowspan_service.domain.logs import LogEntry
from flowspan_service.domain.payloads import Payload
from flowspan_service.domain.runs import Run, TraceContext, Transition
from flowspan_service.domain.sessions import Session
from flowspan_service.domain.states import State
from flowspan_service.domain.variables import Variable
from flowspan_service.stores.ids import to_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

Row = tuple[Any, ...]

ID_COLUMNS = 5
"""How many ids a row of `run` begins with."""


def run_row(run: Run, null: object) -> Row:
    """A row of `run`, ids as bytes, with `null` for what is not set."""
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
        *(_trace_values(trace) if trace else (null, null, null, null)),
    )


def _trace_values(trace: TraceContext) -> Row:
    return (
        trace.traceparent,
        trace.tracestate,
        trace.parent_span_id,
        +trace.exported_by_service,
    )


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
"""The run's id, and the columns that may change after it was created."""


def change_row(run: Run, null: object) -> Row:
    """The values of CHANGING_COLUMNS, ids as bytes, with `null` for what is not set."""
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
    """The run in a row of `run`, ids as text."""
    (
        run_id, parent, root, flow_run, session,
        kind, state_type, attempt, transition_count, cause, position,
        created_us, duration_us, state_time_us, started_us, ended_us, scheduled_us,
        state_name, state_message, failure, result,
        function_name, run_name, version, tags,
        encoding, data, traceparent, tracestate, parent_span_id, exported,
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
        trace=TraceContext(traceparent, tracestate, parent_span_id, bool(exported))
        if traceparent is not None
        else None,
        version=version,
        created_us=created_us,
        state=State(
            state_type, state_name, state_message, state_time_us, scheduled_us, failure, result
        ),
        attempt=attempt,
        transition_count=transition_count,
        cause=cause,
        session_id=session,
        started_us=started_us,
        ended_us=ended_us,
        run_duration_us=duration_us,
        position=position,
    )


def transition_of(row: Sequence[Any]) -> Transition:
    """The transition in a row of `transition`, ids as text."""
    (
        position, _previous, run_id, ordinal, attempt, state_type, cause, commit_us,
        time_us, scheduled_us, name, message, failure, result,
    ) = row  # fmt: skip
    return Transition(
        run_id=run_id,
        ordinal=ordinal,
        attempt=attempt,
        state=State(state_type, name, message, time_us, scheduled_us, failure, result),
        cause=cause,
        commit_us=commit_us,
        position=position,
    )


def log_of(row: Sequence[Any]) -> LogEntry:
    """The log record in a row of `log`, ids as text."""
    (
        _root, position, run_id, attempt, level, chunk_index, chunk_count, time_us,
        logger, trace_id, span_id, message,
    ) = row  # fmt: skip
    return LogEntry(
        run_id=run_id,
        attempt=attempt,
        level=level,
        time_us=time_us,
        logger=logger,
        message=message,
        trace_id=trace_id,
        span_id=span_id,
        chunk_index=chunk_index,
        chunk_count=chunk_count,
        position=position,
    )


def session_values(session: Session) -> dict[str, Any]:
    """The columns of a row of `session`, the id as text."""
    return {
        "id": session.id,
        "status": session.status,
        "last_sequence": session.last_sequence,
        "lease_us": session.lease_us,
        "lease_expires_us": session.lease_expires_us,
        "created_us": session.created_us,
        "client": json.dumps(session.client, ensure_ascii=False),
        "renewals": session.renewals,
        "silence_us": session.silence_us,
        "secret_hash": session.secret_hash,
    }


def session_of(row: Sequence[Any]) -> Session:
    """The session in a row of `session`, ids as text."""
    (
        session_id, status, last_sequence, lease_us, lease_expires_us, created_us, client,
        renewals, silence_us, secret_hash,
    ) = row  # fmt: skip
    return Session(
        id=session_id,
        status=status,
        last_sequence=last_sequence,
        lease_us=lease_us,
        lease_expires_us=lease_expires_us,
        created_us=created_us,
        client=json.loads(client),
        renewals=renewals,
        silence_us=silence_us,
        secret_hash=secret_hash,
    )


def artifact_row(artifact: Artifact, null: object) -> Row:
    """A row of `artifact`, ids as bytes, with `null` for what is not set."""
    data = artifact.data
    return (
        to_bytes(artifact.id),
        to_bytes(artifact.run_id) if artifact.run_id else null,
        to_bytes(artifact.flow_run_id) if artifact.flow_run_id else null,
        to_bytes(artifact.root_run_id) if artifact.root_run_id else null,
        artifact.created_us,
        artifact.updated_us,
        artifact.type,
        artifact.key if artifact.key is not None else null,
        artifact.description,
        *((data.encoding, data.data) if data is not None else (null, null)),
    )


def artifact_of(row: Sequence[Any]) -> Artifact:
    """The artifact in a row of `artifact`, ids as text."""
    (
        artifact_id, run_id, flow_run_id, root_run_id, created_us, updated_us,
        kind, key, description, encoding, data,
    ) = row  # fmt: skip
    return Artifact(
        id=artifact_id,
        key=key,
        type=kind,
        description=description,
        data=Payload(encoding, data) if encoding is not None else None,
        run_id=run_id,
        flow_run_id=flow_run_id,
        root_run_id=root_run_id,
        created_us=created_us,
        updated_us=updated_us,
    )


def variable_values(variable: Variable) -> dict[str, Any]:
    """The columns of a row of `variable`."""
    return {
        "name": variable.name,
        "value_encoding": variable.value.encoding,
        "value": variable.value.data,
        "tags": json.dumps(variable.tags, ensure_ascii=True) if variable.tags else None,
        "created_us": variable.created_us,
        "updated_us": variable.updated_us,
    }


def variable_of(row: Sequence[Any]) -> Variable:
    """The variable in a row of `variable`."""
    name, encoding, value, tags, created_us, updated_us = row
    return Variable(
        name=name,
        value=Payload(encoding, value),
        tags=tuple(json.loads(tags)) if tags else (),
        created_us=created_us,
        updated_us=updated_us,
    )
