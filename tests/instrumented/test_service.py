"""An instrumented service."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub
from tests.support import raw_http
from tests.support.flow_processes import run_code
from tests.support.run_queries import flow_runs, task_runs

from flowspan.v1 import flow_run_service_pb2, flow_run_service_pb2_grpc, watch_service_pb2
from flowspan.v1.watch_service_pb2_grpc import WatchServiceStub

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.otlp import OtlpReceiver
    from tests.support.service import ServiceProcess

FLOW = """
    from flowspan import flow, task

    @task
    def double(number):
        return 2 * number

    @flow
    def report():
        return sum(double.map(range(3)).result()) + double(4)

    report()
"""
STREAMS = 300
"""More than a connection may have at once."""


@pytest.fixture
def instrumented_service(
    start_service: Callable[..., ServiceProcess],
    environment: dict[str, str],
    wrapper: tuple[str, ...],
) -> ServiceProcess:
    return start_service(
        launcher=wrapper,
        env={**environment, "OTEL_SERVICE_NAME": "instrumented"},
        arguments=("--http-port", "0"),
    )


def http_port(service: ServiceProcess) -> int:
    facts = json.loads((service.home / "service.json").read_text())
    return int(str(facts["http_address"]).rpartition(":")[2].strip("/"))


def test_it_stores_runs_and_answers_over_both_transports(
    instrumented_service: ServiceProcess, receiver: OtlpReceiver, flowspan_home: Path
) -> None:
    service = instrumented_service
    run_code(FLOW, home=flowspan_home, address=service.address)
    (run,) = flow_runs(service.channel)
    assert len(task_runs(service.channel)) == 4
    assert run.flow_name == "report"
    port = http_port(service)
    answer = raw_http.get(port, "/flowspan.v1.FlowRunService/ListFlowRuns")
    assert json.loads(answer.body)["flowRuns"][0]["id"] == run.id
    report = "/flowspan.v1.ReportService/Report"
    receiver.wait_for(lambda spans: report in {span.name for span in spans}, "span of the stream")
    service.stop()
    scopes = {span.scope.rpartition(".")[2] for span in receiver.spans}
    assert scopes >= {"grpc", "sqlalchemy"}, scopes


def test_health_and_reflection_answer(instrumented_service: ServiceProcess) -> None:
    channel = instrumented_service.channel
    health = HealthStub(channel)  # type: ignore[no-untyped-call] # generated
    serving = HealthCheckResponse.SERVING
    assert health.Check(HealthCheckRequest(), timeout=30).status == serving
    watch = health.Watch(HealthCheckRequest(), timeout=30)
    assert next(watch).status == serving
    watch.cancel()
    reflection = ServerReflectionStub(channel)  # type: ignore[no-untyped-call] # generated
    asked = iter([ServerReflectionRequest(list_services="")])
    (answer,) = reflection.ServerReflectionInfo(asked, timeout=30)
    names = {each.name for each in answer.list_services_response.service}
    assert "flowspan.v1.ReportService" in names


def test_errors_and_broken_streams_leave_nothing_open(
    instrumented_service: ServiceProcess,
) -> None:
    runs = flow_run_service_pb2_grpc.FlowRunServiceStub(instrumented_service.channel)
    watches = WatchServiceStub(instrumented_service.channel)
    missing = "0199c0de-0000-7000-8000-000000000001"
    for _ in range(STREAMS):
        with pytest.raises(grpc.RpcError) as failed:
            runs.GetFlowRun(flow_run_service_pb2.GetFlowRunRequest(id=missing), timeout=30)
        assert failed.value.code() is grpc.StatusCode.NOT_FOUND
        stream = watches.Watch(watch_service_pb2.WatchRequest(), timeout=30)
        next(stream)
        stream.cancel()
    assert flow_runs(instrumented_service.channel) == []
