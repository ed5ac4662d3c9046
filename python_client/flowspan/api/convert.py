"""Conversion between wire messages and the records of `flowspan.api.models`."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import IntEnum
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from flowspan.api import models, token_models
from flowspan.api.run_parts import CodeLocation, RunInput, TraceContext
from flowspan.core.state_types import type_of_number
from flowspan.v1 import failure_pb2, run_filter_pb2, state_pb2, watch_service_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.timestamp_pb2 import Timestamp

    from flowspan.core.events import FailureInfo
    from flowspan.core.run_details import RunDetails
    from flowspan.v1 import (
        artifact_pb2,
        code_location_pb2,
        flow_pb2,
        flow_run_pb2,
        label_pb2,
        log_pb2,
        payload_pb2,
        run_input_pb2,
        system_service_pb2,
        task_run_pb2,
        token_pb2,
        trace_pb2,
        transition_pb2,
        variable_pb2,
        verdict_pb2,
    )

_Enum = TypeVar("_Enum", bound=IntEnum)


def instant(message: Any, name: str) -> datetime | None:
    """Return the Timestamp field of that name as a datetime; None if it is not set."""
    if not message.HasField(name):
        return None
    stamp: Timestamp = getattr(message, name)
    return datetime.fromtimestamp(stamp.seconds, UTC).replace(microsecond=stamp.nanos // 1000)


def seconds(duration: Duration) -> float:
    """Return a Duration in seconds."""
    return float(duration.seconds + duration.nanos / 1e9)


def identifier(text: str) -> UUID | None:
    """Return an id as a UUID; None if it is empty."""
    return UUID(text) if text else None


def known(enum: type[_Enum], number: int) -> _Enum:
    """Return the enum member with that number; UNKNOWN if this client does not know it."""
    try:
        return enum(number)
    except ValueError:
        return enum(0)


def _wire_type(kind: models.StateType) -> str:
    """Return the wire name of a state type, which may be given as text."""
    return state_pb2.StateType.Name(models.StateType(kind).number)


def failure(message: failure_pb2.Failure) -> models.Failure:
    """Return a failure with its causes. The service limits their depth and number."""
    return models.Failure(
        type=message.type,
        message=message.message,
        stack_trace=message.stack_trace,
        cause=failure(message.cause) if message.HasField("cause") else None,
        other_causes=tuple(map(failure, message.other_causes)),
    )


def payload(message: payload_pb2.Payload) -> models.Payload:
    """Return a user value."""
    return models.Payload(encoding=message.encoding, data=message.data)


def state(message: state_pb2.State) -> models.State:
    """Return a state."""
    return models.State(
        type=type_of_number(message.type),
        name=message.name,
        message=message.message,
        entered_at=instant(message, "time"),
        scheduled_at=instant(message, "scheduled_time"),
        failure=failure(message.failure) if message.HasField("failure") else None,
        result_reference=payload(message.result) if message.HasField("result") else None,
    )


def _trace(message: trace_pb2.TraceContext) -> TraceContext:
    return TraceContext(
        traceparent=message.traceparent,
        tracestate=message.tracestate,
        parent_span_id=message.parent_span_id,
    )


def _common(message: flow_run_pb2.FlowRun | task_run_pb2.TaskRun) -> dict[str, Any]:
    """Return the fields common to both kinds of runs."""
    run_id = UUID(message.id)
    return {
        "id": run_id,
        "name": message.name,
        "state": state(message.state),
        "attempt": message.attempt,
        "parent_run_id": identifier(message.parent_run_id),
        "root_run_id": identifier(message.root_run_id) or run_id,
        "tags": tuple(message.tags),
        "created_at": instant(message, "create_time"),
        "started_at": instant(message, "start_time"),
        "ended_at": instant(message, "end_time"),
        "run_duration_s": seconds(message.run_duration),
        "trace": _trace(message.trace) if message.HasField("trace") else None,
        "session_id": identifier(message.session_id),
        "transition_count": message.transition_count,
        "description": message.description,
        "max_attempts": message.max_attempts,
        "inputs": tuple(map(_input, message.inputs)),
        "code": _code(message.code) if message.HasField("code") else None,
    }


def _input(message: run_input_pb2.RunInput) -> RunInput:
    return RunInput(run_id=UUID(message.run_id), parameter=message.parameter)


def _code(message: code_location_pb2.CodeLocation) -> CodeLocation:
    return CodeLocation(file_path=message.file_path, line=message.line, function=message.function)


def flow_run(message: flow_run_pb2.FlowRun) -> models.FlowRun:
    """Return a flow run."""
    return models.FlowRun(
        flow_id=identifier(message.flow_id),
        flow_name=message.flow_name,
        flow_version=message.flow_version,
        parameters=payload(message.parameters) if message.HasField("parameters") else None,
        **_common(message),
    )


def task_run(message: task_run_pb2.TaskRun) -> models.TaskRun:
    """Return a task run."""
    return models.TaskRun(
        task_name=message.task_name,
        flow_run_id=identifier(message.flow_run_id),
        task_version=message.task_version,
        parameters=payload(message.parameters) if message.HasField("parameters") else None,
        **_common(message),
    )


def transition(message: transition_pb2.Transition) -> models.Transition:
    """Return a transition."""
    return models.Transition(
        run_id=UUID(message.run_id),
        ordinal=message.ordinal,
        attempt=message.attempt,
        state=state(message.state),
        cause=known(models.TransitionCause, message.cause),
        position=message.position,
        committed_at=instant(message, "commit_time"),
    )


def verdict(message: verdict_pb2.Verdict) -> models.Verdict:
    """Return a verdict."""
    return models.Verdict(
        run_id=UUID(message.run_id),
        kind=known(models.VerdictKind, message.kind),
        rule=message.rule,
        reason=message.reason,
        current_state=state(message.current_state) if message.HasField("current_state") else None,
        current_attempt=message.current_attempt,
        retry_after_s=seconds(message.retry_after) if message.HasField("retry_after") else None,
    )


def flow(message: flow_pb2.Flow) -> models.Flow:
    """Return a flow."""
    return models.Flow(
        id=UUID(message.id),
        name=message.name,
        created_at=instant(message, "create_time"),
        last_run_at=instant(message, "last_run_time"),
    )


def artifact(message: artifact_pb2.Artifact) -> models.Artifact:
    """Return an artifact."""
    return models.Artifact(
        id=UUID(message.id),
        key=message.key or None,
        type=message.type,
        description=message.description,
        data=payload(message.data) if message.HasField("data") else None,
        run_id=identifier(message.run_id),
        flow_run_id=identifier(message.flow_run_id),
        created_at=instant(message, "create_time"),
        updated_at=instant(message, "update_time"),
    )


def variable(message: variable_pb2.Variable) -> models.Variable:
    """Return a variable."""
    return models.Variable(
        name=message.name,
        value=payload(message.value),
        tags=tuple(message.tags),
        created_at=instant(message, "create_time"),
        updated_at=instant(message, "update_time"),
    )


def token(message: token_pb2.Token) -> token_models.Token:
    """Return an access token."""
    return token_models.Token(
        id=UUID(message.id),
        name=message.name,
        scopes=tuple(known(token_models.TokenScope, scope) for scope in message.scopes),
        created_at=instant(message, "create_time"),
        expires_at=instant(message, "expire_time"),
        last_used_at=instant(message, "last_use_time"),
        revoked_at=instant(message, "revoke_time"),
        max_calls_per_second=message.max_calls_per_second,
        max_request_bytes=message.max_request_bytes,
    )


def label(message: label_pb2.Label) -> models.Label:
    """Return a label."""
    return models.Label(run_id=UUID(message.run_id), key=message.key, value=message.value)


def labels(by_key: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of a run, ordered by key."""
    return dict(sorted(by_key.items()))


