"""FlowRunService and TaskRunService: runs, for everybody but the processes that execute them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

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
from flowspan_service.api.paging import history_page, history_query, next_token, run_query
from flowspan_service.api.run_messages import RunMessages
from flowspan_service.api.translate import (
    flow_run_message,
    new_flow_run,
    new_state,
    run_filter,
    state_counts,
    task_run_message,
    verdict_message,
)
from flowspan_service.app.runs import CreateRun, DeleteRun, SetState, get_run, history
from flowspan_service.domain.runs import RunKind
from flowspan_service.domain.verdicts import VerdictKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.v1.run_filter_pb2 import RunFilter, StateCount
    from flowspan.v1.state_pb2 import State
    from flowspan.v1.transition_pb2 import Transition
    from flowspan.v1.verdict_pb2 import Verdict
    from flowspan_service.api.backend import Backend
    from flowspan_service.api.edge import CallContext
    from flowspan_service.domain.runs import Run

# ruff: noqa: N802 - methods are named as in the protos


M = TypeVar("M")


class _Runs(Generic[M]):
    """What the two services do alike, for one kind of runs.

    Args:
        backend: The store and what belongs to it.
        kind: The kind.
        message: Makes the message of a run.
    """

    def __init__(self, backend: Backend, kind: RunKind, message: Callable[[Run], M]) -> None:
        self._backend = backend
        self._kind = kind
        self._message = message
        self._messages = RunMessages(backend.store, message)

    async def get(self, run_id: str) -> M:
        """One run."""
        backend = self._backend
        return self._message(await backend.read_row(get_run, backend.store, self._kind, run_id))

    async def page(self, request: Any) -> tuple[bytes, str]:
        """The runs of a page, as field 1 of the response, and the token of the next."""
        backend = self._backend
        query = run_query(backend.tokens, request, self._kind)
        read = backend.read_row if query.is_cheap else backend.read
        runs, last_id = await read(self._messages.page, query)
        return runs, next_token(backend.tokens, request, self._kind, last_id)

    async def counts(self, wanted: RunFilter) -> list[StateCount]:
        """How many runs are in which state."""
        backend = self._backend
        return state_counts(
            await backend.read(backend.store.count_runs, self._kind, run_filter(wanted))
        )

    async def set_state(self, run_id: str, state: State) -> tuple[Verdict, M]:
        """Asks for a transition, and tells the session that runs the run if it is to stop."""
        backend = self._backend
        outcome = await backend.write(SetState(self._kind, run_id, new_state(state)))
        accepted = outcome.verdict.kind == VerdictKind.ACCEPTED
        backend.activity.committed_transition_count += accepted
        if outcome.command is not None:
            connection = backend.live.get(outcome.command.session_id)
            if connection is not None:
                connection.tell(outcome.command)
        return verdict_message(outcome.verdict), self._message(outcome.run)

    async def history(self, request: Any) -> tuple[list[Transition], str]:
        """The transitions of a page of a run's history, and the token of the next."""
        backend = self._backend
        query = history_query(backend.tokens, request)

        def read() -> tuple[list[Transition], str]:
            page = history(backend.store, self._kind, **query)
            return history_page(backend.tokens, request, page)

        return await backend.read(read)


class FlowRunService(flow_run_service_pb2_grpc.FlowRunServiceServicer):
    """See flow_run_service.proto."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._runs = _Runs(backend, RunKind.FLOW, flow_run_message)

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
        return flow_runs.GetFlowRunResponse(flow_run=await self._runs.get(request.id))

    async def ListFlowRuns(
        self, request: flow_runs.ListFlowRunsRequest, context: CallContext
    ) -> bytes:
        """A page of runs: a ListFlowRunsResponse, encoded."""
        del context
        runs, token = await self._runs.page(request)
        rest = flow_runs.ListFlowRunsResponse(next_page_token=token)
        return runs + rest.SerializeToString()

    async def CountFlowRuns(
        self, request: flow_runs.CountFlowRunsRequest, context: CallContext
    ) -> flow_runs.CountFlowRunsResponse:
        """How many runs are in which state."""
        del context
        return flow_runs.CountFlowRunsResponse(counts=await self._runs.counts(request.filter))

    async def DeleteFlowRun(
        self, request: flow_runs.DeleteFlowRunRequest, context: CallContext
    ) -> flow_runs.DeleteFlowRunResponse:
        """Deletes a run with all that it called."""
        del context
        deleting = self._backend.deleting
        deleting.add(request.id)
        try:
            deleted = await self._backend.write(DeleteRun(request.id, force=request.force))
        finally:
            deleting.discard(request.id)
        return flow_runs.DeleteFlowRunResponse(deleted_run_count=deleted)

    async def SetFlowRunState(
        self, request: flow_runs.SetFlowRunStateRequest, context: CallContext
    ) -> flow_runs.SetFlowRunStateResponse:
        """Asks for a transition."""
        del context
        verdict, run = await self._runs.set_state(request.id, request.state)
        return flow_runs.SetFlowRunStateResponse(verdict=verdict, flow_run=run)

    async def ListFlowRunTransitions(
        self, request: flow_runs.ListFlowRunTransitionsRequest, context: CallContext
    ) -> flow_runs.ListFlowRunTransitionsResponse:
        """The history of one run."""
        del context
        messages, token = await self._runs.history(request)
        return flow_runs.ListFlowRunTransitionsResponse(transitions=messages, next_page_token=token)


class TaskRunService(task_run_service_pb2_grpc.TaskRunServiceServicer):
    """See task_run_service.proto."""

    def __init__(self, backend: Backend) -> None:
        self._runs = _Runs(backend, RunKind.TASK, task_run_message)

    async def GetTaskRun(
        self, request: task_runs.GetTaskRunRequest, context: CallContext
    ) -> task_runs.GetTaskRunResponse:
        """One run."""
        del context
        return task_runs.GetTaskRunResponse(task_run=await self._runs.get(request.id))

    async def ListTaskRuns(
        self, request: task_runs.ListTaskRunsRequest, context: CallContext
    ) -> bytes:
        """A page of runs: a ListTaskRunsResponse, encoded."""
        del context
        runs, token = await self._runs.page(request)
        rest = task_runs.ListTaskRunsResponse(next_page_token=token)
        return runs + rest.SerializeToString()

    async def CountTaskRuns(
        self, request: task_runs.CountTaskRunsRequest, context: CallContext
    ) -> task_runs.CountTaskRunsResponse:
        """How many runs are in which state."""
        del context
        return task_runs.CountTaskRunsResponse(counts=await self._runs.counts(request.filter))

    async def SetTaskRunState(
        self, request: task_runs.SetTaskRunStateRequest, context: CallContext
    ) -> task_runs.SetTaskRunStateResponse:
        """Asks for a transition."""
        del context
        verdict, run = await self._runs.set_state(request.id, request.state)
        return task_runs.SetTaskRunStateResponse(verdict=verdict, task_run=run)

    async def ListTaskRunTransitions(
        self, request: task_runs.ListTaskRunTransitionsRequest, context: CallContext
    ) -> task_runs.ListTaskRunTransitionsResponse:
        """The history of one run."""
        del context
        messages, token = await self._runs.history(request)
        return task_runs.ListTaskRunTransitionsResponse(transitions=messages, next_page_token=token)
