"""The metrics of the service, and the spans of its own work, over OTLP."""

from __future__ import annotations

import re
import threading
import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from tests.support.otlp import HttpOtlpReceiver, OtlpReceiver
from tests.support.otlp_metrics import (
    MetricsReceiver,
    Received,
    exports_over_http,
    wait_until,
)
from tests.support.raw_http import get
from tests.support.report_client import ReportStream, created, entered, new_id, whole_run
from tests.support.service import read_service_file

from flowspan.v1 import flow_run_service_pb2, flow_run_service_pb2_grpc, trace_pb2
from flowspan_service.metrics.families import FAMILIES, FamilyType

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.service import ServiceProcess

OFTEN = {"OTEL_METRIC_EXPORT_INTERVAL": "50"}
SELDOM = {"OTEL_METRIC_EXPORT_INTERVAL": "3600000"}
TRACE = "a" * 32
CALLER = f"00-{TRACE}-{'b' * 16}-01"
GET = "flowspan.v1.FlowRunService/GetFlowRun"


def report_runs(service: ServiceProcess) -> None:
    """Report a traced flow run that completed, and one that runs."""
    stream = ReportStream(service.channel)
    trace = trace_pb2.TraceContext(traceparent=CALLER)
    open_id = new_id()
    events = [
        *whole_run(new_id(), function_name="etl", trace=trace),
        created(open_id),
        entered(open_id, "RUNNING"),
    ]
    stream.wait_for_ack(stream.report(*events))


def get_run(service: ServiceProcess, run_id: str, **metadata: str) -> None:
    stub = flow_run_service_pb2_grpc.FlowRunServiceStub(service.channel)
    request = flow_run_service_pb2.GetFlowRunRequest(id=run_id)
    with pytest.raises(grpc.RpcError):
        stub.GetFlowRun(request, metadata=tuple(metadata.items()))


def of_etl(exports: list[Received]) -> Received | None:
    """Return the last export if it counts the run."""
    if not exports:
        return None
    name, labels = "flowspan.flow_runs.ended", {"flow": "etl", "state": "COMPLETED"}
    return exports[-1] if exports[-1].value(name, **labels) == 1 else None


def check(export: Received) -> None:
    """Check an export after `report_runs`."""
    assert export.resource["service.name"] == "flowspan-service"
    assert export.resource["service.version"]
    assert export.resource["service.instance.id"]
    assert export.scope == "flowspan-service"
    assert export.value("flowspan.open_runs", kind="flow", state="RUNNING") == 1
    duration = export.point("flowspan.flow_run.duration", flow="etl")
    assert duration is not None
    assert (duration.value, duration.exemplars) == (1, [(TRACE, "b" * 16)])
    known = {family.name: family for family in FAMILIES if family.type is not FamilyType.INFO}
    assert set(export.metrics) <= set(known)
    kinds = {FamilyType.COUNTER: "sum", FamilyType.GAUGE: "gauge"}
    for name, metric in export.metrics.items():
        family = known[name]
        assert (metric.unit, metric.description) == (family.unit, family.help)
        assert metric.WhichOneof("data") == kinds.get(family.type, "histogram")
    ended = export.metrics["flowspan.flow_runs.ended"].sum
    assert ended.is_monotonic
    assert ended.aggregation_temporality == 2  # cumulative
    assert 0 < ended.data_points[0].start_time_unix_nano < ended.data_points[0].time_unix_nano


def test_metrics_are_exported_over_grpc(start_service: Callable[..., ServiceProcess]) -> None:
    with MetricsReceiver() as receiver:
        arguments = ("--otlp-metrics", "--otlp-endpoint", receiver.endpoint)
        service = start_service(arguments=arguments, env=OFTEN)
        report_runs(service)
        check(wait_until(lambda: of_etl(receiver.exports), "metrics of the run"))
        assert len({export.resource["service.instance.id"] for export in receiver.exports}) == 1


def test_the_standard_variables_export_metrics_over_http(
    start_service: Callable[..., ServiceProcess],
) -> None:
    with HttpOtlpReceiver() as receiver:
        env = {
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        }
        service = start_service(env=env | OFTEN)
        report_runs(service)
        check(wait_until(lambda: of_etl(exports_over_http(receiver)), "metrics of the run"))


def test_the_protocol_of_metrics_wins_over_that_of_all(
    start_service: Callable[..., ServiceProcess],
) -> None:
    with MetricsReceiver() as receiver:
        env = {
            "FLOWSPAN_OTLP_METRICS": "true",
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": receiver.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "grpc",
            "OTEL_SERVICE_NAME": "flowspan-prod",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
        }
        start_service(env=env | OFTEN)
        wait_until(lambda: receiver.exports, "metrics")
        resource = receiver.exports[0].resource
        assert resource["service.name"] == "flowspan-prod"
        assert resource["deployment.environment.name"] == "test"


def test_the_last_export_follows_the_last_run(
    start_service: Callable[..., ServiceProcess],
) -> None:
    with MetricsReceiver() as receiver:
        arguments = ("--otlp-metrics", "--otlp-endpoint", receiver.endpoint)
        service = start_service(arguments=arguments, env=SELDOM)
        report_runs(service)
        assert not receiver.exports
        assert service.stop() == 0
        (export,) = receiver.exports
        check(export)