def info(message: system_service_pb2.GetInfoResponse) -> models.ServiceInfo:
    """Return the state and settings of the service."""
    return models.ServiceInfo(
        version=message.version,
        schema_version=message.schema_version,
        database=message.database,
        started_at=instant(message, "start_time"),
        server_time=instant(message, "server_time"),
        process_id=message.process_id,
        connected_session_count=message.connected_session_count,
        committed_transition_count=message.committed_transition_count,
        queued_event_count=message.queued_event_count,
        lease_s=seconds(message.lease),
        reconnect_grace_s=seconds(message.reconnect_grace),
        otlp_endpoint=message.otlp_endpoint or message.otlp_target.traces_url,
        max_message_bytes=message.max_message_bytes,
        capabilities=tuple(message.capabilities),
        database_location=message.database_location,
        database_size_bytes=message.database_size_bytes,
        log_file=message.log_file,
        is_embedded=message.is_embedded,
        idle_timeout_s=seconds(message.idle_timeout) if message.HasField("idle_timeout") else None,
        longest_write_s=seconds(message.longest_write),
        longest_recent_write_s=seconds(message.longest_recent_write),
        database_problem=message.database_problem,
        http_address=message.http_address,
        trace_url=message.trace_url,
    )


def counts(items: Iterable[run_filter_pb2.StateCount]) -> dict[models.StateType, int]:
    """Return the number of runs by state type."""
    return {type_of_number(item.type): item.count for item in items}


