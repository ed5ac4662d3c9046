"""Operations on runs of either kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan.api import convert, models
from flowspan.api.operations.flow_runs import read_flow_run
from flowspan.api.operations.task_runs import read_task_run
from flowspan.api.requests import call
from flowspan.exceptions import ApiError, ObjectNotFound
from flowspan.v1 import run_service_pb2 as pb

if TYPE_CHECKING:
    from uuid import UUID

    from flowspan.api.requests import Answer


def read_run(run_id: UUID | str) -> Answer[models.Run]:
    """Return a run by its id, whether a flow or a task ran.

    Raises:
        ObjectNotFound: There is no such run.
    """
    request = pb.GetRunRequest(id=str(run_id))
    try:
        answer = yield from call("RunService/GetRun", request, pb.GetRunResponse)
    except ApiError as error:
        if error.status != "UNIMPLEMENTED":
            raise
    else:
        if answer.HasField("flow_run"):
            return convert.flow_run(answer.flow_run)
        return convert.task_run(answer.task_run)
    return (yield from _read_in_turn(run_id))


def _read_in_turn(run_id: UUID | str) -> Answer[models.Run]:
    """Return a run from a service without the capability "get_run.v1"."""
    try:
        return (yield from read_flow_run(run_id))
    except ObjectNotFound:
        return (yield from read_task_run(run_id))
