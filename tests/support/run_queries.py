"""Queries about runs over the stubs, without the client."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from flowspan.v1 import (
    flow_run_service_pb2,
    flow_run_service_pb2_grpc,
    log_service_pb2,
    log_service_pb2_grpc,
    run_filter_pb2,
    task_run_service_pb2,
    task_run_service_pb2_grpc,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import grpc

WAIT_S = 90.0
"""Maximum wait for expected changes; no test judges by this time."""
POLL_S = 0.05
OLDEST_FIRST = run_filter_pb2.RUN_ORDER_OLDEST_FIRST


def flow_runs(channel: grpc.Channel) -> list[Any]:
    """Return all flow runs, oldest first."""
    stub = flow_run_service_pb2_grpc.FlowRunServiceStub(channel)
    request = flow_run_service_pb2.ListFlowRunsRequest(page_size=1000, order=OLDEST_FIRST)
    found: list[Any] = []
    while True:
        page = stub.ListFlowRuns(request, wait_for_ready=True)
        found += page.flow_runs
        request.page_token = page.next_page_token
        if not request.page_token:
            return found


def task_runs(channel: grpc.Channel) -> list[Any]:
    """Return all task runs, oldest first."""
    stub = task_run_service_pb2_grpc.TaskRunServiceStub(channel)
    request = task_run_service_pb2.ListTaskRunsRequest(page_size=1000, order=OLDEST_FIRST)
    found: list[Any] = []
    while True:
        page = stub.ListTaskRuns(request, wait_for_ready=True)
        found += page.task_runs
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


def count_flow_runs(channel: grpc.Channel) -> dict[int, int]:
    """Return the number of flow runs per state type."""
    stub = flow_run_service_pb2_grpc.FlowRunServiceStub(channel)
    counts = stub.CountFlowRuns(flow_run_service_pb2.CountFlowRunsRequest(), wait_for_ready=True)
    return {each.type: each.count for each in counts.counts}


def count_task_runs(channel: grpc.Channel) -> dict[int, int]:
    """Return the number of task runs per state type."""
    stub = task_run_service_pb2_grpc.TaskRunServiceStub(channel)
    counts = stub.CountTaskRuns(task_run_service_pb2.CountTaskRunsRequest(), wait_for_ready=True)
    return {each.type: each.count for each in counts.counts}


def flow_history(channel: grpc.Channel, run_id: str) -> list[str]:
    """Return the state names of a flow run's history."""
    stub = flow_run_service_pb2_grpc.FlowRunServiceStub(channel)
    request = flow_run_service_pb2.ListFlowRunTransitionsRequest(id=run_id)
    answer = stub.ListFlowRunTransitions(request, wait_for_ready=True)
    return [transition.state.name for transition in answer.transitions]


def task_history(channel: grpc.Channel, run_id: str) -> list[str]:
    """Return the state names of a task run's history."""
    stub = task_run_service_pb2_grpc.TaskRunServiceStub(channel)
    request = task_run_service_pb2.ListTaskRunTransitionsRequest(id=run_id)
    answer = stub.ListTaskRunTransitions(request, wait_for_ready=True)
    return [transition.state.name for transition in answer.transitions]


def logs(channel: grpc.Channel, run_id: str, *, descendants: bool = False) -> Iterator[Any]:
    """Return the log records of a run, fetched page by page."""
    stub = log_service_pb2_grpc.LogServiceStub(channel)
    token = ""
    while True:
        request = log_service_pb2.ListLogsRequest(
            run_id=run_id, include_descendants=descendants, page_size=10_000, page_token=token
        )
        page = stub.ListLogs(request, wait_for_ready=True)
        yield from page.logs
        token = page.next_page_token
        if not token:
            return


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """Poll until the answer is truthy; return it.

    Raises:
        AssertionError: The answer was not truthy in time; the message names the expected change.
    """
    deadline = time.monotonic() + WAIT_S
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"timed out waiting for {what}"
        time.sleep(POLL_S)
    return answer