def watch_item(
    message: watch_service_pb2.WatchResponse,
) -> models.RunSnapshot | models.SnapshotEnd | models.Change | None:
    """Return an item of a watch; None for a kind that this client does not know."""
    match message.WhichOneof("item"):
        case "flow_run":
            return models.RunSnapshot(flow_run(message.flow_run))
        case "task_run":
            return models.RunSnapshot(task_run(message.task_run))
        case "snapshot_end":
            return models.SnapshotEnd(message.snapshot_end.run_count, message.resume_token)
        case "change":
            return _change(message.change, message.resume_token)
        case _:
            return None


def _change(message: watch_service_pb2.Change, token: str) -> models.Change:
    run: models.Run | None = None
    if message.HasField("flow_run"):
        run = flow_run(message.flow_run)
    elif message.HasField("task_run"):
        run = task_run(message.task_run)
    return models.Change(transition(message.transition), run, token)


def wire_optional(value: UUID | str | None, name: str) -> str:
    """Return an optional id or text for the wire, where an empty string means absent.

    Raises:
        ValueError: The text is empty or blank, which would be taken as absent.
    """
    if value is None:
        return ""
    text = str(value)
    if not text.strip():
        raise ValueError(f"{name} is empty ({text!r}). Omit it or pass None for no filter")
    return text


def wire_filter(value: models.RunFilter | None) -> run_filter_pb2.RunFilter | None:
    """Return a filter for the wire."""
    if value is None:
        return None
    return run_filter_pb2.RunFilter(
        state_types=[_wire_type(item) for item in value.state_types],
        state_names=value.state_names,
        function_names=value.function_names,
        tags=value.tags,
        parent_run_id=wire_optional(value.parent_run_id, "parent_run_id"),
        root_run_id=wire_optional(value.root_run_id, "root_run_id"),
        flow_run_id=wire_optional(value.flow_run_id, "flow_run_id"),
        top_level_only=value.top_level_only,
        created_after=wire_time(value.created_after, "created_after"),
        created_before=wire_time(value.created_before, "created_before"),
        run_name=wire_optional(value.run_name, "run_name"),
        id_prefix=wire_optional(value.id_prefix, "id_prefix"),
        id_suffix=wire_optional(value.id_suffix, "id_suffix"),
    )


def wire_order(*, oldest_first: bool) -> run_filter_pb2.RunOrder:
    """Return an order of runs for the wire."""
    if oldest_first:
        return run_filter_pb2.RUN_ORDER_OLDEST_FIRST
    return run_filter_pb2.RUN_ORDER_NEWEST_FIRST


def wire_level(number: int) -> log_pb2.LogLevel:
    """Return a log level for the wire."""
    # An open enum: the generated type cannot express that other numbers are allowed.
    return number  # type: ignore[return-value]


def wire_state(
    kind: models.StateType, *, name: str, message: str, scheduled_at: datetime | None = None
) -> state_pb2.State:
    """Return a requested state for the wire, without a time: the service sets it."""
    return state_pb2.State(
        type=_wire_type(kind),
        name=name,
        message=message,
        scheduled_time=wire_time(scheduled_at, "scheduled_at"),
    )


def wire_failure(value: models.Failure | FailureInfo) -> failure_pb2.Failure:
    """Return a failure with its causes for the wire."""
    return failure_pb2.Failure(
        type=value.type,
        message=value.message,
        stack_trace=value.stack_trace,
        cause=None if value.cause is None else wire_failure(value.cause),
        other_causes=map(wire_failure, value.other_causes),
    )


def set_code(message: code_location_pb2.CodeLocation, value: CodeLocation | RunDetails) -> None:
    """Set a CodeLocation message."""
    message.file_path, message.line = value.file_path, value.line
    message.function = value.function


def set_time(stamp: Timestamp, value: datetime, name: str) -> None:
    """Set a Timestamp message.

    Raises:
        ValueError: The value has no time zone.
    """
    wire_time(value, name)
    stamp.FromDatetime(value)


def wire_time(value: datetime | None, name: str) -> datetime | None:
    """Return an instant for the wire, after checking its time zone.

    Raises:
        ValueError: The value has no time zone.
    """
    if value is not None and value.tzinfo is None:
        raise ValueError(f"{name} must have a time zone, as in datetime.now(UTC), not {value!r}")
    return value
