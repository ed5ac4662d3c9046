"""Transport of spans: real receivers over gRPC and HTTP, with headers, TLS, and rejections."""

from __future__ import annotations

import gzip
import ssl
import threading
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.support.certificates import self_signed
from tests.support.flow_processes import FlowProcess
from tests.support.otlp import OtlpReceiver

from flowspan.telemetry.endpoint import HTTP, LOGS, METRICS, SendError, Target
from flowspan.telemetry.transport_grpc import GrpcTransport
from flowspan.telemetry.transport_http import HttpTransport
from flowspan.v1 import system_service_pb2, system_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.service import ServiceProcess

TIMEOUT_S = 30
ONE_SPAN = b"\x0a\x0a\x12\x08\x12\x06\x2a\x04name"
"""A request with one span that has only a name."""


class HttpReceiver:
    """An HTTP server that records requests and answers with a status."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.status = 200
        self.location = ""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.requests.append((self.path, headers, body))
                self.send_response(receiver.status)
                if receiver.location:
                    self.send_header("location", receiver.location)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))

    @property
    def port(self) -> int:
        return self.server.server_address[1]

    def __enter__(self) -> HttpReceiver:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a self-signed certificate for loopback, and its key."""
    return self_signed(tmp_path_factory.mktemp("tls"))


def test_receiver_of_the_other_protocol_is_an_error(receiver: OtlpReceiver) -> None:
    http = HttpTransport(Target(url=receiver.endpoint, protocol=HTTP))
    with pytest.raises(SendError, match="the answer is not HTTP") as caught:
        http.send(ONE_SPAN, TIMEOUT_S)
    assert not caught.value.retryable
    with HttpReceiver() as web:
        transport = GrpcTransport(Target(url=f"http://127.0.0.1:{web.port}"))
        with pytest.raises(SendError, match="UNAVAILABLE") as caught:
            transport.send(ONE_SPAN, TIMEOUT_S)
        transport.close()
    assert caught.value.retryable, "a proxy may be starting there"


def test_receiver_without_tls_is_an_error_with_advice(receiver: OtlpReceiver) -> None:
    transport = GrpcTransport(Target(url=f"https://localhost:{receiver.port}"))
    with pytest.raises(SendError, match=f"If not, write http://localhost:{receiver.port}"):
        transport.send(ONE_SPAN, TIMEOUT_S)
    transport.close()
    with HttpReceiver() as web:
        http = HttpTransport(Target(url=f"https://127.0.0.1:{web.port}/v1/traces", protocol=HTTP))
        with pytest.raises(SendError, match=f"If not, write http://127.0.0.1:{web.port}"):
            http.send(ONE_SPAN, TIMEOUT_S)


def test_receiver_of_spans_alone_is_an_error_with_advice(receiver: OtlpReceiver) -> None:
    transport = GrpcTransport(Target(url=receiver.endpoint, signal=METRICS))
    with pytest.raises(
        SendError, match=r"the receiver takes no metrics\. .* OTEL_METRICS_EXPORTER=none"
    ):
        transport.send(b"", TIMEOUT_S)
    transport.close()
    with HttpReceiver() as web:
        web.status = 404
        url = f"http://127.0.0.1:{web.port}/v1/logs"
        http = HttpTransport(Target(url=url, protocol=HTTP, signal=LOGS))
        with pytest.raises(
            SendError, match=r"the receiver takes no logs\. Set OTEL_EXPORTER_OTLP_LOGS_EN"
        ):
            http.send(b"", TIMEOUT_S)


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver


def test_grpc_with_headers_and_compression(receiver: OtlpReceiver) -> None:
    target = Target(url=receiver.endpoint, headers=(("authorization", "Bearer x"),), gzip=True)
    transport = GrpcTransport(target)
    transport.send(ONE_SPAN, TIMEOUT_S)
    transport.close()
    assert receiver.names == ["name"]
    assert receiver.metadata[0]["authorization"] == "Bearer x"


def test_grpc_after_a_fork_opens_a_channel_of_its_own(receiver: OtlpReceiver) -> None:
    transport = GrpcTransport(Target(url=receiver.endpoint))
    transport.send(ONE_SPAN, TIMEOUT_S)
    channel = transport._channel
    transport.reset()
    transport.send(ONE_SPAN, TIMEOUT_S)
    assert transport._channel is not channel
    assert receiver.names == ["name", "name"]
    transport.close()
    channel.close()


@pytest.mark.parametrize(
    ("code", "retryable"),
    [
        (grpc.StatusCode.UNAVAILABLE, True),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, True),
        (grpc.StatusCode.UNAUTHENTICATED, False),
        (grpc.StatusCode.UNIMPLEMENTED, False),
    ],
)
def test_grpc_refused(receiver: OtlpReceiver, code: grpc.StatusCode, retryable: bool) -> None:
    receiver.answer = lambda _, context: context.abort(code, "not now")
    transport = GrpcTransport(Target(url=receiver.endpoint))
    with pytest.raises(SendError) as caught:
        transport.send(ONE_SPAN, TIMEOUT_S)
    transport.close()
    assert caught.value.retryable is retryable
    assert str(caught.value) == f"{code.name}: not now"


def test_grpc_that_does_not_answer_in_time(receiver: OtlpReceiver) -> None:
    done = threading.Event()
    receiver.answer = lambda *_: done.wait(TIMEOUT_S)
    transport = GrpcTransport(Target(url=receiver.endpoint))
    with pytest.raises(SendError) as caught:
        transport.send(ONE_SPAN, 0.05)
    done.set()
    transport.close()
    assert caught.value.retryable


