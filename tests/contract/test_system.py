"""SystemService, and the standard services health and reflection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tests.support.harness import GRACE_S, LEASE_S
from tests.support.report_client import ReportStream, new_id, whole_run

from flowspan.v1 import system_service_pb2
from flowspan_service.api.services import SERVICE_NAMES

if TYPE_CHECKING:
    from tests.support.harness import Harness, Stubs

SERVING = health_pb2.HealthCheckResponse.SERVING
Reflect = reflection_pb2.ServerReflectionRequest


def test_info_says_how_it_does(harness: Harness, stubs: Stubs) -> None:
    stream = ReportStream(harness.channel)
    stream.wait_for_ack(stream.report(*whole_run(new_id())))
    info = stubs.system.GetInfo(system_service_pb2.GetInfoRequest())
    stream.goodbye()
    assert info.version == "1.2.3"
    assert info.schema_version
    assert info.database == "sqlite"
    assert info.process_id == 42
    assert info.connected_session_count == 1
    assert info.committed_transition_count == 3
    assert info.queued_event_count == 0
    assert (info.lease.seconds, info.reconnect_grace.seconds) == (LEASE_S, GRACE_S)
    assert info.otlp_endpoint == "http://spans:4317"
    assert info.max_message_bytes == 8 << 20
    assert info.HasField("start_time")
    assert info.server_time.seconds >= info.start_time.seconds
    assert info.database_location == "/data/flowspan.db"
    assert info.database_size_bytes > 0
    assert info.log_file == "/data/service.log"
    assert info.is_embedded
    assert info.idle_timeout.seconds == 300
    assert info.longest_write.ToMicroseconds() >= info.longest_recent_write.ToMicroseconds() > 0


def test_health_is_serving_until_it_stops(harness: Harness) -> None:
    stub = health_pb2_grpc.HealthStub(harness.channel)
    for name in ("", *SERVICE_NAMES):
        answer = stub.Check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == SERVING, name
    watch = stub.Watch(health_pb2.HealthCheckRequest(service=""))
    assert next(watch).status == SERVING
    harness.stop_server()
    assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING


def test_reflection_lists_and_describes_the_services(harness: Harness) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(harness.channel)
    (answer,) = stub.ServerReflectionInfo(iter([Reflect(list_services="")]))
    found = {service.name for service in answer.list_services_response.service}
    assert found == {
        *SERVICE_NAMES,
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    asked = [Reflect(file_containing_symbol=name) for name in SERVICE_NAMES]
    for name, answer in zip(SERVICE_NAMES, stub.ServerReflectionInfo(iter(asked)), strict=True):
        files = [
            descriptor_pb2.FileDescriptorProto.FromString(each)
            for each in answer.file_descriptor_response.file_descriptor_proto
        ]
        services = [f"{file.package}.{each.name}" for file in files for each in file.service]
        assert name in services
