"""Plain senders of OTLP requests: real receivers over gRPC and HTTP."""

from __future__ import annotations

import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import grpc
import pytest
from tests.support.otlp import HttpOtlpReceiver, OtlpReceiver

from flowspan_service.domain.sessions import OTLP_GRPC, OTLP_HTTP
from flowspan_service.transports.otlp import span_sender

if TYPE_CHECKING:
    from collections.abc import Iterator

ONE_SPAN = b"\x0a\x0a\x12\x08\x12\x06\x2a\x04name"
"""A request with one span that has only a name."""


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set headers in the environment, which no named receiver must get."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer secret")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "authorization=Bearer secret")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere")


@pytest.fixture
def over_grpc() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture
def over_http() -> Iterator[HttpOtlpReceiver]:
    with HttpOtlpReceiver() as receiver:
        yield receiver


def test_grpc(over_grpc: OtlpReceiver) -> None:
    sender = span_sender(OTLP_GRPC, over_grpc.endpoint)
    assert sender.send(ONE_SPAN)
    assert over_grpc.names == ["name"]
    assert "authorization" not in over_grpc.metadata[0]
    over_grpc.answer = lambda _, context: context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
    assert not sender.send(ONE_SPAN)
    over_grpc.answer = None
    assert sender.send(ONE_SPAN)
    sender.close()
    assert not sender.send(ONE_SPAN), "it is closed"


def test_http(over_http: HttpOtlpReceiver) -> None:
    sender = span_sender(OTLP_HTTP, f"{over_http.endpoint}/v1/traces")
    assert sender.send(ONE_SPAN)
    assert over_http.names == ["name"]
    assert "authorization" not in over_http.metadata[0]
    assert over_http.metadata[0]["content-type"] == "application/x-protobuf"
    over_http.status = HTTPStatus.TOO_MANY_REQUESTS
    assert not sender.send(ONE_SPAN)
    over_http.status = HTTPStatus.OK
    assert sender.send(ONE_SPAN)
    sender.close()


def test_a_receiver_that_is_down() -> None:
    with OtlpReceiver() as receiver:
        endpoint = receiver.endpoint
    for protocol in (OTLP_GRPC, OTLP_HTTP):
        sender = span_sender(protocol, endpoint)
        assert not sender.send(ONE_SPAN)
        sender.close()


def test_a_redirect_is_not_followed(over_http: HttpOtlpReceiver) -> None:
    class Redirect(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(HTTPStatus.TEMPORARY_REDIRECT)
            self.send_header("location", f"{over_http.endpoint}/v1/traces")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Redirect) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        sender = span_sender(OTLP_HTTP, f"http://127.0.0.1:{server.server_address[1]}/v1/traces")
        assert not sender.send(ONE_SPAN)
        server.shutdown()
        thread.join()
    assert over_http.names == []


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\n"])
def test_a_server_that_speaks_no_http(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        sender = span_sender(OTLP_HTTP, f"http://127.0.0.1:{server.getsockname()[1]}/v1/traces")
        accepted = sender.send(ONE_SPAN)
        thread.join()
    assert accepted is answer.startswith(b"HTTP"), "a status line is an answer"
