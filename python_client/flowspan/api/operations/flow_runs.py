"""Operations on flow runs."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from flowspan.api import convert, models
from flowspan.api.ids import new_id
from flowspan.api.operations.service import CANCEL, has_capability
from flowspan.api.operations.states import answer_without_cancel, wanted_state
from flowspan.api.requests import call, for_each, pages
from flowspan.core.limits import PAGE_TRANSITIONS
from flowspan.core.run_names import petname
from flowspan.core.values.payloads import encode_parameters
from flowspan.exceptions import ParameterError
from flowspan.v1 import flow_run_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from uuid import UUID

    from flowspan.api.requests import Answer, Items
    from flowspan.core.definition import FlowDefinition
    from flowspan.core.states import State


def create_flow_run(
    flow: FlowDefinition | str,
    *,
    name: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    tags: Iterable[str] = (),
    state: State | models.State | models.StateType = models.StateType.SCHEDULED,
    flow_run_id: UUID | str | None = None,
) -> Answer[models.FlowRun]:
    """Create a flow run without executing it.

    Args:
        flow: A decorated function, or the name of a flow.
        name: The name of the run; generated if None.
        parameters: The arguments by parameter name; JSON-serializable values.
        tags: Words for people and filters.
        state: The first state, of type SCHEDULED or PENDING.
        flow_run_id: The run's id, a UUIDv7; generated if None. Creation is idempotent by id.

    Returns:
        The run as stored.

    Raises:
        ParameterError: A parameter is not JSON-serializable.
        ValueError: flow_run_id is empty.
        ObjectAlreadyExists: The id belongs to a run with different content.
        ApiError: INVALID_ARGUMENT, a value is invalid.
    """
    if flow_run_id == "":
        raise ValueError("flow_run_id is empty: leave it out to have one generated")
    request = pb.CreateFlowRunRequest()
    run = request.flow_run
    run.id = new_id() if flow_run_id is None else str(flow_run_id)
    run.name = name if name is not None else petname(random.randrange)
    if isinstance(flow, str):
        run.flow_name = flow
    else:
        details = flow.details
        run.flow_name, run.flow_version = flow.name, flow.version or ""
        run.description = details.description
        run.max_attempts = details.max_attempts
        convert.set_code(run.code, details)
    run.tags.extend(tags)
    run.state.CopyFrom(wanted_state(state))
    if parameters:
        run.parameters.encoding, run.parameters.data = "json", encoded_parameters(parameters)
    answer = yield from call("FlowRunService/CreateFlowRun", request, pb.CreateFlowRunResponse)
    return convert.flow_run(answer.flow_run)


def encoded_parameters(parameters: Mapping[str, Any]) -> bytes:
    """Return the arguments of a run as JSON.

    Raises:
        ParameterError: A parameter is not JSON-serializable.
    """
    data, problems = encode_parameters(parameters)
    if problems:
        name, kind, reason = problems[0]
        raise ParameterError(
            f"parameter {name!r} (of type {kind}) cannot be stored with the run: {reason}"
        )
    return data


def read_flow_run(flow_run_id: UUID | str) -> Answer[models.FlowRun]:
    """Return a flow run by its id.

    Raises:
        ObjectNotFound: There is no such run.
    """
    request = pb.GetFlowRunRequest(id=str(flow_run_id))
    answer = yield from call("FlowRunService/GetFlowRun", request, pb.GetFlowRunResponse)
    return convert.flow_run(answer.flow_run)


def read_flow_runs(
    run_filter: models.RunFilter | None = None,
    *,
    oldest_first: bool = False,
    limit: int | None = None,
    page_size: int = 0,
) -> Items[models.FlowRun]:
    """Iterate over flow runs in order of creation, newest first.

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
    request = pb.ListFlowRunsRequest(
        filter=convert.wire_filter(run_filter),
        order=convert.wire_order(oldest_first=oldest_first),
        page_size=page_size,
    )
    yield from pages(
        "FlowRunService/ListFlowRuns",
        request,
        pb.ListFlowRunsResponse,
        lambda page: map(convert.flow_run, page.flow_runs),
        limit=limit,
    )


