"""The calls of SingleRunService, with short names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.report_client import ReportStream, created, entered, new_id
from tests.support.run_queries import flow_history, logs

from flowspan.v1 import (
    flow_run_pb2,
    flow_run_service_pb2,
    payload_pb2,
)
from flowspan.v1 import single_run_service_pb2 as pb

if TYPE_CHECKING:
    from tests.support.harness import Harness, Stubs


def start(stubs: Stubs, *, headers: dict[str, str] | None = None, **fields: Any) -> Any:
    request = pb.StartRunRequest(**{"flow_name": "nightly", **fields})
    return stubs.single_runs.StartRun(request, metadata=tuple((headers or {}).items()))


def touch(stubs: Stubs, token: str, *lines: str, **fields: Any) -> Any:
    records = [pb.RunLog(message=line) for line in lines]
    return stubs.single_runs.TouchRun(pb.TouchRunRequest(token=token, logs=records, **fields))


def finish(stubs: Stubs, token: str, *lines: str, **fields: Any) -> Any:
    records = [pb.RunLog(message=line) for line in lines]
    return stubs.single_runs.FinishRun(pb.FinishRunRequest(token=token, logs=records, **fields))


def get(stubs: Stubs, run_id: str) -> flow_run_pb2.FlowRun:
    return stubs.flow_runs.GetFlowRun(flow_run_service_pb2.GetFlowRunRequest(id=run_id)).flow_run


def cancel(stubs: Stubs, run_id: str, reason: str = "enough") -> Any:
    request = flow_run_service_pb2.CancelFlowRunRequest(id=run_id, reason=reason)
    return stubs.flow_runs.CancelFlowRun(request)


def delete(stubs: Stubs, run_id: str) -> None:
    request = flow_run_service_pb2.DeleteFlowRunRequest(id=run_id, force=True)
    stubs.flow_runs.DeleteFlowRun(request)


def lines_of(harness: Harness, run_id: str) -> list[str]:
    return [record.message for record in logs(harness.channel, run_id)]


def history(harness: Harness, run_id: str) -> list[str]:
    return flow_history(harness.channel, run_id)


def as_json(text: str) -> payload_pb2.Payload:
    return payload_pb2.Payload(encoding="json", text=text)


def context_of(run_id: str) -> str:
    return f"r:{run_id.replace('-', '')}"


def reported_run(harness: Harness, **fields: Any) -> tuple[ReportStream, str]:
    """Return a connected session, and its running flow run."""
    stream, run_id = ReportStream(harness.channel), new_id()
    stream.wait_for_ack(stream.report(created(run_id, **fields), entered(run_id, "RUNNING")))
    return stream, run_id
