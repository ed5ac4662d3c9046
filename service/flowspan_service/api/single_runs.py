"""Single runs: SingleRunService, for programs that report one run with a few calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from flowspan.v1 import flow_run_pb2
from flowspan.v1 import single_run_service_pb2 as pb
from flowspan_service.api import limits
from flowspan_service.api.fields.checks import (
    Checks,
    check_duration,
    check_length,
    check_optional_new_id,
    check_required_text,
    check_tags,
    check_text,
    check_time,
    invalid,
)
from flowspan_service.api.fields.payloads import check_payload, payload_of, stored_payload
from flowspan_service.api.fields.run_contexts import given_run_context, run_context_of
from flowspan_service.api.fields.states import check_failure
from flowspan_service.api.fields.traces import check_resource, check_traceparent, span_of
from flowspan_service.api.fields.values import duration, microseconds
from flowspan_service.api.flow_runs import flow_run_message
from flowspan_service.api.run_details import read_details
from flowspan_service.api.run_tokens import RunTokens
from flowspan_service.app.single_runs import (
    ATTEMPT,
    DEFAULT_LEASE_US,
    FinishSingleRun,
    Logged,
    StartSingleRun,
    TouchSingleRun,
)
from flowspan_service.domain.errors import OverloadedError, TooLargeError
from flowspan_service.domain.logs import LogEntry
from flowspan_service.domain.run_context import RunContext, format_run_context
from flowspan_service.domain.runs import NewRun, RunKind
from flowspan_service.domain.states import DEFAULT_NAMES, State, StateType
from flowspan_service.domain.traces import below_span, exported_by_service

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowspan.v1.failure_pb2 import Failure
    from flowspan_service.api.backend import Backend
    from flowspan_service.api.calls.call import Call
    from flowspan_service.app.ports import Operation

T = TypeVar("T")

# ruff: noqa: N802 - methods are named as in the protos

_SYMBOL_FOR_NUL = "␀"
_INFO = 20
_JSON_SPACE = b" \t\r\n"


class SingleRunService:
    """The servicer of SingleRunService."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._tokens = RunTokens(backend.store.identity)

    async def StartRun(self, request: pb.StartRunRequest, call: Call) -> pb.StartRunResponse:
        """Create a run that its caller executes."""
        backend = self._backend
        new = _new_run(request, call, backend)
        started = await self._write(
            StartSingleRun(
                new,
                self._tokens.session_of(new.id),
                client_name=request.flow_name,
                resource=dict(request.resource),
                lease_us=_lease_us(request, backend),
            ),
            request.ByteSize(),
        )
        run = started.run
        backend.activity.committed_transition_count += started.transition_count
        return pb.StartRunResponse(
            flow_run=flow_run_message(run),
            token=self._tokens.seal(run.id),
            traceparent=run.trace.traceparent if run.trace is not None else "",
            run_context=format_run_context(RunContext(run.id, run.root_run_id)),
            lease=duration(started.lease_us),
        )

    async def TouchRun(self, request: pb.TouchRunRequest, _: Call) -> pb.TouchRunResponse:
        """Renew the lease of a run, and store log records."""
        backend = self._backend
        run_id = self._tokens.unseal(request.token)
        logged = _logged(run_id, request, backend)
        touch = TouchSingleRun(run_id, self._tokens.session_of(run_id), logged)
        touched = await self._write(touch, logged.size_bytes)
        backend.activity.committed_transition_count += touched.transition_count
        return pb.TouchRunResponse(
            cancel_requested=touched.is_cancelling,
            cancel_reason=touched.reason,
            lease=duration(touched.lease_us),
        )

    async def FinishRun(self, request: pb.FinishRunRequest, _: Call) -> pb.FinishRunResponse:
        """End a run."""
        backend = self._backend
        run_id = self._tokens.unseal(request.token)
        logged = _logged(run_id, request, backend)
        session = self._tokens.session_of(run_id)
        finish = FinishSingleRun(run_id, session, logged, _end(request))
        finished = await self._write(finish, request.ByteSize())
        backend.activity.committed_transition_count += finished.transition_count
        return pb.FinishRunResponse(flow_run=flow_run_message(finished.run))

    async def _write(self, operation: Operation[T], size: int) -> T:
        """Run an operation, and count the bytes that wait for it.

        Raises:
            OverloadedError: Too many bytes wait already.
        """
        backend, activity = self._backend, self._backend.activity
        if activity.queued_bytes > limits.MAX_QUEUED:
            raise OverloadedError(
                "Events arrive faster than they can be stored.", advice="Retry in a moment."
            )
        activity.queued_bytes += size
        try:
            return await backend.write(operation)
        finally:
            activity.queued_bytes -= size


def _check_start(request: pb.StartRunRequest) -> None:
    check_required_text(request.flow_name, "flow_name", limits.NAME)
    check_optional_new_id(request.id, "id")
    check_text(request.run_name, "run_name", limits.NAME)
    if request.HasField("parameters"):
        _check_parameters(request)
    check_tags(request.tags, "tags")
    check_traceparent(request.traceparent, "traceparent")
    if request.HasField("lease"):
        check_duration(request.lease, "lease")
    check_text(request.version, "version", limits.NAME)
    check_resource(request.resource, "resource")


def _check_parameters(request: pb.StartRunRequest) -> None:
    parameters = request.parameters
    if parameters.encoding != "json":
        raise invalid("parameters.encoding", 'is not "json"')
    check_payload(parameters, "parameters", limits.PARAMETERS)
    if not payload_of(parameters).data.lstrip(_JSON_SPACE).startswith(b"{"):
        raise invalid("parameters", 'is not an object, such as {"path": "/data"}')


