"""Checks and conversions of reported events: the service's hot path, where each line counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from flowspan_service.api import limits
from flowspan_service.api.artifacts import (
    artifact_change,
    check_artifact,
    check_artifact_change,
    new_artifact,
)
from flowspan_service.api.fields import checks
from flowspan_service.api.fields.payloads import check_payload, payload_of, stored_payload
from flowspan_service.api.fields.states import check_failure
from flowspan_service.api.fields.traces import check_trace, new_trace
from flowspan_service.api.run_details import read_details
from flowspan_service.app.event_records import (
    SHORT_RUN_SEQUENCES,
    NotUnderstood,
    ShortRun,
    Untimed,
)
from flowspan_service.domain.errors import InvalidFieldError, ServiceError, TooLargeError
from flowspan_service.domain.logs import LogEntry
from flowspan_service.domain.rules.transitions import ProposedTransition
from flowspan_service.domain.runs import NewRun, RunKind
from flowspan_service.domain.states import DEFAULT_NAMES, Cause, State, StateType

if TYPE_CHECKING:
    from flowspan.v1 import report_pb2
    from flowspan.v1.log_pb2 import LogRecord
    from flowspan.v1.payload_pb2 import Payload as WirePayload
    from flowspan.v1.state_pb2 import State as WireState
    from flowspan_service.app.event_records import ReportedEvent
    from flowspan_service.domain.payloads import Payload

# Plain numbers: reading a member of an enum from its class costs as much as a small function.
_REPORTED = int(Cause.REPORTED)
_FLOW, _TASK = int(RunKind.FLOW), int(RunKind.TASK)
_NAMES = {int(key): value for key, value in DEFAULT_NAMES.items()}
_RUNNING = int(StateType.RUNNING)
_RUNNING_NAME = DEFAULT_NAMES[StateType.RUNNING]
_FAILED, _CRASHED, _COMPLETED, _SCHEDULED = (
    int(StateType.FAILED),
    int(StateType.CRASHED),
    int(StateType.COMPLETED),
    int(StateType.SCHEDULED),
)
_MAX_SECONDS = checks.MAX_SECONDS
_SHORT_STATE_NAME = limits.STATE_NAME // 4
_SHORT_NAME = limits.NAME // 4
"""Texts of at most these lengths need not be measured: a character has up to 4 bytes."""
_SYMBOL_FOR_NUL = "␀"
_MAX_ATTEMPT = 1_000_000
_INFO = 20


def read_batch(  # noqa: C901 - the hot path: a call would take as long as what it does
    batch: report_pb2.Batch, *, received_us: int
) -> tuple[list[ReportedEvent], list[str]]:
    """Return the events of a batch, and the ids of the runs that they need.

    Args:
        batch: The batch.
        received_us: The service's time of its arrival, for states and log records without a time.

    Raises:
        InvalidFieldError: An event is malformed; the message names its sequence.
        TooLargeError: A field of an event, or the batch, is larger than its limit.
    """
    wire_events = batch.events
    _check_size(batch.first_sequence, len(wire_events))
    events: list[ReportedEvent] = []
    append, read_state, new_wish = events.append, _read_state, tuple.__new__
    is_id = checks.is_id
    ids: set[str] = set()
    further = 0
    try:
        for event in wire_events:
            if event.HasField("state_entered"):
                entered = event.state_entered
                run_id = entered.run_id
                if run_id not in ids:
                    if not is_id(run_id):
                        checks.check_id(run_id, "run_id")
                    ids.add(run_id)
                attempt = entered.attempt or 1
                if not 0 < attempt < _MAX_ATTEMPT:
                    raise checks.invalid("attempt", f"{attempt} is not a valid attempt")
                state = read_state(entered.state, received_us)
                if state.__class__ is State:
                    append((run_id, new_wish(ProposedTransition, (state, attempt, _REPORTED))))
                else:
                    append((run_id, _rare_transition(state, attempt)))  # type: ignore[arg-type] # no State
            elif event.HasField("run_created"):
                append(_read_created(event.run_created, ids, received_us))
            elif event.HasField("run_completed"):
                append(_read_completed(event.run_completed, ids, received_us))
                further += SHORT_RUN_SEQUENCES - 1
            elif event.HasField("log"):
                append(_read_log(event.log, ids, received_us))
            else:
                append(_read_rare(event, ids))
    except ServiceError as error:
        place = len(events)
        sequence = batch.first_sequence + place + further + _part_refused(wire_events[place])
        raise _with_sequence(error, sequence) from None
    _check_size(batch.first_sequence, len(events) + further)
    return events, list(ids)


def _check_size(first_sequence: int, count: int) -> None:
    if first_sequence < 1:
        raise checks.invalid("batch.first_sequence", "is required, and counts from 1")
    if count > limits.MAX_UNACKED_EVENTS:
        raise TooLargeError(
            f"batch.events: {count} sequences exceed the limit of {limits.MAX_UNACKED_EVENTS}",
            field="batch.events",
        )


class _UntimedState(NamedTuple):
    """A state without a time of its own: it has the time of its arrival."""

    state: State


def _rare_transition(state: _UntimedState | NotUnderstood, attempt: int) -> Untimed | NotUnderstood:
    if isinstance(state, NotUnderstood):
        return state
    return Untimed(ProposedTransition(state.state, attempt, _REPORTED))


def _read_state(wire: WireState, received_us: int) -> State | _UntimedState | NotUnderstood:
    kind = wire.type
    name = wire.name
    if not name:
        name = _NAMES.get(kind, "")
    elif len(name) > _SHORT_STATE_NAME or "\0" in name:
        checks.check_text(name, "state.name", limits.STATE_NAME)
    message = wire.message
    if message:
        checks.check_text(message, "state.message", limits.STATE_MESSAGE)
    time = wire.time
    seconds, nanos = time.seconds, time.nanos
    if not (0 < seconds <= _MAX_SECONDS and 0 <= nanos <= 999_999_999):
        checks.check_time(time, "state.time")
    if kind not in _NAMES:
        if kind == 0:
            raise checks.invalid("state.type", "is required")
        return NotUnderstood("type_is_known", f"This service knows no state of type {kind}.")
    state = State(kind, name, message, seconds * 1_000_000 + nanos // 1000)
    if kind >= _COMPLETED or kind == _SCHEDULED:
        _read_rarer(wire, kind, state)
    if not seconds and not wire.HasField("time"):
        state.time_us = received_us
        return _UntimedState(state)
    return state


def _read_rarer(wire: WireState, kind: int, state: State) -> None:
    """Read the fields of certain types of states; other types ignore them."""
    if kind == _COMPLETED:
        if wire.HasField("result"):
            check_payload(wire.result, "state.result", limits.PAYLOAD, is_reported=True)
            state.result = stored_payload(wire.result)
    elif kind in (_FAILED, _CRASHED):
        if wire.HasField("failure"):
            check_failure(wire.failure, "state.failure")
            state.failure = wire.failure.SerializeToString()
    elif kind == _SCHEDULED and wire.HasField("scheduled_time"):
        time = wire.scheduled_time
        checks.check_time(time, "state.scheduled_time")
        state.scheduled_us = time.seconds * 1_000_000 + time.nanos // 1000


def _read_created(wire: report_pb2.RunCreated, ids: set[str], received_us: int) -> ReportedEvent:
    run_id = wire.run_id
    if not checks.is_new_id(run_id):
        checks.check_new_id(run_id, "run_id")
    ids.add(run_id)
    parent_id, root_id, flow_run_id = wire.parent_run_id, wire.root_run_id, wire.flow_run_id
    if not (parent_id in ids and root_id in ids and flow_run_id in ids):
        _check_family(parent_id, root_id, flow_run_id, ids)
    function_name, run_name, version = wire.function_name, wire.run_name, wire.version
    if not (
        0 < len(function_name) <= _SHORT_NAME
        and len(run_name) <= _SHORT_NAME
        and len(version) <= _SHORT_NAME
        and "\0" not in run_name
        and "\0" not in function_name
        and "\0" not in version
    ):
        _check_names(function_name, run_name, version)
    tags: tuple[str, ...] = ()
    if wire.tags:  # A tuple of nothing takes longer than this check.
        tags = tuple(wire.tags)
        checks.check_tags(tags, "tags")
    kind: int = wire.kind
    parameters = trace = details = None
    if wire.HasField("parameters"):
        parameters = _read_parameters(wire.parameters, kind)
    if wire.HasField("trace"):
        check_trace(wire.trace, "trace")
        trace = new_trace(wire.trace)
    if wire.description or wire.max_attempts or wire.HasField("code") or wire.inputs or wire.labels:
        details = read_details(wire, wire.labels)
    read = _read_state(wire.state, received_us)
    if isinstance(read, NotUnderstood):
        return run_id, read
    state = read.state if isinstance(read, _UntimedState) else read
    if kind not in (_FLOW, _TASK):
        return run_id, _unknown_kind(kind)
    # Like NewRun(…), without the cost of its own __new__.
    new: NewRun = tuple.__new__(
        NewRun,
        (
            run_id,
            kind,
            function_name,
            run_name,
            parent_id or None,
            root_id or run_id,
            (flow_run_id or None) if kind == _TASK else None,
            tags,
            parameters,
            trace,
            version,
            state.time_us,
            state,
            details,
        ),
    )
    return run_id, new if read is state else Untimed(new)


def _read_completed(
    wire: report_pb2.RunCompleted, ids: set[str], received_us: int
) -> ReportedEvent:
    run_id, new = _read_created(wire.created, ids, received_us)
    time = wire.start_time
    seconds, nanos = time.seconds, time.nanos
    if not (0 < seconds <= _MAX_SECONDS and 0 <= nanos <= 999_999_999):
        checks.check_required_time(wire, "start_time", "start_time")
    running = State(_RUNNING, _RUNNING_NAME, "", seconds * 1_000_000 + nanos // 1000)
    read = _read_state(wire.ended, received_us)
    if isinstance(read, NotUnderstood):
        new, read = read, running
    ended = read.state if isinstance(read, _UntimedState) else read
    if ended.type < _COMPLETED and ended is not running:
        new = NotUnderstood("ends_in_terminal_state", f"A run does not end as {ended.name}.")
    make = tuple.__new__
    end: ProposedTransition = make(ProposedTransition, (ended, 1, _REPORTED))
    short: ShortRun = make(
        ShortRun,
        (
            new,
            make(ProposedTransition, (running, 1, _REPORTED)),
            end if read is ended else Untimed(end),
        ),
    )
    return run_id, short


def _part_refused(event: report_pb2.Event) -> int:
    """Return the sequence of a refused event's malformed part, counted from its first one."""
    if not event.HasField("run_completed"):
        return 0
    wire = event.run_completed
    try:
        _read_created(wire.created, set(), 0)
        checks.check_required_time(wire, "start_time", "start_time")
    except InvalidFieldError as error:
        return 1 if error.metadata.get("field") == "start_time" else 0
    except ServiceError:
        return 0
    return 2