def count_flow_runs(
    run_filter: models.RunFilter | None = None,
) -> Answer[dict[models.StateType, int]]:
    """Return the number of flow runs by state type, omitting types without runs.

    Args:
        run_filter: The runs to count; all if None.
    """
    request = pb.CountFlowRunsRequest(filter=convert.wire_filter(run_filter))
    answer = yield from call("FlowRunService/CountFlowRuns", request, pb.CountFlowRunsResponse)
    return convert.counts(answer.counts)


def delete_flow_run(flow_run_id: UUID | str, *, force: bool = False) -> Answer[int]:
    """Delete a flow run and its descendants, with their histories and logs.

    Args:
        flow_run_id: The run. Deleting a run that does not exist is a no-op.
        force: True to delete runs that have not ended as well.

    Returns:
        The number of deleted runs.

    Raises:
        ApiError: FAILED_PRECONDITION, a run of the tree has not ended.
    """
    request = pb.DeleteFlowRunRequest(id=str(flow_run_id), force=force)
    answer = yield from call("FlowRunService/DeleteFlowRun", request, pb.DeleteFlowRunResponse)
    return answer.deleted_run_count


def set_flow_run_state(
    flow_run_id: UUID | str,
    state: State | models.State | models.StateType,
    *,
    name: str = "",
    message: str = "",
) -> Answer[models.StateAnswer[models.FlowRun]]:
    """Request a transition of a flow run alone. To cancel a run, call `cancel_flow_run`.

    Args:
        flow_run_id: The run.
        state: The state to enter: a state of `flowspan.states`, or only a type.
        name: The state's name; if empty, the name of the given state or type.
        message: The reason, for people; if empty, the message of the given state.

    Returns:
        The verdict and the run afterwards. A refusal is a verdict, not an error.

    Raises:
        ObjectNotFound: There is no such run.
    """
    request = pb.SetFlowRunStateRequest(
        id=str(flow_run_id), state=wanted_state(state, name=name, message=message)
    )
    answer = yield from call("FlowRunService/SetFlowRunState", request, pb.SetFlowRunStateResponse)
    return models.StateAnswer(convert.verdict(answer.verdict), convert.flow_run(answer.flow_run))


def cancel_flow_run(
    flow_run_id: UUID | str, *, reason: str = ""
) -> Answer[models.CancelAnswer[models.FlowRun]]:
    """Cancel a flow run and all runs that it called, in whichever processes they run.

    Each process is asked to stop its runs; runs without a process become CANCELLED directly. No run
    can be created below in another process later. A service of version 0.1 cancels the run alone.

    Args:
        flow_run_id: The run.
        reason: The reason, for people.

    Returns:
        The verdict, the run afterwards, and the number of runs whose processes were asked. A
        refusal is a verdict, not an error: the run has ended.

    Raises:
        ObjectNotFound: There is no such run.
    """
    if not (yield from has_capability(CANCEL)):
        state = models.StateType.CANCELLING
        alone = yield from set_flow_run_state(flow_run_id, state, message=reason)
        return answer_without_cancel(alone)
    request = pb.CancelFlowRunRequest(id=str(flow_run_id), reason=reason)
    answer = yield from call("FlowRunService/CancelFlowRun", request, pb.CancelFlowRunResponse)
    return models.CancelAnswer(
        convert.verdict(answer.verdict),
        convert.flow_run(answer.flow_run),
        answer.asked_run_count,
    )


def read_flow_run_transitions(flow_run_id: UUID | str) -> Answer[list[models.Transition]]:
    """Return the history of a flow run: all its transitions, by ordinal.

    Raises:
        ObjectNotFound: There is no such run.
    """
    request = pb.ListFlowRunTransitionsRequest(id=str(flow_run_id), page_size=PAGE_TRANSITIONS)
    found: list[models.Transition] = []
    yield from for_each(
        pages(
            "FlowRunService/ListFlowRunTransitions",
            request,
            pb.ListFlowRunTransitionsResponse,
            lambda page: map(convert.transition, page.transitions),
        ),
        found.append,
    )
    return found


def read_flow_run_states(flow_run_id: UUID | str) -> Answer[list[models.State]]:
    """Return all states that a flow run has entered, in order.

    Raises:
        ObjectNotFound: There is no such run.
    """
    history = yield from read_flow_run_transitions(flow_run_id)
    return [transition.state for transition in history]