def _check_touch(request: pb.TouchRunRequest | pb.FinishRunRequest) -> None:
    if not request.token:
        raise invalid("token", "is required")
    if request.number < 0:
        raise invalid("number", f"{request.number} is negative; it counts from 1")
    _check_logs(request.logs)


def _check_finish(request: pb.FinishRunRequest) -> None:
    _check_touch(request)
    check_text(request.message, "message", limits.STATE_MESSAGE)
    if request.HasField("result"):
        check_payload(request.result, "result", limits.PAYLOAD)
    if request.HasField("failure"):
        check_failure(request.failure, "failure")


def _check_logs(logs: Sequence[pb.RunLog]) -> None:
    if len(logs) > limits.RUN_LOGS:
        raise TooLargeError(
            f"logs: {len(logs)} records exceed the limit of {limits.RUN_LOGS}",
            advice="Send them in several calls.",
            field="logs",
            limit=str(limits.RUN_LOGS),
        )
    size = 0
    for place, log in enumerate(logs):
        field = f"logs[{place}]"
        _check_message(log.message, f"{field}.message")
        check_text(log.logger, f"{field}.logger", limits.NAME)
        if log.level < 0:
            raise invalid(f"{field}.level", f"{log.level} is negative")
        if log.HasField("time"):
            check_time(log.time, f"{field}.time")
        size += len(log.message.encode())
    if size > limits.RUN_LOGS_BYTES:
        raise TooLargeError(
            f"logs: {size} bytes of text exceed the limit of {limits.RUN_LOGS_BYTES}",
            advice="Send them in several calls.",
            field="logs",
            limit=str(limits.RUN_LOGS_BYTES),
        )


def _check_message(message: str, field: str) -> None:
    if not message:
        raise invalid(field, "is required")
    try:
        check_length(message, field, limits.LOG_MESSAGE)
    except TooLargeError as error:
        raise TooLargeError(
            str(error), advice="Divide it into several records.", **error.metadata
        ) from None


CHECKS: Checks = {
    pb.StartRunRequest: _check_start,
    pb.TouchRunRequest: _check_touch,
    pb.FinishRunRequest: _check_finish,
}


def _lease_us(request: pb.StartRunRequest, backend: Backend) -> int:
    asked_us = microseconds(request.lease)
    return backend.terms.granted(asked_us) if asked_us else DEFAULT_LEASE_US


def _new_run(request: pb.StartRunRequest, call: Call, backend: Backend) -> NewRun:
    """Return the run to create.

    Raises:
        InvalidFieldError, TooLargeError: A detail, a label or the run context is not allowed.
    """
    run_id = request.id or backend.new_id()
    caller = _caller_of(request, call)
    if caller is not None and caller.run_id == run_id:
        raise invalid("run_context", "names the run itself; it must name the run that started it")
    span = span_of(request.traceparent, call.metadata)
    details = flow_run_pb2.FlowRun(
        description=request.description,
        code=request.code if request.HasField("code") else None,
    )
    now_us = backend.clock.now_us()
    return NewRun(
        id=run_id,
        kind=RunKind.FLOW,
        function_name=request.flow_name,
        run_name=request.run_name,
        parent_run_id=None if caller is None else caller.run_id,
        root_run_id=run_id if caller is None else caller.root_run_id,
        flow_run_id=None,
        tags=tuple(request.tags),
        parameters=payload_of(request.parameters) if request.HasField("parameters") else None,
        trace=exported_by_service(None) if span is None else below_span(run_id, *span),
        version=request.version,
        created_us=now_us,
        state=State(StateType.PENDING, DEFAULT_NAMES[StateType.PENDING], "", now_us),
        details=read_details(details, request.labels),
    )


def _caller_of(request: pb.StartRunRequest, call: Call) -> RunContext | None:
    """Return the run that started the program; None without one."""
    if request.run_context:
        return given_run_context(request.run_context, "run_context")
    return run_context_of(call.metadata)


def _logged(
    run_id: str, request: pb.TouchRunRequest | pb.FinishRunRequest, backend: Backend
) -> Logged:
    now_us = backend.clock.now_us()
    entries = [
        LogEntry(
            run_id,
            ATTEMPT,
            log.level or _INFO,
            microseconds(log.time) if log.HasField("time") else now_us,
            log.logger,
            # As in reports: the output of a program must not fail a call.
            log.message.replace("\0", _SYMBOL_FOR_NUL),
        )
        for log in request.logs
    ]
    size = sum(len(entry.message) for entry in entries)
    return Logged(entries, request.number, size)


def _end(request: pb.FinishRunRequest) -> State:
    """Return the terminal state that a request asks for; its time is 0."""
    if request.HasField("failure"):
        failure = request.failure
        message = request.message or _summary(failure)
        return _state(StateType.FAILED, message, failure=failure.SerializeToString())
    if request.HasField("cancelled"):
        return _state(StateType.CANCELLED, request.message)
    result = stored_payload(request.result) if request.HasField("result") else None
    return _state(StateType.COMPLETED, request.message, result=result)


def _state(
    kind: StateType, message: str, *, failure: bytes | None = None, result: bytes | None = None
) -> State:
    return State(kind, DEFAULT_NAMES[kind], message, 0, failure=failure, result=result)


def _summary(failure: Failure) -> str:
    """Return the message of a failed run, for people: "TypeError: no such file"."""
    parts = [part for part in (failure.type, failure.message) if part]
    text = ": ".join(parts)
    return text if len(text) <= limits.BRIEF_TEXT else text[: limits.BRIEF_TEXT - 1] + "…"