def _check_family(parent_id: str, root_id: str, flow_run_id: str, ids: set[str]) -> None:
    """Check the ids of other runs; the batch needs the parent."""
    if parent_id:
        checks.check_id(parent_id, "parent_run_id")
        ids.add(parent_id)
    checks.check_optional_id(root_id, "root_run_id")
    checks.check_optional_id(flow_run_id, "flow_run_id")


def _read_parameters(wire: WirePayload, kind: int) -> Payload | None:
    check_payload(wire, "parameters", limits.PARAMETERS, is_reported=True)
    parameters = payload_of(wire)
    if kind == _TASK and len(parameters.data) > limits.TASK_PARAMETERS:
        return None  # Only a preview, and not worth the loss of a batch.
    return parameters


def _unknown_kind(kind: int) -> NotUnderstood:
    if kind == 0:
        raise checks.invalid("kind", "is required")
    return NotUnderstood("kind_is_known", f"This service knows no run of kind {kind}.")


def _check_names(function_name: str, run_name: str, version: str) -> None:
    checks.check_required_text(function_name, "function_name", limits.NAME)
    checks.check_text(run_name, "run_name", limits.NAME)
    checks.check_text(version, "version", limits.NAME)


def _read_log(wire: LogRecord, ids: set[str], received_us: int) -> ReportedEvent:
    run_id = wire.run_id
    if run_id not in ids:
        checks.check_id(run_id, "run_id")
        ids.add(run_id)
    level, attempt = wire.level or _INFO, wire.attempt
    if level < 0 or not 0 <= attempt < _MAX_ATTEMPT:
        raise checks.invalid("level or attempt", "is out of range")
    time = wire.time
    seconds, nanos = time.seconds, time.nanos
    if not (0 < seconds <= _MAX_SECONDS and 0 <= nanos <= 999_999_999):
        checks.check_time(time, "time")
    time_us = seconds * 1_000_000 + nanos // 1000
    if not seconds and not wire.HasField("time"):
        time_us = received_us
    logger, message = wire.logger, wire.message
    checks.check_text(logger, "logger", limits.NAME)
    checks.check_length(message, "message", limits.LOG_MESSAGE)
    if "\0" in message:
        # Not refused as elsewhere: the output of a program must not fail a batch.
        message = message.replace("\0", _SYMBOL_FOR_NUL)
    trace_id, span_id = wire.trace_id, wire.span_id
    if trace_id or span_id:
        checks.check_hex(trace_id, "trace_id", 32)
        checks.check_hex(span_id, "span_id", 16)
    index, count = wire.chunk_index, wire.chunk_count
    if index < 0 or count < 0:
        raise checks.invalid("chunk_index or chunk_count", "is negative")
    return run_id, LogEntry(
        run_id,
        attempt,
        level,
        time_us,
        logger,
        message,
        trace_id,
        span_id,
        index,
        count,
    )


def _read_rare(event: report_pb2.Event, ids: set[str]) -> ReportedEvent:
    if event.HasField("artifact_created"):
        created = event.artifact_created
        check_artifact(created, "", is_reported=True)
        run_id = created.run_id
        if run_id:
            ids.add(run_id)
        return run_id, new_artifact(created, now_us=0)
    if event.HasField("artifact_changed"):
        check_artifact_change(event.artifact_changed, "", is_reported=True)
        return "", artifact_change(event.artifact_changed, now_us=0)
    if not event.ByteSize():
        raise checks.invalid("event", "is required")
    return "", NotUnderstood("event_is_known", "This service does not know this kind of event.")


def _with_sequence(error: ServiceError, sequence: int) -> ServiceError:
    """Return the error with the sequence of the event that caused it."""
    made = InvalidFieldError if isinstance(error, InvalidFieldError) else type(error)
    return made(
        f"Event {sequence}: {error}",
        advice=error.advice or "No part of the batch was applied.",
        **{**error.metadata, "sequence": str(sequence)},
    )