def test_a_receiver_that_hangs_does_not_hold_up_the_stop(
    start_service: Callable[..., ServiceProcess],
) -> None:
    go_on = threading.Event()
    with MetricsReceiver(answer=lambda _: bool(go_on.wait(60)) and None) as receiver:
        arguments = ("--otlp-metrics", "--otlp-endpoint", receiver.endpoint)
        service = start_service(arguments=arguments, env=OFTEN, check_history=False)
        time.sleep(0.3)
        began = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - began < 30
        go_on.set()


def test_a_receiver_that_refuses_is_said_once(
    start_service: Callable[..., ServiceProcess],
) -> None:
    def refuse(context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "no")

    with MetricsReceiver(answer=refuse) as receiver:
        arguments = ("--otlp-metrics", "--otlp-endpoint", receiver.endpoint)
        service = start_service(arguments=arguments, env=OFTEN)
        wait_until(lambda: "metrics_not_exported" in service.log, "warning")
        receiver.answer = None
        wait_until(lambda: "metrics_exported_again" in service.log, "end of the warning")
        assert service.log.count("metrics_not_exported") == 1
        assert receiver.endpoint in service.log


def test_nothing_is_exported_unless_it_is_asked_for(
    start_service: Callable[..., ServiceProcess],
) -> None:
    with MetricsReceiver() as receiver:
        for env in (
            {},
            {"OTEL_METRICS_EXPORTER": "none"},
            {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"},
        ):
            service = start_service(
                env={"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint} | OFTEN | env
            )
            service.stop()
        assert not receiver.exports


@pytest.mark.parametrize("over_http", [False, True], ids=["grpc", "http"])
def test_own_spans_are_traces_of_their_own(
    start_service: Callable[..., ServiceProcess],
    *,
    over_http: bool,
) -> None:
    receiver: Any = HttpOtlpReceiver() if over_http else OtlpReceiver()
    with receiver:
        arguments = ("--own-spans", "--otlp-endpoint", receiver.endpoint)
        if over_http:
            arguments = (*arguments, "--otlp-protocol", "http/protobuf")
        service = start_service(arguments=arguments, env={"OTEL_BSP_SCHEDULE_DELAY": "50"})
        report_runs(service)
        get_run(service, new_id(), traceparent=CALLER)
        get_run(service, "x", traceparent="nonsense")
        receiver.wait_for(lambda spans: sum(s.name == GET for s in spans) == 2, "calls")
        receiver.wait_for(lambda spans: any(s.name == "commit" for s in spans), "commit")
        found, invalid = receiver.named(GET)
        assert found.service_name == "flowspan-service"
        assert found.parent_id == ""
        assert found.trace_id != TRACE
        assert [span_id for span_id, _ in found.links] == ["b" * 16]
        assert found.attributes == {
            "rpc.system.name": "grpc",
            "rpc.method": GET,
            "rpc.response.status_code": "NOT_FOUND",
        }
        assert found.status == 0  # the caller's fault
        assert found.start_ns < found.end_ns
        assert invalid.links == []
        assert invalid.attributes["rpc.response.status_code"] == "INVALID_ARGUMENT"
        commits = receiver.named("commit")
        assert all(span.attributes["flowspan.commit.operations"] >= 1 for span in commits)
        assert sum(span.attributes["flowspan.commit.transitions"] for span in commits) == 5
        assert all(span.attributes["flowspan.commit.wait_s"] >= 0 for span in commits)
        assert {span.parent_id for span in commits} == {""}
        # The export is not traced, nor anything else.
        names = set(receiver.names)
        assert all(name == "commit" or name.startswith("flowspan.v1.") for name in names), names


def test_own_spans_that_wait_are_exported_at_the_stop(
    start_service: Callable[..., ServiceProcess],
) -> None:
    with OtlpReceiver() as receiver:
        arguments = ("--own-spans", "--otlp-endpoint", receiver.endpoint)
        service = start_service(arguments=arguments, env={"OTEL_BSP_SCHEDULE_DELAY": "3600000"})
        get_run(service, new_id())
        assert service.stop() == 0
        assert GET in receiver.names


def test_spans_that_wait_for_their_receiver_are_counted(
    start_service: Callable[..., ServiceProcess],
) -> None:
    receiver = OtlpReceiver()
    with receiver:
        pass  # it has a port by now, and is away
    service = start_service(arguments=("--otlp-endpoint", receiver.endpoint, "--http-port", "0"))
    found = read_service_file(service.home)
    assert found is not None
    port = int(found["http_address"].rpartition(":")[2])

    def waiting() -> float:
        (line,) = re.findall(rb"^flowspan_spans_waiting (.*)$", get(port, "/metrics").body, re.M)
        return float(line)

    assert waiting() == 0
    stream = ReportStream(service.channel, spans_by_service=True)
    for _ in range(3):
        stream.wait_for_ack(stream.report(*whole_run(new_id()), *whole_run(new_id())))
    wait_until(lambda: waiting() == 6, "count of the spans that wait")
    with receiver:
        receiver.wait_for(lambda spans: len(spans) == 6, "spans")
        wait_until(lambda: waiting() == 0, "end of the wait")
    stream.wait_for_ack(stream.report(*whole_run(new_id())))
    wait_until(lambda: waiting() == 1, "count after another failure")
