"""Reporting runs that something else than a decorator runs."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from flowspan.api import convert
from flowspan.api import report_events as events
from flowspan.api.operations.artifacts import fill_artifact, fill_change
from flowspan.api.operations.flow_runs import encoded_parameters
from flowspan.api.operations.states import entered_state
from flowspan.api.requests import call
from flowspan.connection.client_identity import client_info, introduce
from flowspan.v1 import report_pb2
from flowspan.v1 import report_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowspan.api.requests import Answer


_KINDS = {
    events.RunKind.FLOW: report_pb2.RUN_KIND_FLOW,
    events.RunKind.TASK: report_pb2.RUN_KIND_TASK,
}


def report_batch(
    session_id: UUID | str,
    batch: Iterable[events.RunEvent] = (),
    *,
    first_sequence: int = 1,
    goodbye: bool = False,
    recovering: bool = False,
    lease_s: float | None = None,
    client_name: str | None = None,
    secret: bytes = b"",
) -> Answer[events.ReportAnswer]:
    """Reports what happened in runs of something else than decorated functions, in order.

    A session is one process that runs something; it lives from call to call as long as its lease.
    When that runs out, and at its `goodbye`, its runs that have not ended become Crashed.

    Args:
        session_id: A UUID that the process chose.
        batch: The events. None is a heartbeat.
        first_sequence: The sequence of the first of them: 1 for the session's first event, and then
            without gaps, so the last answer's `stored_sequence + 1`. Sending a batch again after a
            broken connection is safe: each event is stored once.
        goodbye: Whether the session ends with this batch.
        recovering: Whether this is not the process that made the session, but one that brings what
            it left behind.
        lease_s: The lease to ask for, in seconds, within the service's limits; None for its
            default. Who calls rarely wants a longer one.
        client_name: Who reports, for people; this client if None.
        secret: 16 to 64 random bytes, chosen with session_id and the same in each call: whoever
            does not show them cannot report in the session. Without, anybody who reaches the
            service and knows the session's id can.

    Returns:
        What is stored now, the verdicts on events that the rules refuse, and what the service asks.

    Raises:
        TypeError, ValueError: JSON cannot hold a value, or a time has no time zone.
        ApiError: INVALID_ARGUMENT, an event may not be as it is, or there is a gap in the
            sequences: nothing of the batch was stored.
    """
    request = pb.ReportBatchRequest(goodbye=goodbye)
    hello = request.hello
    hello.session_id, hello.recovering, hello.secret = str(session_id), recovering, secret
    introduce(hello, client_info())
    if client_name is not None:
        hello.client_name = client_name
    if lease_s is not None:
        hello.lease.FromMicroseconds(round(lease_s * 1e6))
    for event in batch:
        _write(request.batch.events.add(), event)
    if request.batch.events:
        request.batch.first_sequence = first_sequence
    answer = yield from call("ReportService/ReportBatch", request, pb.ReportBatchResponse)
    return _read(answer)


def _write(message: report_pb2.Event, event: events.RunEvent) -> None:
    match event:
        case events.RunCreated():
            _write_created(message.run_created, event)
        case events.StateEntered():
            entered = message.state_entered
            entered.run_id, entered.attempt = str(event.run_id), event.attempt
            entered.state.CopyFrom(entered_state(event.state, at=event.at))
        case events.LogWritten():
            log = message.log
            log.run_id, log.message, log.logger = str(event.run_id), event.message, event.logger
            log.level, log.attempt = convert.wire_level(event.level), event.attempt
            log.trace_id, log.span_id = event.trace_id, event.span_id
            convert.set_time(log.time, event.at, "at")
        case events.ArtifactCreated():
            made = message.artifact_created
            fill_artifact(
                made,
                event.artifact_id,
                event.type,
                event.data,
                event.key,
                event.description,
                event.run_id,
            )
            convert.set_time(made.create_time, event.at, "at")
        case events.ArtifactChanged():
            changed = message.artifact_changed
            fill_change(changed, event.artifact_id, event.data, event.description)
            convert.set_time(changed.change_time, event.at, "at")
        case _:
            raise TypeError(
                f"an event is to be a RunCreated, StateEntered, LogWritten, ArtifactCreated or "
                f"ArtifactChanged of flowspan.client, not {event!r}"
            )


def _write_created(created: report_pb2.RunCreated, event: events.RunCreated) -> None:
    created.run_id = str(event.run_id)
    created.kind = _KINDS[event.kind]
    created.function_name, created.run_name = event.function_name, event.run_name
    created.parent_run_id = convert.wire_optional(event.parent_run_id, "parent_run_id")
    created.root_run_id = convert.wire_optional(event.root_run_id, "root_run_id")
    created.flow_run_id = convert.wire_optional(event.flow_run_id, "flow_run_id")
    created.state.CopyFrom(entered_state(event.state, at=event.at))
    created.tags.extend(event.tags)
    if event.parameters:
        created.parameters.encoding = "json"
        created.parameters.data = encoded_parameters(event.parameters)
    if event.trace is not None:
        created.trace.traceparent = event.trace.traceparent
        created.trace.tracestate = event.trace.tracestate
        created.trace.parent_span_id = event.trace.parent_span_id
    created.version = event.version


def _read(answer: pb.ReportBatchResponse) -> events.ReportAnswer:
    return events.ReportAnswer(
        stored_sequence=answer.ack.up_to_sequence,
        verdicts={item.sequence: convert.verdict(item) for item in answer.ack.verdicts},
        commands=tuple(
            events.CancelCommand(run_id=UUID(item.cancel_run.run_id), reason=item.cancel_run.reason)
            for item in answer.commands
            if item.HasField("cancel_run")  # others are for clients that know them
        ),
        lease_s=convert.seconds(answer.lease),
    )
