"""Counts of completed runs, which verify that the measured work was done and stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan.v1 import (
    flow_run_service_pb2,
    flow_run_service_pb2_grpc,
    run_filter_pb2,
    state_pb2,
    task_run_service_pb2,
    task_run_service_pb2_grpc,
)

if TYPE_CHECKING:
    import grpc


def completed_runs(channel: grpc.Channel, *, since_s: float) -> tuple[int, int]:
    """Return the numbers of Completed flow runs and task runs created since then."""
    done = run_filter_pb2.RunFilter(state_types=[state_pb2.STATE_TYPE_COMPLETED])
    done.created_after.FromMicroseconds(int(since_s * 1e6))
    flows = flow_run_service_pb2_grpc.FlowRunServiceStub(channel).CountFlowRuns(
        flow_run_service_pb2.CountFlowRunsRequest(filter=done)
    )
    tasks = task_run_service_pb2_grpc.TaskRunServiceStub(channel).CountTaskRuns(
        task_run_service_pb2.CountTaskRunsRequest(filter=done)
    )
    return sum(c.count for c in flows.counts), sum(c.count for c in tasks.counts)
