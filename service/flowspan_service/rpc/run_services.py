"""FlowRunService and TaskRunService: runs, for everybody but the processes that execute them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan.v1 import (
    flow_run_service_pb2 as flow_runs,
)
from flowspan.v1 import (
    flow_run_service_pb2_grpc,
    task_run_service_pb2_grpc,
)
from flowspan.v1 import (
    task_run_service_pb2 as task_runs,
)
from flowspan_service.app.runs import CreateRun, DeleteRun, SetState, get_run, history
from flowspan_service.domain.runs import RunKind
from flowspan_service.domain.verdicts import VerdictKind
from flowspan_service.rpc.pages import run_page, run_query
from flowspan_service.rpc.translate import (
    flow_run_message,
    new_flow_run,
    new_state,
    run_filter,
    state_counts,
    task_run_message,
    transition_message,
    verdict_message,
)

if TYPE_CHECKING:
    from flowspan.v1.state_pb2 import State
    from flowspan_service.app.runs import StateSet
    from flowspan_service.rpc.backend import Backend
    from flowspan_service.rpc.edge import CallContext

# ruff: noqa: N802 - methods are named as in the protos


class FlowRunService(flow_run_service_pb2_grpc.FlowRunServiceServicer):
    """See flow_run_service.proto."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def CreateFlowRun(
        self, request: flow_runs.CreateFlowRunRequest, context: CallContext
    ) -> flow_runs.CreateFlowRunResponse:
        """Creates a run that nobody executes yet."""
        del context
        new = new_flow_run(request.flow_run, now_us=self._backend.clock.now_us())
        created = await self._backend.write(CreateRun(new))
        self._backend.activity.committed_transition_count += created.is_new
        return flow_runs.CreateFlowRunResponse(
            flow_run=flow_run_message(created.run), created=created.is_new
        )

    async def GetFlowRun(
        self, request: flow_runs.GetFlowRunRequest, context: CallContext
    ) -> flow_runs.GetFlowRunResponse:
        """One run."""
        del context
        run = await self._backend.read(get_run, self._backend.store, RunKind.FLOW, request.id)
        return flow_runs.GetFlowRunResponse(flow_run=flow_run_message(run))

    async def ListFlowRuns(
        self, request: flow_runs.ListFlowRunsRequest, context: CallContext
    ) -> flow_runs.ListFlowRunsResponse:
        """A page of runs."""
        del context
        query = run_query(request, RunKind.FLOW)
        page = await self._backend.read(self._backend.store.list_runs, query)
        messages, token = run_page(request, RunKind.FLOW, page, flow_run_message)
        return flow_runs.ListFlowRunsResponse(flow_runs=messages, next_page_token=token)

    async def CountFlowRuns(
        self, request: flow_runs.CountFlowRunsRequest, context: CallContext
    ) -> flow_runs.CountFlowRunsResponse:
        """How many runs are in which state."""
        del context
        wanted = run_filter(request.filter)
        counts = await self._backend.read(self._backend.store.count_runs, RunKind.FLOW, wanted)
        return flow_runs.CountFlowRunsResponse(counts=state_counts(counts))

    async def DeleteFlowRun(
        self, request: flow_runs.DeleteFlowRunRequest, context: CallContext
    ) -> flow_runs.DeleteFlowRunResponse:
        """Deletes a run with all that it called."""
        del context
        deleted = await self._backend.write(DeleteRun(request.id, force=request.force))
        return flow_runs.DeleteFlowRunResponse(deleted_run_count=deleted)

    async def SetFlowRunState(
        self, request: flow_runs.SetFlowRunStateRequest, context: CallContext
    ) -> flow_runs.SetFlowRunStateResponse:
        """Asks for a transition."""
        del context
        outcome = await _set_state(self._backend, RunKind.FLOW, request.id, request.state)
        return flow_runs.SetFlowRunStateResponse(
            verdict=verdict_message(outcome.verdict), flow_run=flow_run_message(outcome.run)
        )

    async def ListFlowRunTransitions(
        self, request: flow_runs.ListFlowRunTransitionsRequest, context: CallContext
    ) -> flow_runs.ListFlowRunTransitionsResponse:
        """The history of one run."""
        del context
        found = await self._backend.read(history, self._backend.store, RunKind.FLOW, request.id)
        return flow_runs.ListFlowRunTransitionsResponse(
            transitions=[transition_message(each) for each in found]
        )


class TaskRunService(task_run_service_pb2_grpc.TaskRunServiceServicer):
    """See task_run_service.proto."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def GetTaskRun(
        self, request: task_runs.GetTaskRunRequest, context: CallContext
    ) -> task_runs.GetTaskRunResponse:
        """One run."""
        del context
        run = await self._backend.read(get_run, self._backend.store, RunKind.TASK, request.id)
        return task_runs.GetTaskRunResponse(task_run=task_run_message(run))

    async def ListTaskRuns(
        self, request: task_runs.ListTaskRunsRequest, context: CallContext
    ) -> task_runs.ListTaskRunsResponse:
        """A page of runs."""
        del context
        query = run_query(request, RunKind.TASK)
        page = await self._backend.read(self._backend.store.list_runs, query)
        messages, token = run_page(request, RunKind.TASK, page, task_run_message)
        return task_runs.ListTaskRunsResponse(task_runs=messages, next_page_token=token)

    async def CountTaskRuns(
        self, request: task_runs.CountTaskRunsRequest, context: CallContext
    ) -> task_runs.CountTaskRunsResponse:
        """How many runs are in which state."""
        del context
        wanted = run_filter(request.filter)
        counts = await self._backend.read(self._backend.store.count_runs, RunKind.TASK, wanted)
        return task_runs.CountTaskRunsResponse(counts=state_counts(counts))

    async def SetTaskRunState(
        self, request: task_runs.SetTaskRunStateRequest, context: CallContext
    ) -> task_runs.SetTaskRunStateResponse:
        """Asks for a transition."""
        del context
        outcome = await _set_state(self._backend, RunKind.TASK, request.id, request.state)
        return task_runs.SetTaskRunStateResponse(
            verdict=verdict_message(outcome.verdict), task_run=task_run_message(outcome.run)
        )

    async def ListTaskRunTransitions(
        self, request: task_runs.ListTaskRunTransitionsRequest, context: CallContext
    ) -> task_runs.ListTaskRunTransitionsResponse:
        """The history of one run."""
        del context
        found = await self._backend.read(history, self._backend.store, RunKind.TASK, request.id)
        return task_runs.ListTaskRunTransitionsResponse(
            transitions=[transition_message(each) for each in found]
        )


async def _set_state(backend: Backend, kind: int, run_id: str, state: State) -> StateSet:
    """Asks for a transition, and tells the session that runs the run if it is to stop."""
    outcome = await backend.write(SetState(kind, run_id, new_state(state)))
    accepted = outcome.verdict.kind == VerdictKind.ACCEPTED
    backend.activity.committed_transition_count += accepted
    connection = backend.live.get(outcome.session_to_tell)
    if connection is not None:
        connection.cancel(outcome.run.id, outcome.run.state.message)
    return outcome
