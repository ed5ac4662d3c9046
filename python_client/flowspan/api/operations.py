"""Every call of the API: what to send, and how to read the answer. Nothing here waits or calls.

A function returns a `Unary` (one answer), a `Paged` (items, page by page) or a `Stream` (items as
they come, going on after a broken connection). A face of the client carries it out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from flowspan.api import convert, models
from flowspan.api.chunks import ChunkJoiner
from flowspan.v1 import (
    flow_run_service_pb2,
    flow_service_pb2,
    log_pb2,
    log_service_pb2,
    run_filter_pb2,
    system_service_pb2,
    task_run_service_pb2,
    watch_service_pb2,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from uuid import UUID

    from google.protobuf.message import Message

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_PACKAGE = "flowspan.v1"


@dataclass(frozen=True, slots=True)
class Unary(Generic[T]):
    """A call with one answer."""

    method: str
    """The path: "/<package>.<service>/<method>"."""
    request: Message
    response: type[Message]
    decode: Callable[[Any], T]


@dataclass(frozen=True, slots=True)
class Paged(Generic[T]):
    """A list that comes in pages."""

    page: Callable[[str], Unary[tuple[list[T], str]]]
    """The call for the page of a token ("" for the first), which answers with the items and the
    token of the next page ("" after the last)."""
    finish: Callable[[], Iterable[T]] = lambda: ()
    """What is left over after the last page."""


class Stream(Protocol[T_co]):
    """A call that answers with a stream.

    It keeps in mind how far it came: after a broken connection, `request` asks for the rest.
    """

    @property
    def method(self) -> str:
        """The path of the call, as in Unary."""
        ...

    @property
    def response(self) -> type[Message]:
        """The type of the messages that come."""
        ...

    def request(self) -> Message:
        """What to send now."""
        ...

    def receive(self, message: Any) -> Iterable[T_co]:
        """The items of a message."""
        ...

    def finish(self) -> Iterable[T_co]:
        """What is left over at the end."""
        ...


def _unary(
    service: str,
    method: str,
    request: Message,
    response: type[Message],
    decode: Callable[[Any], T],
) -> Unary[T]:
    return Unary(f"/{_PACKAGE}.{service}/{method}", request, response, decode)


# --- flow runs -----------------------------------------------------------------------------------


def get_flow_run(run_id: UUID | str) -> Unary[models.FlowRun]:
    """One flow run.

    Raises:
        ApiError: NOT_FOUND, there is none.
    """
    return _unary(
        "FlowRunService",
        "GetFlowRun",
        flow_run_service_pb2.GetFlowRunRequest(id=str(run_id)),
        flow_run_service_pb2.GetFlowRunResponse,
        lambda answer: convert.flow_run(answer.flow_run),
    )


def list_flow_runs(
    run_filter: models.RunFilter | None = None, *, oldest_first: bool = False, page_size: int = 0
) -> Paged[models.FlowRun]:
    """Flow runs in the order of creation, the newest first.

    Args:
        run_filter: Which; all of them if None.
        oldest_first: Turns the order around.
        page_size: How many are fetched at a time, 1 to 1000; 0 leaves it to the service.

    Returns:
        An iterator that fetches a page when it gets there.
    """
    return Paged(
        lambda token: _unary(
            "FlowRunService",
            "ListFlowRuns",
            flow_run_service_pb2.ListFlowRunsRequest(
                filter=convert.wire_filter(run_filter),
                order=_order(oldest_first=oldest_first),
                page_size=page_size,
                page_token=token,
            ),
            flow_run_service_pb2.ListFlowRunsResponse,
            lambda answer: (
                [convert.flow_run(run) for run in answer.flow_runs],
                answer.next_page_token,
            ),
        )
    )


def count_flow_runs(
    run_filter: models.RunFilter | None = None,
) -> Unary[dict[models.StateType, int]]:
    """How many flow runs are in states of each type; types without runs are left out."""
    return _unary(
        "FlowRunService",
        "CountFlowRuns",
        flow_run_service_pb2.CountFlowRunsRequest(filter=convert.wire_filter(run_filter)),
        flow_run_service_pb2.CountFlowRunsResponse,
        _counts,
    )


def delete_flow_run(run_id: UUID | str, *, force: bool = False) -> Unary[int]:
    """Deletes a flow run with all that it called, their histories and logs.

    Args:
        run_id: Which. Deleting what is not there succeeds and deletes nothing.
        force: Whether runs that have not ended are deleted too.

    Returns:
        How many runs were deleted.

    Raises:
        ApiError: FAILED_PRECONDITION, a run of the tree has not ended.
    """
    return _unary(
        "FlowRunService",
        "DeleteFlowRun",
        flow_run_service_pb2.DeleteFlowRunRequest(id=str(run_id), force=force),
        flow_run_service_pb2.DeleteFlowRunResponse,
        lambda answer: int(answer.deleted_run_count),
    )


def set_flow_run_state(
    run_id: UUID | str, state_type: models.StateType, *, name: str = "", message: str = ""
) -> Unary[tuple[models.Verdict, models.FlowRun]]:
    """Asks for a transition of a flow run. CANCELLING is how a run is cancelled.

    Returns:
        The verdict (a refusal is an answer, not an error), and the run afterwards.

    Raises:
        ApiError: NOT_FOUND, there is no such run.
    """
    return _unary(
        "FlowRunService",
        "SetFlowRunState",
        flow_run_service_pb2.SetFlowRunStateRequest(
            id=str(run_id), state=convert.wire_state(state_type, name=name, message=message)
        ),
        flow_run_service_pb2.SetFlowRunStateResponse,
        lambda answer: (convert.verdict(answer.verdict), convert.flow_run(answer.flow_run)),
    )


def flow_run_history(run_id: UUID | str) -> Unary[list[models.Transition]]:
    """All transitions of a flow run, by ordinal.

    Raises:
        ApiError: NOT_FOUND, there is no such run.
    """
    return _unary(
        "FlowRunService",
        "ListFlowRunTransitions",
        flow_run_service_pb2.ListFlowRunTransitionsRequest(id=str(run_id)),
        flow_run_service_pb2.ListFlowRunTransitionsResponse,
        _transitions,
    )


# --- task runs -----------------------------------------------------------------------------------


def get_task_run(run_id: UUID | str) -> Unary[models.TaskRun]:
    """One task run.

    Raises:
        ApiError: NOT_FOUND, there is none.
    """
    return _unary(
        "TaskRunService",
        "GetTaskRun",
        task_run_service_pb2.GetTaskRunRequest(id=str(run_id)),
        task_run_service_pb2.GetTaskRunResponse,
        lambda answer: convert.task_run(answer.task_run),
    )


def list_task_runs(
    run_filter: models.RunFilter | None = None, *, oldest_first: bool = False, page_size: int = 0
) -> Paged[models.TaskRun]:
    """Task runs in the order of creation, the newest first.

    Args:
        run_filter: Which; all of them if None.
        oldest_first: Turns the order around.
        page_size: How many are fetched at a time, 1 to 1000; 0 leaves it to the service.

    Returns:
        An iterator that fetches a page when it gets there.
    """
    return Paged(
        lambda token: _unary(
            "TaskRunService",
            "ListTaskRuns",
            task_run_service_pb2.ListTaskRunsRequest(
                filter=convert.wire_filter(run_filter),
                order=_order(oldest_first=oldest_first),
                page_size=page_size,
                page_token=token,
            ),
            task_run_service_pb2.ListTaskRunsResponse,
            lambda answer: (
                [convert.task_run(run) for run in answer.task_runs],
                answer.next_page_token,
            ),
        )
    )


def count_task_runs(
    run_filter: models.RunFilter | None = None,
) -> Unary[dict[models.StateType, int]]:
    """How many task runs are in states of each type; types without runs are left out."""
    return _unary(
        "TaskRunService",
        "CountTaskRuns",
        task_run_service_pb2.CountTaskRunsRequest(filter=convert.wire_filter(run_filter)),
        task_run_service_pb2.CountTaskRunsResponse,
        _counts,
    )


def set_task_run_state(
    run_id: UUID | str, state_type: models.StateType, *, name: str = "", message: str = ""
) -> Unary[tuple[models.Verdict, models.TaskRun]]:
    """Asks for a transition of a task run; see `set_flow_run_state`."""
    return _unary(
        "TaskRunService",
        "SetTaskRunState",
        task_run_service_pb2.SetTaskRunStateRequest(
            id=str(run_id), state=convert.wire_state(state_type, name=name, message=message)
        ),
        task_run_service_pb2.SetTaskRunStateResponse,
        lambda answer: (convert.verdict(answer.verdict), convert.task_run(answer.task_run)),
    )


def task_run_history(run_id: UUID | str) -> Unary[list[models.Transition]]:
    """All transitions of a task run, by ordinal.

    Raises:
        ApiError: NOT_FOUND, there is no such run.
    """
    return _unary(
        "TaskRunService",
        "ListTaskRunTransitions",
        task_run_service_pb2.ListTaskRunTransitionsRequest(id=str(run_id)),
        task_run_service_pb2.ListTaskRunTransitionsResponse,
        _transitions,
    )


# --- flows ---------------------------------------------------------------------------------------


def get_flow(*, name: str = "", flow_id: UUID | str = "") -> Unary[models.Flow]:
    """One flow, by its name or its id.

    Raises:
        ApiError: NOT_FOUND, no run of it was ever seen.
    """
    request = flow_service_pb2.GetFlowRequest()
    if name:
        request.name = name
    else:
        request.id = str(flow_id)
    return _unary(
        "FlowService",
        "GetFlow",
        request,
        flow_service_pb2.GetFlowResponse,
        lambda answer: convert.flow(answer.flow),
    )


def list_flows(*, page_size: int = 0) -> Paged[models.Flow]:
    """Flows, by name."""
    return Paged(
        lambda token: _unary(
            "FlowService",
            "ListFlows",
            flow_service_pb2.ListFlowsRequest(page_size=page_size, page_token=token),
            flow_service_pb2.ListFlowsResponse,
            lambda answer: (
                [convert.flow(item) for item in answer.flows],
                answer.next_page_token,
            ),
        )
    )


# --- logs ----------------------------------------------------------------------------------------


def list_logs(
    run_id: UUID | str,
    *,
    include_descendants: bool = False,
    min_level: int = 0,
    page_size: int = 0,
) -> Paged[models.LogRecord]:
    """Log records in the order in which they arrived, the pieces of long ones joined.

    Args:
        run_id: A flow run or a task run.
        include_descendants: Whether the records of the runs that it called are wanted too.
        min_level: Only records as grave as this, or graver; see LogLevel.
        page_size: How many are fetched at a time, 1 to 10,000; 0 leaves it to the service.

    Raises:
        ApiError: NOT_FOUND, there is no such run.
    """
    joiner = ChunkJoiner()

    def page(token: str) -> Unary[tuple[list[models.LogRecord], str]]:
        return _unary(
            "LogService",
            "ListLogs",
            log_service_pb2.ListLogsRequest(
                run_id=str(run_id),
                include_descendants=include_descendants,
                min_level=_level(min_level),
                page_size=page_size,
                page_token=token,
            ),
            log_service_pb2.ListLogsResponse,
            lambda answer: (list(joiner.join(answer.logs)), answer.next_page_token),
        )

    return Paged(page, joiner.rest)


def tail_logs(
    run_id: UUID | str,
    *,
    include_descendants: bool = False,
    min_level: int = 0,
    after_position: int = 0,
) -> Stream[models.LogRecord]:
    """Log records as they arrive: first those that are there, then the new ones.

    Ends when the run has ended and all that it logged has come. Goes on by itself after a broken
    connection.

    Args:
        run_id: A flow run or a task run.
        include_descendants: Whether the records of the runs that it called are wanted too.
        min_level: Only records as grave as this, or graver; see LogLevel.
        after_position: Only records after this position.

    Raises:
        ApiError: NOT_FOUND, there is no such run.
    """
    return _TailLogs(
        log_service_pb2.TailLogsRequest(
            run_id=str(run_id),
            include_descendants=include_descendants,
            min_level=_level(min_level),
            after_position=after_position,
        )
    )


class _TailLogs:
    method = f"/{_PACKAGE}.LogService/TailLogs"
    response = log_service_pb2.TailLogsResponse

    def __init__(self, request: log_service_pb2.TailLogsRequest) -> None:
        self._request = request
        self._joiner = ChunkJoiner()

    def request(self) -> Message:
        return self._request

    def receive(self, message: log_service_pb2.TailLogsResponse) -> Iterable[models.LogRecord]:
        if message.logs:
            self._request.after_position = message.logs[-1].position
        return self._joiner.join(message.logs)

    def finish(self) -> Iterable[models.LogRecord]:
        return self._joiner.rest()


# --- watching ------------------------------------------------------------------------------------


def watch(
    run_id: UUID | str | None = None, *, resume_token: str = "", flow_runs_only: bool = False
) -> Stream[models.RunSnapshot | models.SnapshotEnd | models.Change]:
    """What happens, as it happens.

    First the runs as they are, then a mark, then every transition that is committed afterwards, in
    the order of the commits, without gaps and without repetitions. Goes on by itself after a broken
    connection.

    Args:
        run_id: The run whose tree is watched, until it has ended; everything and for ever if None.
        resume_token: Goes on where an earlier watch of the same run gave out this token.
        flow_runs_only: Leaves out task runs.

    Raises:
        ApiError: NOT_FOUND, there is no such run.
    """
    return _Watch(
        watch_service_pb2.WatchRequest(
            run_id=str(run_id or ""), resume_token=resume_token, flow_runs_only=flow_runs_only
        )
    )


class _Watch:
    method = f"/{_PACKAGE}.WatchService/Watch"
    response = watch_service_pb2.WatchResponse

    def __init__(self, request: watch_service_pb2.WatchRequest) -> None:
        self._request = request

    def request(self) -> Message:
        return self._request

    def receive(
        self, message: watch_service_pb2.WatchResponse
    ) -> Iterable[models.RunSnapshot | models.SnapshotEnd | models.Change]:
        if message.resume_token:
            self._request.resume_token = message.resume_token
        item = convert.watch_item(message)
        return () if item is None else (item,)

    def finish(self) -> Iterable[models.RunSnapshot | models.SnapshotEnd | models.Change]:
        return ()


# --- the service ---------------------------------------------------------------------------------


def get_info() -> Unary[models.ServiceInfo]:
    """What the service is and how it does."""
    return _unary(
        "SystemService",
        "GetInfo",
        system_service_pb2.GetInfoRequest(),
        system_service_pb2.GetInfoResponse,
        convert.info,
    )


def _order(*, oldest_first: bool) -> run_filter_pb2.RunOrder:
    if oldest_first:
        return run_filter_pb2.RUN_ORDER_OLDEST_FIRST
    return run_filter_pb2.RUN_ORDER_NEWEST_FIRST


def _level(number: int) -> log_pb2.LogLevel:
    # An open enum: numbers between the names are allowed, which the generated type cannot say.
    return number  # type: ignore[return-value]


def _counts(answer: Any) -> dict[models.StateType, int]:
    return {convert.known(models.StateType, item.type): item.count for item in answer.counts}


def _transitions(answer: Any) -> list[models.Transition]:
    return [convert.transition(item) for item in answer.transitions]
