"""Between the records of the domain and the messages of the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from flowspan.v1 import (
    artifact_pb2,
    failure_pb2,
    flow_pb2,
    flow_run_pb2,
    log_pb2,
    payload_pb2,
    run_filter_pb2,
    state_pb2,
    task_run_pb2,
    trace_pb2,
    transition_pb2,
    variable_pb2,
    verdict_pb2,
)
from flowspan_service.api import limits
from flowspan_service.app.artifacts import ArtifactChange, NewArtifact
from flowspan_service.app.queries import RunFilter
from flowspan_service.app.reports import NewRun
from flowspan_service.domain.flows import flow_id
from flowspan_service.domain.runs import LogEntry, Payload, Run, RunKind, TraceContext
from flowspan_service.domain.states import DEFAULT_NAMES, State, StateType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowspan_service.app.queries import FlowInfo
    from flowspan_service.domain.artifacts import Artifact
    from flowspan_service.domain.runs import Transition
    from flowspan_service.domain.variables import Variable
    from flowspan_service.domain.verdicts import Verdict

_SECOND = 1_000_000
_HAVE_FAILURES = frozenset({StateType.FAILED, StateType.CRASHED})


def timestamp(at_us: int) -> Timestamp:
    """A time."""
    seconds, rest = divmod(at_us, _SECOND)
    return Timestamp(seconds=seconds, nanos=rest * 1000)


def duration(length_us: int) -> Duration:
    """A length of time."""
    seconds, rest = divmod(length_us, _SECOND)
    return Duration(seconds=seconds, nanos=rest * 1000)


def _put_time(wire: Timestamp | Duration, at_us: int) -> None:
    """Sets a time, or a length of time, where it is: cheaper than making one and copying it."""
    wire.seconds, rest = divmod(at_us, _SECOND)
    wire.nanos = rest * 1000


def microseconds(wire: Timestamp | Duration) -> int:
    """A time, or a length of time."""
    return wire.seconds * _SECOND + wire.nanos // 1000


def payload_of(wire: payload_pb2.Payload) -> Payload:
    """A value of the user's, from the wire."""
    return Payload(wire.encoding, wire.data)


def new_trace(wire: trace_pb2.TraceContext) -> TraceContext:
    """A place in a trace, from the wire."""
    return TraceContext(
        wire.traceparent, wire.tracestate, wire.parent_span_id, wire.exported_by_service
    )


def new_state(wire: state_pb2.State) -> State:
    """A state that somebody asks for, from the wire; its time, if it has none, is 0.

    As in reports, only a state that has failed has a failure, and only one that completed a result.
    """
    kind = int(wire.type)
    has_failure = kind in _HAVE_FAILURES and wire.HasField("failure")
    has_result = kind == StateType.COMPLETED and wire.HasField("result")
    return State(
        kind,
        wire.name or DEFAULT_NAMES[StateType(kind)],
        wire.message,
        microseconds(wire.time),
        microseconds(wire.scheduled_time) if wire.HasField("scheduled_time") else None,
        wire.failure.SerializeToString() if has_failure else None,
        wire.result.SerializeToString() if has_result else None,
    )


def new_flow_run(wire: flow_run_pb2.FlowRun, *, now_us: int) -> NewRun:
    """A flow run to create, from the wire."""
    state = new_state(wire.state)
    if not wire.state.HasField("time"):
        state.time_us = now_us
    return NewRun(
        id=wire.id,
        kind=RunKind.FLOW,
        function_name=wire.flow_name,
        run_name=wire.name,
        parent_run_id=wire.parent_run_id or None,
        root_run_id=wire.root_run_id or wire.id,
        flow_run_id=None,
        tags=tuple(wire.tags),
        parameters=payload_of(wire.parameters) if wire.HasField("parameters") else None,
        trace=new_trace(wire.trace) if wire.HasField("trace") else None,
        version=wire.flow_version,
        created_us=state.time_us,
        state=state,
    )


def new_artifact(wire: artifact_pb2.Artifact, *, now_us: int) -> NewArtifact:
    """An artifact to make, from the wire."""
    return NewArtifact(
        id=wire.id,
        key=wire.key or None,
        type=wire.type,
        description=wire.description,
        data=payload_of(wire.data) if wire.HasField("data") else None,
        run_id=wire.run_id or None,
        created_us=microseconds(wire.create_time) if wire.HasField("create_time") else now_us,
    )