def test_grpc_over_tls(certificate: tuple[Path, Path]) -> None:
    pem, key = certificate
    receiver = OtlpReceiver(tls=(pem.read_bytes(), key.read_bytes()))
    with receiver:
        url = f"https://localhost:{receiver.port}"
        mine = {"certificate": str(pem), "client_certificate": str(pem), "client_key": str(key)}
        transport = GrpcTransport(Target(url=url, **mine))
        transport.send(ONE_SPAN, TIMEOUT_S)
        transport.close()
        stranger = GrpcTransport(Target(url=url))
        with pytest.raises(SendError):
            stranger.send(ONE_SPAN, 2)
        stranger.close()
    assert receiver.names == ["name"]


def test_a_certificate_that_is_not_there() -> None:
    transport = GrpcTransport(Target(url="https://127.0.0.1:1", certificate="/nowhere/ca.pem"))
    with pytest.raises(SendError, match=r"/nowhere/ca\.pem") as caught:
        transport.send(ONE_SPAN, TIMEOUT_S)
    assert not caught.value.retryable


def test_http_with_headers_and_compression() -> None:
    with HttpReceiver() as receiver:
        url = f"http://127.0.0.1:{receiver.port}/v1/traces"
        target = Target(url=url, protocol=HTTP, headers=(("x-token", "t"),), gzip=True)
        HttpTransport(target).send(ONE_SPAN, TIMEOUT_S)
    ((path, headers, body),) = receiver.requests
    assert path == "/v1/traces"
    assert headers["content-type"] == "application/x-protobuf"
    assert headers["x-token"] == "t"
    request = ExportTraceServiceRequest.FromString(gzip.decompress(body))
    assert request.resource_spans[0].scope_spans[0].spans[0].name == "name"


@pytest.mark.parametrize(("status", "retryable"), [(503, True), (429, True), (401, False)])
def test_http_refused(status: int, retryable: bool) -> None:
    with HttpReceiver() as receiver:
        receiver.status = status
        transport = HttpTransport(Target(url=f"http://127.0.0.1:{receiver.port}/", protocol=HTTP))
        with pytest.raises(SendError, match=str(status)) as caught:
            transport.send(ONE_SPAN, TIMEOUT_S)
    assert caught.value.retryable is retryable


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_carries_the_headers_nowhere(status: int) -> None:
    with HttpReceiver() as receiver, HttpReceiver() as elsewhere:
        receiver.status = status
        receiver.location = f"http://127.0.0.1:{elsewhere.port}/v1/traces"
        target = Target(
            url=f"http://127.0.0.1:{receiver.port}/",
            protocol=HTTP,
            headers=(("authorization", "Bearer secret"),),
        )
        with pytest.raises(SendError, match=f"HTTP {status}") as caught:
            HttpTransport(target).send(ONE_SPAN, TIMEOUT_S)
    assert not caught.value.retryable
    assert len(receiver.requests) == 1
    assert elsewhere.requests == []


def test_http_that_nobody_serves() -> None:
    receiver = HttpReceiver()
    receiver.server.server_close()
    transport = HttpTransport(Target(url=f"http://127.0.0.1:{receiver.port}/", protocol=HTTP))
    with pytest.raises(SendError, match="refused") as caught:
        transport.send(ONE_SPAN, TIMEOUT_S)
    assert caught.value.retryable


def test_http_over_tls(certificate: tuple[Path, Path]) -> None:
    pem, key = certificate
    receiver = HttpReceiver()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    context.load_verify_locations(pem)
    context.verify_mode = ssl.CERT_REQUIRED
    receiver.server.socket = context.wrap_socket(receiver.server.socket, server_side=True)
    with receiver:
        url = f"https://localhost:{receiver.port}/v1/traces"
        mine = {"certificate": str(pem), "client_certificate": str(pem), "client_key": str(key)}
        HttpTransport(Target(url=url, protocol=HTTP, **mine)).send(ONE_SPAN, TIMEOUT_S)
        with pytest.raises(SendError):
            HttpTransport(Target(url=url, protocol=HTTP)).send(ONE_SPAN, TIMEOUT_S)
    assert len(receiver.requests) == 1


def test_user_and_password_of_the_receiver_of_a_service_reach_nobody_else(
    start_service: Callable[..., ServiceProcess], flowspan_home: Path
) -> None:
    code = """
        import time
        from flowspan import flow, telemetry

        @flow
        def etl():
            print("running", flush=True)
            time.sleep(600)

        assert telemetry.start()
        etl()
    """
    with OtlpReceiver() as receiver:
        endpoint = f"http://me:hunter2@127.0.0.1:{receiver.port}"
        service = start_service(grace_s=0.5, arguments=("--otlp-endpoint", endpoint))
        stub = system_service_pb2_grpc.SystemServiceStub(service.channel)
        info = stub.GetInfo(system_service_pb2.GetInfoRequest(), timeout=30)
        assert "hunter2" not in str(info)
        with FlowProcess(code, home=flowspan_home, address=service.address) as process:
            process.wait_for_line("running")
            process.kill()
        receiver.wait_for(lambda spans: "etl" in [span.name for span in spans], "the crashed run")
        assert receiver.one("etl").is_synthetic
        encoded = b64encode(b"me:hunter2").decode()
        assert receiver.metadata[-1]["authorization"] == f"Basic {encoded}"
