"""Operations on task runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan.api import convert, models
from flowspan.api.operations.service import CANCEL, has_capability
from flowspan.api.operations.states import answer_without_cancel, wanted_state
from flowspan.api.requests import call, for_each, pages
from flowspan.core.limits import PAGE_TRANSITIONS
from flowspan.v1 import task_run_service_pb2 as pb

if TYPE_CHECKING:
    from uuid import UUID

    from flowspan.api.requests import Answer, Items
    from flowspan.core.states import State


def read_task_run(task_run_id: UUID | str) -> Answer[models.TaskRun]:
    """Return a task run by its id.

    Raises:
        ObjectNotFound: There is no such run.
    """
    request = pb.GetTaskRunRequest(id=str(task_run_id))
    answer = yield from call("TaskRunService/GetTaskRun", request, pb.GetTaskRunResponse)
    return convert.task_run(answer.task_run)


def read_task_runs(
    run_filter: models.RunFilter | None = None,
    *,
    oldest_first: bool = False,
    limit: int | None = None,
    page_size: int = 0,
) -> Items[models.TaskRun]:
    """Iterate over task runs in order of creation, newest first.

    Args:
        run_filter: The runs to include; all if None.
        oldest_first: True to reverse the order.
        limit: The maximum number of runs; None for all.
        page_size: The number fetched at a time, 1 to 1000; 0 for the service's default.

    Returns:
        An iterator that fetches each page on demand.

    Raises:
        ApiError: INVALID_ARGUMENT, a value of the filter is invalid.
    """
    request = pb.ListTaskRunsRequest(
        filter=convert.wire_filter(run_filter),
        order=convert.wire_order(oldest_first=oldest_first),
        page_size=page_size,
    )
    yield from pages(
        "TaskRunService/ListTaskRuns",
        request,
        pb.ListTaskRunsResponse,
        lambda page: map(convert.task_run, page.task_runs),
        limit=limit,
    )


def count_task_runs(
    run_filter: models.RunFilter | None = None,
) -> Answer[dict[models.StateType, int]]:
    """Return the number of task runs by state type, omitting types without runs.

    Args:
        run_filter: The runs to count; all if None.
    """
    request = pb.CountTaskRunsRequest(filter=convert.wire_filter(run_filter))
    answer = yield from call("TaskRunService/CountTaskRuns", request, pb.CountTaskRunsResponse)
    return convert.counts(answer.counts)


def set_task_run_state(
    task_run_id: UUID | str,
    state: State | models.State | models.StateType,
    *,
    name: str = "",
    message: str = "",
) -> Answer[models.StateAnswer[models.TaskRun]]:
    """Request a transition of a task run; the arguments are those of `set_flow_run_state`.

    Returns:
        The verdict and the run afterwards. A refusal is a verdict, not an error.

    Raises:
        ObjectNotFound: There is no such run.
    """
    request = pb.SetTaskRunStateRequest(
        id=str(task_run_id), state=wanted_state(state, name=name, message=message)
    )
    answer = yield from call("TaskRunService/SetTaskRunState", request, pb.SetTaskRunStateResponse)
    return models.StateAnswer(convert.verdict(answer.verdict), convert.task_run(answer.task_run))


def cancel_task_run(
    task_run_id: UUID | str, *, reason: str = ""
) -> Answer[models.CancelAnswer[models.TaskRun]]:
    """Cancel a task run and all runs that it called, in whichever processes they run.

    Each process is asked to stop its runs; runs without a process become CANCELLED directly. No run
    can be created below in another process later. A service of version 0.1 cancels the run alone.

    Args:
        task_run_id: The run.
        reason: The reason, for people.

    Returns:
        The verdict, the run afterwards, and the number of runs whose processes were asked. A
        refusal is a verdict, not an error: the run has ended.

    Raises:
        ObjectNotFound: There is no such run.
    """
    if not (yield from has_capability(CANCEL)):
        state = models.StateType.CANCELLING
        alone = yield from set_task_run_state(task_run_id, state, message=reason)
        return answer_without_cancel(alone)
    request = pb.CancelTaskRunRequest(id=str(task_run_id), reason=reason)
    answer = yield from call("TaskRunService/CancelTaskRun", request, pb.CancelTaskRunResponse)
    return models.CancelAnswer(
        convert.verdict(answer.verdict),
        convert.task_run(answer.task_run),
        answer.asked_run_count,
    )


def read_task_run_transitions(task_run_id: UUID | str) -> Answer[list[models.Transition]]:
    """Return the history of a task run: all its transitions, by ordinal.

    Raises:
        ObjectNotFound: There is no such run.
    """
    request = pb.ListTaskRunTransitionsRequest(id=str(task_run_id), page_size=PAGE_TRANSITIONS)
    found: list[models.Transition] = []
    yield from for_each(
        pages(
            "TaskRunService/ListTaskRunTransitions",
            request,
            pb.ListTaskRunTransitionsResponse,
            lambda page: map(convert.transition, page.transitions),
        ),
        found.append,
    )
    return found


def read_task_run_states(task_run_id: UUID | str) -> Answer[list[models.State]]:
    """Return all states that a task run has entered, in order.

    Raises:
        ObjectNotFound: There is no such run.
    """
    history = yield from read_task_run_transitions(task_run_id)
    return [transition.state for transition in history]