def artifact_change(wire: artifact_pb2.ArtifactChange, *, now_us: int) -> ArtifactChange:
    """What is to change of an artifact, from the wire."""
    return ArtifactChange(
        id=wire.id,
        description=wire.description if wire.HasField("description") else None,
        data=payload_of(wire.data) if wire.HasField("data") else None,
        changed_us=microseconds(wire.change_time) if wire.HasField("change_time") else now_us,
    )


def run_filter(wire: run_filter_pb2.RunFilter) -> RunFilter:
    """Which runs, from the wire."""
    return RunFilter(
        state_types=tuple(wire.state_types),
        state_names=tuple(wire.state_names),
        function_names=tuple(wire.function_names),
        tags=tuple(wire.tags),
        parent_run_id=wire.parent_run_id or None,
        root_run_id=wire.root_run_id or None,
        flow_run_id=wire.flow_run_id or None,
        top_level_only=wire.top_level_only,
        created_after_us=(
            microseconds(wire.created_after) if wire.HasField("created_after") else None
        ),
        created_before_us=(
            microseconds(wire.created_before) if wire.HasField("created_before") else None
        ),
        run_name=wire.run_name or None,
        id_prefix=wire.id_prefix or None,
        id_suffix=wire.id_suffix or None,
    )


def state_message(state: State) -> state_pb2.State:
    """A state."""
    wire = state_pb2.State()
    _put_state(wire, state)
    return wire


def _put_state(wire: state_pb2.State, state: State) -> None:
    wire.type = state.type  # type: ignore[assignment] # an int, as enums of protobuf are
    wire.name = state.name
    wire.message = state.message
    _put_time(wire.time, state.time_us)
    if state.scheduled_us is not None:
        _put_time(wire.scheduled_time, state.scheduled_us)
    if state.failure is not None:
        wire.failure.CopyFrom(failure_pb2.Failure.FromString(state.failure))
    if state.result is not None:
        wire.result.CopyFrom(payload_pb2.Payload.FromString(state.result))


def _put_course(wire: flow_run_pb2.FlowRun | task_run_pb2.TaskRun, run: Run) -> None:
    """What flow runs and task runs say of their course."""
    _put_state(wire.state, run.state)
    _put_time(wire.create_time, run.created_us)
    if run.started_us is not None:
        _put_time(wire.start_time, run.started_us)
    if run.ended_us is not None:
        _put_time(wire.end_time, run.ended_us)
    _put_time(wire.run_duration, run.run_duration_us)


def trace_message(trace: TraceContext | None) -> trace_pb2.TraceContext | None:
    """A place in a trace."""
    if trace is None:
        return None
    return trace_pb2.TraceContext(
        traceparent=trace.traceparent,
        tracestate=trace.tracestate,
        parent_span_id=trace.parent_span_id,
        exported_by_service=trace.exported_by_service,
    )


def _payload_message(payload: Payload | None) -> payload_pb2.Payload | None:
    if payload is None:
        return None
    return payload_pb2.Payload(encoding=payload.encoding, data=payload.data)


def flow_run_message(run: Run) -> flow_run_pb2.FlowRun:
    """A flow run."""
    wire = flow_run_pb2.FlowRun(
        id=run.id,
        flow_id=flow_id(run.function_name),
        flow_name=run.function_name,
        name=run.run_name,
        parent_run_id=run.parent_run_id or "",
        root_run_id=run.root_run_id,
        attempt=run.attempt,
        tags=run.tags,
        parameters=_payload_message(run.parameters),
        trace=trace_message(run.trace),
        flow_version=run.version,
        session_id=run.session_id or "",
        transition_count=run.transition_count,
    )
    _put_course(wire, run)
    return wire


def task_run_message(run: Run) -> task_run_pb2.TaskRun:
    """A task run."""
    wire = task_run_pb2.TaskRun(
        id=run.id,
        task_name=run.function_name,
        name=run.run_name,
        flow_run_id=run.flow_run_id or "",
        parent_run_id=run.parent_run_id or "",
        root_run_id=run.root_run_id,
        attempt=run.attempt,
        tags=run.tags,
        trace=trace_message(run.trace),
        session_id=run.session_id or "",
        transition_count=run.transition_count,
    )
    _put_course(wire, run)
    return wire


