"""Connections to receivers of logs, with real receivers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import grpc
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from tests.support.otlp import HttpOtlpReceiver, OtlpReceiver

from flowspan_service.domain.log_receivers import LogReceiver
from flowspan_service.domain.sessions import OTLP_GRPC, OTLP_HTTP
from flowspan_service.transports.log_sinks import LogSinks

if TYPE_CHECKING:
    from flowspan_service.loops.log_exporter import LogSink

WAIT_S = 30.0
ENVIRON = {
    "OTEL_EXPORTER_OTLP_HEADERS": "x-token=a%20b,malformed, =",
    "OTEL_EXPORTER_OTLP_LOGS_COMPRESSION": "gzip",
    "OTEL_EXPORTER_OTLP_TIMEOUT": "soon",
}


def request_of(text: str) -> bytes:
    request = ExportLogsServiceRequest()
    record = request.resource_logs.add().scope_logs.add().log_records.add()
    record.body.string_value = text
    return request.SerializeToString()


def sink_to(receiver: OtlpReceiver | HttpOtlpReceiver, *, is_own: bool) -> LogSink:
    if isinstance(receiver, HttpOtlpReceiver):
        place = LogReceiver(OTLP_HTTP, f"{receiver.endpoint}/v1/logs", is_own)
    else:
        place = LogReceiver(OTLP_GRPC, receiver.endpoint, is_own)
    return LogSinks(ENVIRON)(place)


@pytest.mark.parametrize("kind", [OtlpReceiver, HttpOtlpReceiver])
def test_only_the_own_receiver_gets_the_headers(
    kind: type[OtlpReceiver | HttpOtlpReceiver],
) -> None:
    with kind() as receiver:
        for is_own, text in ((True, "own"), (False, "of a client")):
            sink = sink_to(receiver, is_own=is_own)
            ExportLogsServiceResponse.FromString(sink.send(request_of(text)))
            sink.close()
        assert [log.body for log in receiver.logs] == ["own", "of a client"]
        assert [each.get("x-token") for each in receiver.metadata] == ["a b", None]


def test_an_http_receiver_that_refuses() -> None:
    with HttpOtlpReceiver(status=503) as receiver:
        sink = sink_to(receiver, is_own=False)
        with pytest.raises(OSError, match="HTTP 503"):
            sink.send(request_of("a"))
        receiver.status = 200
        sink.send(request_of("b"))
        assert [log.body for log in receiver.logs] == ["b"]


def test_a_receiver_that_is_away_and_comes_back() -> None:
    receiver = OtlpReceiver()
    with receiver:
        sink = sink_to(receiver, is_own=False)
        sink.send(request_of("a"))
    with pytest.raises(grpc.RpcError):
        sink.send(request_of("lost"))
    with receiver:
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                sink.send(request_of("b"))
                break
            except grpc.RpcError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert [log.body for log in receiver.logs] == ["a", "b"]
    sink.close()
