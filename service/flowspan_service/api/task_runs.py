"""Task runs: TaskRunService, and the conversion of task runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan.v1 import task_run_pb2
from flowspan.v1 import task_run_service_pb2 as pb
from flowspan_service.api import limits
from flowspan_service.api.fields.checks import Checks, by_id
from flowspan_service.api.fields.payloads import payload_message
from flowspan_service.api.fields.traces import trace_message
from flowspan_service.api.run_details import put_details, shorten
from flowspan_service.api.run_operations import (
    RunOperations,
    check_cancel,
    check_count,
    check_history,
    check_list,
    check_set_state,
    put_course,
)
from flowspan_service.domain.runs import RunKind

if TYPE_CHECKING:
    from flowspan_service.api.backend import Backend
    from flowspan_service.api.calls.call import Call
    from flowspan_service.domain.runs import Run

# ruff: noqa: N802 - methods are named as in the protos

CHECKS: Checks = {
    pb.GetTaskRunRequest: by_id,
    pb.ListTaskRunsRequest: check_list,
    pb.CountTaskRunsRequest: check_count,
    pb.SetTaskRunStateRequest: check_set_state,
    pb.CancelTaskRunRequest: check_cancel,
    pb.ListTaskRunTransitionsRequest: check_history,
}


class TaskRunService:
    """The servicer of TaskRunService."""

    def __init__(self, backend: Backend) -> None:
        self._runs = RunOperations(
            backend, RunKind.TASK, task_run_message, listed=listed_task_run_message
        )

    async def GetTaskRun(self, request: pb.GetTaskRunRequest, _: Call) -> pb.GetTaskRunResponse:
        """Return one run."""
        return pb.GetTaskRunResponse(task_run=await self._runs.get(request.id))

    async def ListTaskRuns(self, request: pb.ListTaskRunsRequest, _: Call) -> bytes:
        """Return a page of runs: an encoded ListTaskRunsResponse."""
        runs, token = await self._runs.page(request)
        rest = pb.ListTaskRunsResponse(next_page_token=token)
        return runs + rest.SerializeToString()

    async def CountTaskRuns(
        self, request: pb.CountTaskRunsRequest, _: Call
    ) -> pb.CountTaskRunsResponse:
        """Return the number of runs per type of state."""
        return pb.CountTaskRunsResponse(counts=await self._runs.counts(request.filter))

    async def SetTaskRunState(
        self, request: pb.SetTaskRunStateRequest, _: Call
    ) -> pb.SetTaskRunStateResponse:
        """Propose a transition."""
        verdict, run = await self._runs.set_state(request.id, request.state)
        return pb.SetTaskRunStateResponse(verdict=verdict, task_run=run)

    async def CancelTaskRun(
        self, request: pb.CancelTaskRunRequest, _: Call
    ) -> pb.CancelTaskRunResponse:
        """Cancel a run and its descendants."""
        verdict, run, asked = await self._runs.cancel(request.id, request.reason)
        return pb.CancelTaskRunResponse(verdict=verdict, task_run=run, asked_run_count=asked)

    async def ListTaskRunTransitions(
        self, request: pb.ListTaskRunTransitionsRequest, _: Call
    ) -> pb.ListTaskRunTransitionsResponse:
        """Return the history of one run."""
        messages, token = await self._runs.history(request)
        return pb.ListTaskRunTransitionsResponse(transitions=messages, next_page_token=token)


def task_run_message(run: Run) -> task_run_pb2.TaskRun:
    """Return the message of a task run."""
    wire = task_run_pb2.TaskRun(
        id=run.id,
        task_name=run.function_name,
        name=run.run_name,
        flow_run_id=run.flow_run_id or "",
        parent_run_id=run.parent_run_id or "",
        root_run_id=run.root_run_id,
        attempt=run.attempt,
        tags=run.tags,
        parameters=payload_message(run.parameters),
        trace=trace_message(run.trace),
        task_version=run.version,
        session_id=run.session_id or "",
        transition_count=run.transition_count,
    )
    put_details(wire, run)
    put_course(wire, run)
    return wire


def listed_task_run_message(run: Run) -> task_run_pb2.TaskRun:
    """Return the message of a task run in a list or a watch."""
    wire = task_run_message(run)
    if run.details is not None:
        shorten(wire)
    if run.parameters and len(run.parameters.data) > limits.LISTED_TASK_PARAMETERS:
        wire.ClearField("parameters")
    return wire