def transition_message(transition: Transition) -> transition_pb2.Transition:
    """A transition."""
    return transition_pb2.Transition(
        run_id=transition.run_id,
        ordinal=transition.ordinal,
        attempt=transition.attempt,
        state=state_message(transition.state),
        cause=transition.cause,  # type: ignore[arg-type] # an int, as enums of protobuf are
        position=transition.position,
        commit_time=timestamp(transition.commit_us),
    )


def log_message(entry: LogEntry) -> log_pb2.LogRecord:
    """A log record."""
    return log_pb2.LogRecord(
        position=entry.position,
        run_id=entry.run_id,
        level=entry.level,  # type: ignore[arg-type] # an int, as enums of protobuf are
        time=timestamp(entry.time_us),
        logger=entry.logger,
        message=entry.message,
        trace_id=entry.trace_id,
        span_id=entry.span_id,
        chunk_index=entry.chunk_index,
        chunk_count=entry.chunk_count,
        attempt=entry.attempt,
    )


def flow_message(flow: FlowInfo) -> flow_pb2.Flow:
    """A flow."""
    return flow_pb2.Flow(
        id=flow.id,
        name=flow.name,
        create_time=timestamp(flow.created_us),
        last_run_time=timestamp(flow.last_run_us),
    )


def artifact_message(artifact: Artifact) -> artifact_pb2.Artifact:
    """An artifact."""
    return artifact_pb2.Artifact(
        id=artifact.id,
        key=artifact.key or "",
        type=artifact.type,
        description=artifact.description,
        data=_payload_message(artifact.data),
        run_id=artifact.run_id or "",
        flow_run_id=artifact.flow_run_id or "",
        create_time=timestamp(artifact.created_us),
        update_time=timestamp(artifact.updated_us),
    )


def variable_message(variable: Variable) -> variable_pb2.Variable:
    """A variable."""
    return variable_pb2.Variable(
        name=variable.name,
        value=_payload_message(variable.value),
        tags=variable.tags,
        create_time=timestamp(variable.created_us),
        update_time=timestamp(variable.updated_us),
    )


def verdict_message(verdict: Verdict) -> verdict_pb2.Verdict:
    """An answer. It tells the state without its payloads: one request may get many answers."""
    return verdict_pb2.Verdict(
        sequence=verdict.sequence,
        run_id=verdict.run_id,
        kind=verdict.kind,  # type: ignore[arg-type] # an int, as enums of protobuf are
        rule=verdict.rule,
        reason=verdict.reason,
        current_state=None if verdict.state is None else _brief_state(verdict.state),
        current_attempt=verdict.attempt,
    )


def short_verdict_message(verdict: Verdict) -> verdict_pb2.Verdict:
    """An answer in as few bytes as it can be: its rule says why."""
    return verdict_pb2.Verdict(
        sequence=verdict.sequence,
        run_id=verdict.run_id,
        kind=verdict.kind,  # type: ignore[arg-type] # an int, as enums of protobuf are
        rule=verdict.rule,
        current_attempt=verdict.attempt,
    )


def _brief_state(state: State) -> state_pb2.State:
    return state_pb2.State(
        type=state.type,  # type: ignore[arg-type] # an int, as enums of protobuf are
        name=state.name,
        message=brief(state.message),
        time=timestamp(state.time_us),
        scheduled_time=None if state.scheduled_us is None else timestamp(state.scheduled_us),
    )


def brief(text: str) -> str:
    """A text for people, cut where it stands in an answer that may have many of them."""
    limit = limits.BRIEF_TEXT
    return text if len(text) <= limit else text[: limit - 1] + "…"


def state_counts(counts: Mapping[int, int]) -> list[run_filter_pb2.StateCount]:
    """How many runs are in which state, by type."""
    return [
        run_filter_pb2.StateCount(type=kind, count=counts[kind])  # type: ignore[arg-type] # an int
        for kind in sorted(counts)
        if counts[kind]
    ]
