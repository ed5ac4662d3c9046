"""Operation that reports runs not executed by a decorator."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from flowspan.api import convert
from flowspan.api import report_events as events
from flowspan.api.operations.artifacts import fill_artifact, fill_change
from flowspan.api.operations.flow_runs import encoded_parameters
from flowspan.api.operations.states import entered_state
from flowspan.api.requests import call, follow
from flowspan.connection.client_identity import client_info, describe_process, introduce
from flowspan.v1 import report_pb2
from flowspan.v1 import report_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowspan.api.requests import Answer, Items


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
    """Report events of runs that are not executed by decorated functions, in order.

    A session represents one process that executes runs. Each call renews its lease. When the
    lease expires, and on `goodbye`, the session's open runs become Crashed.

    Args:
        session_id: A UUID chosen by the process.
        batch: The events. An empty batch is a heartbeat.
        first_sequence: The sequence number of the first event: 1 for the session's first event,
            then without gaps, that is, the last answer's `stored_sequence + 1`. Resending a batch
            is safe: each event is stored once.
        goodbye: True to end the session with this batch.
        recovering: True if this process delivers the events that another process left behind.
        lease_s: The requested lease in seconds, within the service's limits; None for its default.
            Request a longer one if you call rarely.
        client_name: The name of the reporter, for people; this client if None.
        secret: 16 to 64 random bytes, chosen with session_id and the same in each call. Without
            the secret, a caller cannot report in the session. If it is empty, anyone who reaches
            the service and knows the session's id can.

    Returns:
        The stored sequence, the verdicts on refused events, and the service's commands. If events
        are resent because an answer was lost, their verdicts are those of the first time.

    Raises:
        TypeError, ValueError: A value is not JSON-serializable, or a time has no time zone.
        ApiError: INVALID_ARGUMENT, an event is invalid or the sequence numbers have a gap. No part
            of the batch was stored.
    """
    request = pb.ReportBatchRequest(goodbye=goodbye)
    hello = request.hello
    hello.session_id, hello.recovering, hello.secret = str(session_id), recovering, secret
    introduce(hello, client_info())
    if not recovering:
        describe_process(hello)
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


def watch_commands(session_id: UUID | str, *, secret: bytes = b"") -> Items[events.CancelCommand]:
    """Iterate over the commands to a session that reports with `report_batch`, as they arise.

    The open commands come first. The iteration reconnects if the connection breaks, gives each
    command once, and ends when the session has ended. It does not renew the session's lease.

    Args:
        session_id: The session, which an earlier `report_batch` has begun.
        secret: The secret of the session, if it has one.

    Raises:
        ObjectNotFound: There is no such session.
        ApiError: PERMISSION_DENIED, the session has another secret; UNIMPLEMENTED, the service
            does not have the capability "watch_commands.v1".
    """
    given: set[str] = set()

    def receive(message: pb.WatchCommandsResponse) -> Iterable[events.CancelCommand]:
        command = message.command
        if command.HasField("cancel_run") and command.id not in given:
            given.add(command.id)
            yield _read_cancel(command.cancel_run)

    request = pb.WatchCommandsRequest(session_id=str(session_id), secret=secret)
    return follow("ReportService/WatchCommands", request, pb.WatchCommandsResponse, receive)


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
                f"an event must be a RunCreated, StateEntered, LogWritten, ArtifactCreated or "
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
    created.description, created.max_attempts = event.description, event.max_attempts
    for each in event.inputs:
        created.inputs.add(run_id=str(each.run_id), parameter=each.parameter)
    if event.code is not None:
        convert.set_code(created.code, event.code)
    created.labels.update(event.labels)


def _read(answer: pb.ReportBatchResponse) -> events.ReportAnswer:
    return events.ReportAnswer(
        stored_sequence=answer.ack.up_to_sequence,
        verdicts={
            item.sequence: convert.verdict(item)
            for item in (*answer.welcome.verdicts, *answer.ack.verdicts)
        },
        commands=tuple(
            _read_cancel(item.cancel_run)
            for item in answer.commands
            if item.HasField("cancel_run")  # ignore kinds that this client does not know
        ),
        lease_s=convert.seconds(answer.lease),
    )


def _read_cancel(cancel: report_pb2.CancelRun) -> events.CancelCommand:
    return events.CancelCommand(run_id=UUID(cancel.run_id), reason=cancel.reason)
