"""Runs of either kind: RunService."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan.v1 import run_service_pb2 as pb
from flowspan_service.api.fields.checks import Checks, by_id
from flowspan_service.api.flow_runs import flow_run_message
from flowspan_service.api.task_runs import task_run_message
from flowspan_service.app.runs import get_run_of_any_kind
from flowspan_service.domain.runs import RunKind

if TYPE_CHECKING:
    from flowspan_service.api.backend import Backend
    from flowspan_service.api.calls.call import Call

CHECKS: Checks = {pb.GetRunRequest: by_id}


class RunService:
    """The servicer of RunService."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def GetRun(  # noqa: N802 - the name in the proto
        self, request: pb.GetRunRequest, _: Call
    ) -> pb.GetRunResponse:
        """Return the run with an id, of whichever kind."""
        backend = self._backend
        run = await backend.read_row(get_run_of_any_kind, backend.store, request.id)
        if run.kind == RunKind.FLOW:
            return pb.GetRunResponse(flow_run=flow_run_message(run))
        return pb.GetRunResponse(task_run=task_run_message(run))
