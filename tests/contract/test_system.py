"""SystemService, and the standard services health and reflection."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
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
    assert info.trace_url == "http://viewer/{trace_id}"
    assert info.otlp_target.traces_url == "http://spans:4317"
    assert info.otlp_target.logs_url == "http://logs:4317"
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
        "grpc.reflection.v1.ServerReflection",
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


def reflect(harness: Harness, version: str, *requests: Any) -> list[Any]:
    """Ask a version of the reflection service."""
    call = harness.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=Reflect.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    return list(call(iter(requests)))


def files_of(answer: Any) -> dict[str, descriptor_pb2.FileDescriptorProto]:
    found = map(
        descriptor_pb2.FileDescriptorProto.FromString,
        answer.file_descriptor_response.file_descriptor_proto,
    )
    return {file.name: file for file in found}


def comment_of(file: descriptor_pb2.FileDescriptorProto, *path: int) -> str:
    """Return the comment before an element; see google.protobuf.SourceCodeInfo for its path."""
    (found,) = (
        each.leading_comments for each in file.source_code_info.location if [*each.path] == [*path]
    )
    return found


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_has_the_comments_of_the_protos(harness: Harness, version: str) -> None:
    requests = (
        Reflect(file_containing_symbol="flowspan.v1.WatchService.Watch"),
        Reflect(file_containing_symbol="flowspan.v1.WatchRequest.filter"),
        Reflect(file_containing_symbol="flowspan.v1.WatchResponse.item"),
        Reflect(file_containing_symbol="flowspan.v1.SnapshotScope"),
        Reflect(file_by_filename="flowspan/v1/watch_service.proto"),
    )
    answers = reflect(harness, version, *requests)
    assert [answer.original_request for answer in answers] == [*requests]
    by_symbol, *others = answers
    assert all(
        other.file_descriptor_response == by_symbol.file_descriptor_response for other in others
    )
    files = files_of(by_symbol)
    watch = files["flowspan/v1/watch_service.proto"]
    assert watch.service[0].method[0].name == "Watch"
    assert comment_of(watch, 6, 0, 2, 0).startswith(" Watch runs.")  # its first method
    imported = files["flowspan/v1/run_filter.proto"]
    assert comment_of(imported, 4, 0).startswith(" A filter for runs.")  # its first message


def test_every_file_of_ours_is_described_with_comments(harness: Harness) -> None:
    asked = [Reflect(file_containing_symbol=name) for name in SERVICE_NAMES]
    found: dict[str, descriptor_pb2.FileDescriptorProto] = {}
    for answer in reflect(harness, "v1", *asked):
        found |= files_of(answer)
    ours = {name for name in found if name.startswith("flowspan/v1/")}
    assert len(ours) > 20
    for name in ours:
        described = found[name]
        assert any(each.leading_comments for each in described.source_code_info.location), name
        # Apart from the comments, they are the descriptors of the stubs.
        stub = descriptor_pb2.FileDescriptorProto()
        descriptor_pool.Default().FindFileByName(name).CopyToProto(stub)
        for file in (described, stub):
            file.ClearField("source_code_info")
        assert without_json_names(described) == without_json_names(stub), name


def without_json_names(file: descriptor_pb2.FileDescriptorProto) -> str:
    return re.sub(r" *json_name: .*\n", "", str(file))


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_describes_itself(harness: Harness, version: str) -> None:
    service = f"grpc.reflection.{version}.ServerReflection"
    (answer,) = reflect(harness, version, Reflect(file_containing_symbol=service))
    (file,) = files_of(answer).values()
    assert file.package == f"grpc.reflection.{version}"
    used = {field.type_name for message in file.message_type for field in message.field} - {""}
    assert {method.input_type for method in file.service[0].method} < {*used, *names_in(file)}
    assert used <= names_in(file)


def names_in(file: descriptor_pb2.FileDescriptorProto) -> set[str]:
    return {f".{file.package}.{message.name}" for message in file.message_type}


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_answers_what_it_does_not_know(harness: Harness, version: str) -> None:
    answers = reflect(
        harness,
        version,
        Reflect(file_containing_symbol="flowspan.v1.Nothing"),
        Reflect(file_containing_symbol="flowspan.v1.WatchService.Nothing"),
        Reflect(file_containing_symbol="flowspan.v1.WatchRequest.nothing"),
        Reflect(file_by_filename="no/such.proto"),
        Reflect(),
    )
    assert [each.error_response.error_code for each in answers] == [5, 5, 5, 5, 3]


def test_reflection_describes_the_details_of_errors(harness: Harness) -> None:
    """Tools resolve these by name, to print the reason of an error."""
    (answer,) = reflect(harness, "v1", Reflect(file_containing_symbol="google.rpc.ErrorInfo"))
    assert "google/rpc/error_details.proto" in files_of(answer)
