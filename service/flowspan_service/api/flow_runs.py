"""Flow runs: FlowRunService, and the conversions of flow runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan.v1 import flow_run_pb2
from flowspan.v1 import flow_run_service_pb2 as pb
from flowspan_service.api import limits
from flowspan_service.api.fields.checks import (
    Checks,
    by_id,
    check_optional_id,
    check_optional_new_id,
    check_required_text,
    check_tags,
    check_text,
    check_time,
    invalid,
    with_message,
)
from flowspan_service.api.fields.payloads import check_payload, payload_message, payload_of
from flowspan_service.api.fields.run_contexts import run_context_of
from flowspan_service.api.fields.states import check_state, new_state
from flowspan_service.api.fields.traces import check_trace, new_trace, trace_message
from flowspan_service.api.run_details import put_details, read_details, shorten
from flowspan_service.api.run_operations import (
    RunOperations,
    check_cancel,
    check_count,
    check_history,
    check_list,
    check_set_state,
    put_course,
)
from flowspan_service.app.runs import CreateRun, DeleteRun
from flowspan_service.domain.flows import flow_id
from flowspan_service.domain.rules.transitions import INITIAL_TYPES
from flowspan_service.domain.runs import NewRun, RunKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flowspan_service.api.backend import Backend
    from flowspan_service.api.calls.call import Call
    from flowspan_service.domain.run_context import RunContext
    from flowspan_service.domain.runs import Run

# ruff: noqa: N802 - methods are named as in the protos


class FlowRunService:
    """The servicer of FlowRunService."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._runs = RunOperations(
            backend, RunKind.FLOW, flow_run_message, listed=listed_flow_run_message
        )

    async def CreateFlowRun(
        self, request: pb.CreateFlowRunRequest, call: Call
    ) -> pb.CreateFlowRunResponse:
        """Create a run that no process executes yet."""
        wire = request.flow_run
        new = new_flow_run(
            wire,
            labels=request.labels,
            now_us=self._backend.clock.now_us(),
            new_id=self._backend.new_id,
        )
        if new.parent_run_id is None:
            new = _below_caller(new, run_context_of(call.metadata), given_root=wire.root_run_id)
        created = await self._backend.write(CreateRun(new))
        self._backend.activity.committed_transition_count += created.is_new
        return pb.CreateFlowRunResponse(
            flow_run=flow_run_message(created.run), created=created.is_new
        )

    async def GetFlowRun(self, request: pb.GetFlowRunRequest, _: Call) -> pb.GetFlowRunResponse:
        """Return one run."""
        return pb.GetFlowRunResponse(flow_run=await self._runs.get(request.id))

    async def ListFlowRuns(self, request: pb.ListFlowRunsRequest, _: Call) -> bytes:
        """Return a page of runs: an encoded ListFlowRunsResponse."""
        runs, token = await self._runs.page(request)
        rest = pb.ListFlowRunsResponse(next_page_token=token)
        return runs + rest.SerializeToString()

    async def CountFlowRuns(
        self, request: pb.CountFlowRunsRequest, _: Call
    ) -> pb.CountFlowRunsResponse:
        """Return the number of runs per type of state."""
        return pb.CountFlowRunsResponse(counts=await self._runs.counts(request.filter))

    async def DeleteFlowRun(
        self, request: pb.DeleteFlowRunRequest, _: Call
    ) -> pb.DeleteFlowRunResponse:
        """Delete a run and its descendants."""
        under_way = self._backend.under_way
        under_way.add(request.id)
        try:
            deleted = await self._backend.write(DeleteRun(request.id, force=request.force))
        finally:
            under_way.discard(request.id)
        return pb.DeleteFlowRunResponse(deleted_run_count=deleted)

    async def SetFlowRunState(
        self, request: pb.SetFlowRunStateRequest, _: Call
    ) -> pb.SetFlowRunStateResponse:
        """Propose a transition."""
        verdict, run = await self._runs.set_state(request.id, request.state)
        return pb.SetFlowRunStateResponse(verdict=verdict, flow_run=run)

    async def CancelFlowRun(
        self, request: pb.CancelFlowRunRequest, _: Call
    ) -> pb.CancelFlowRunResponse:
        """Cancel a run and its descendants."""
        verdict, run, asked = await self._runs.cancel(request.id, request.reason)
        return pb.CancelFlowRunResponse(verdict=verdict, flow_run=run, asked_run_count=asked)

    async def ListFlowRunTransitions(
        self, request: pb.ListFlowRunTransitionsRequest, _: Call
    ) -> pb.ListFlowRunTransitionsResponse:
        """Return the history of one run."""
        messages, token = await self._runs.history(request)
        return pb.ListFlowRunTransitionsResponse(transitions=messages, next_page_token=token)


def _check_flow_run(run: flow_run_pb2.FlowRun, field: str) -> None:
    check_optional_new_id(run.id, f"{field}.id")
    check_required_text(run.flow_name, f"{field}.flow_name", limits.NAME)
    check_text(run.name, f"{field}.name", limits.NAME)
    check_optional_id(run.parent_run_id, f"{field}.parent_run_id")
    check_optional_id(run.root_run_id, f"{field}.root_run_id")
    check_tags(run.tags, f"{field}.tags")
    check_text(run.flow_version, f"{field}.flow_version", limits.NAME)
    if not run.HasField("state"):
        raise invalid(f"{field}.state", "is required")
    check_state(run.state, f"{field}.state")
    if int(run.state.type) not in INITIAL_TYPES:
        raise invalid(f"{field}.state.type", "a run begins as SCHEDULED or PENDING")
    if run.state.HasField("time"):
        check_time(run.state.time, f"{field}.state.time")
    if run.HasField("parameters"):
        check_payload(run.parameters, f"{field}.parameters", limits.PARAMETERS)
    if run.HasField("trace"):
        check_trace(run.trace, f"{field}.trace")


CHECKS: Checks = {
    pb.CreateFlowRunRequest: with_message("flow_run", _check_flow_run),
    pb.GetFlowRunRequest: by_id,
    pb.ListFlowRunsRequest: check_list,
    pb.CountFlowRunsRequest: check_count,
    pb.DeleteFlowRunRequest: by_id,
    pb.SetFlowRunStateRequest: check_set_state,
    pb.CancelFlowRunRequest: check_cancel,
    pb.ListFlowRunTransitionsRequest: check_history,
}


def _below_caller(new: NewRun, caller: RunContext | None, *, given_root: str) -> NewRun:
    """Return a run without a parent as a child of the run that the call names, if any."""
    if caller is None:
        return new
    root_run_id = given_root or caller.root_run_id
    return new._replace(parent_run_id=caller.run_id, root_run_id=root_run_id)


def new_flow_run(
    wire: flow_run_pb2.FlowRun,
    *,
    labels: Mapping[str, str],
    now_us: int,
    new_id: Callable[[], str],
) -> NewRun:
    """Return the flow run to create from a message; its id and its state's time are optional.

    Raises:
        InvalidFieldError, TooLargeError: A detail of the run, or a label, is not allowed.
    """
    run_id = wire.id or new_id()
    state = new_state(wire.state)
    if not wire.state.HasField("time"):
        state.time_us = now_us
    return NewRun(
        id=run_id,
        kind=RunKind.FLOW,
        function_name=wire.flow_name,
        run_name=wire.name,
        parent_run_id=wire.parent_run_id or None,
        root_run_id=wire.root_run_id or run_id,
        flow_run_id=None,
        tags=tuple(wire.tags),
        parameters=payload_of(wire.parameters) if wire.HasField("parameters") else None,
        trace=new_trace(wire.trace) if wire.HasField("trace") else None,
        version=wire.flow_version,
        created_us=state.time_us,
        state=state,
        details=read_details(wire, labels, "flow_run."),
    )


def flow_run_message(run: Run) -> flow_run_pb2.FlowRun:
    """Return the message of a flow run."""
    wire = flow_run_pb2.FlowRun(
        id=run.id,
        flow_id=flow_id(run.function_name),
        flow_name=run.function_name,
        name=run.run_name,
        parent_run_id=run.parent_run_id or "",
        root_run_id=run.root_run_id,
        attempt=run.attempt,
        tags=run.tags,
        parameters=payload_message(run.parameters),
        trace=trace_message(run.trace),
        flow_version=run.version,
        session_id=run.session_id or "",
        transition_count=run.transition_count,
    )
    put_details(wire, run)
    put_course(wire, run)
    return wire


def listed_flow_run_message(run: Run) -> flow_run_pb2.FlowRun:
    """Return the message of a flow run in a list or a watch."""
    wire = flow_run_message(run)
    if run.details is not None:
        shorten(wire)
    return wire
