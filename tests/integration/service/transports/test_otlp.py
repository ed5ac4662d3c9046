"""Connections to receivers over OTLP: real ones over gRPC and HTTP."""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
import time
import zlib
from http import HTTPStatus
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import grpc
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from tests.support.certificates import self_signed
from tests.support.otlp import HttpOtlpReceiver, OtlpReceiver

from flowspan_service.domain.otlp_receivers import Receiver, Signal, url_at
from flowspan_service.domain.sessions import OTLP_GRPC, OTLP_HTTP
from flowspan_service.transports import otlp_http
from flowspan_service.transports.otlp import OtlpConnections

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from flowspan_service.loops.otlp_connections import Connection

AnyReceiver = OtlpReceiver | HttpOtlpReceiver

ONE_SPAN = b"\x0a\x0a\x12\x08\x12\x06\x2a\x04name"
"""A request with one span that has only a name."""
WAIT_S = 30.0
ENVIRON = {
    "OTEL_EXPORTER_OTLP_HEADERS": "x-token=a%20b",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "x-token=of%20spans",
    "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
}
KINDS = pytest.mark.parametrize("kind", [OtlpReceiver, HttpOtlpReceiver])


def connected(
    receiver: AnyReceiver,
    signal: Signal = Signal.TRACES,
    *,
    is_own: bool = False,
    environ: Mapping[str, str] = ENVIRON,
) -> Connection:
    protocol = OTLP_HTTP if isinstance(receiver, HttpOtlpReceiver) else OTLP_GRPC
    url = url_at(receiver.endpoint, protocol, signal)
    return OtlpConnections(environ)(signal, Receiver(protocol, url, is_own))


def over_http(port: int) -> Connection:
    return OtlpConnections(ENVIRON)(
        Signal.TRACES, Receiver(OTLP_HTTP, f"http://127.0.0.1:{port}/v1/traces", is_own=True)
    )


def one_log(text: str) -> bytes:
    request = ExportLogsServiceRequest()
    record = request.resource_logs.add().scope_logs.add().log_records.add()
    record.body.string_value = text
    return request.SerializeToString()


@KINDS
def test_only_the_own_receiver_gets_the_headers_of_the_signal(kind: type[AnyReceiver]) -> None:
    with kind() as receiver:
        for is_own in (True, False):
            spans = connected(receiver, is_own=is_own)
            spans.send(ONE_SPAN)
            spans.close()
            logs = connected(receiver, Signal.LOGS, is_own=is_own)
            ExportLogsServiceResponse.FromString(logs.send(one_log(f"own: {is_own}")))
            logs.close()
        assert receiver.names == ["name", "name"]
        assert [log.body for log in receiver.logs] == ["own: True", "own: False"]
        tokens = [each.get("x-token") for each in receiver.metadata]
        assert tokens == ["of spans", "a b", None, None]


@KINDS
def test_a_receiver_that_is_away_and_comes_back(kind: type[AnyReceiver]) -> None:
    receiver = kind()
    with receiver:
        connection = connected(receiver)
        connection.send(ONE_SPAN)
    with pytest.raises(OSError, match=r"UNAVAILABLE|refused"):
        connection.send(ONE_SPAN)
    with receiver:
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                connection.send(ONE_SPAN)
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert receiver.names == ["name", "name"]
    connection.close()


def test_a_grpc_receiver_that_refuses() -> None:
    with OtlpReceiver() as receiver:
        connection = connected(receiver)
        receiver.answer = lambda _, context: context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        with pytest.raises(OSError, match="UNAVAILABLE: not now"):
            connection.send(ONE_SPAN)
        receiver.answer = None
        connection.send(ONE_SPAN)
        assert receiver.names == ["name"]
        for _ in range(2):
            connection.close()
            with pytest.raises(ValueError, match="closed"):
                connection.send(ONE_SPAN)


def test_closing_aborts_a_grpc_request_in_flight() -> None:
    arrived, gate = threading.Event(), threading.Event()

    def wait(*_: object) -> None:
        arrived.set()
        gate.wait(WAIT_S)

    with OtlpReceiver(answer=wait) as receiver:
        connection = connected(receiver)
        failed: list[BaseException] = []

        def send() -> None:
            try:
                connection.send(ONE_SPAN)
            except OSError as error:
                failed.append(error)

        thread = threading.Thread(target=send)
        thread.start()
        assert arrived.wait(WAIT_S)
        connection.close()
        thread.join(WAIT_S)
        gate.set()
    assert failed


def test_an_http_receiver_that_refuses() -> None:
    with HttpOtlpReceiver(status=HTTPStatus.TOO_MANY_REQUESTS) as receiver:
        connection = connected(receiver)
        with pytest.raises(OSError, match="HTTP 429"):
            connection.send(ONE_SPAN)
        receiver.status = HTTPStatus.OK
        connection.send(ONE_SPAN)
        assert receiver.names == ["name"]
        connection.close()


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_compression(compression: str) -> None:
    environ = {"OTEL_EXPORTER_OTLP_COMPRESSION": compression}
    with OtlpReceiver() as receiver:
        connection = connected(receiver, is_own=True, environ=environ)
        connection.send(ONE_SPAN)
        connection.close()
        assert receiver.names == ["name"]
    decompress = {"gzip": gzip.decompress, "deflate": zlib.decompress}[compression]
    got: list[tuple[str | None, bytes]] = []

    def answer(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        got.append((handler.headers["content-encoding"], body))
        handler.send_response(HTTPStatus.OK)
        handler.end_headers()

    with serving(answer) as port:
        place = Receiver(OTLP_HTTP, f"http://127.0.0.1:{port}/", is_own=True)
        OtlpConnections(environ)(Signal.TRACES, place).send(ONE_SPAN)
    [(encoding, body)] = got
    assert encoding == compression
    assert decompress(body) == ONE_SPAN


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_carries_the_headers_nowhere(status: int) -> None:
    with HttpOtlpReceiver() as elsewhere:

        def answer(handler: BaseHTTPRequestHandler, _: bytes) -> None:
            handler.send_response(status)
            handler.send_header("location", f"{elsewhere.endpoint}/v1/traces")
            handler.send_header("content-length", "0")
            handler.end_headers()

        with serving(answer) as port, pytest.raises(OSError, match=f"HTTP {status}"):
            over_http(port).send(ONE_SPAN)
        assert elsewhere.bodies == []
        assert elsewhere.metadata == []


def test_a_long_answer_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp_http, "MAX_ANSWER_BYTES", 100)
    sizes = iter([100, 101, 10_000_000])

    def answer(handler: BaseHTTPRequestHandler, _: bytes) -> None:
        handler.send_response(HTTPStatus.OK)
        handler.end_headers()
        try:
            handler.wfile.write(b"x" * next(sizes))
        except OSError:
            return  # it has read enough

    with serving(answer) as port:
        assert [len(over_http(port).send(ONE_SPAN)) for _ in range(3)] == [100, 0, 0]


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
        connection = over_http(server.getsockname()[1])
        if answer.startswith(b"HTTP"):
            assert connection.send(ONE_SPAN) == b"", "a status line is an answer"
        else:
            with pytest.raises((OSError, HTTPException)):
                connection.send(ONE_SPAN)
        thread.join()


def test_the_certificates_of_the_environment_are_for_the_own_receiver(tmp_path: Path) -> None:
    pem, key = self_signed(tmp_path)
    environ = {
        "OTEL_EXPORTER_OTLP_CERTIFICATE": str(pem),
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": str(pem),
        "OTEL_EXPORTER_OTLP_CLIENT_KEY": str(key),
    }
    tls = pem.read_bytes(), key.read_bytes()
    with OtlpReceiver(tls=tls) as receiver:
        url = f"https://localhost:{receiver.port}"
        for is_own in (True, False):
            connect = OtlpConnections(environ)
            connection = connect(Signal.TRACES, Receiver(OTLP_GRPC, url, is_own))
            if is_own:
                connection.send(ONE_SPAN)
            else:
                with pytest.raises(OSError, match=r"^UNAVAILABLE: "):
                    connection.send(ONE_SPAN)
            connection.close()
        assert receiver.names == ["name"]


@pytest.mark.parametrize("protocol", [OTLP_GRPC, OTLP_HTTP])
def test_a_certificate_that_cannot_be_read_is_a_failure(protocol: str) -> None:
    environ = {"OTEL_EXPORTER_OTLP_CERTIFICATE": "/nowhere"}
    receiver = Receiver(protocol, "https://localhost:1", is_own=True)
    connection = OtlpConnections(environ)(Signal.TRACES, receiver)
    with pytest.raises(OSError, match=r"nowhere|No such file"):
        connection.send(ONE_SPAN)
    connection.close()


@contextlib.contextmanager
def serving(answer: Callable[[BaseHTTPRequestHandler, bytes], None]) -> Iterator[int]:
    """Serve HTTP on a port during the block; the function gets each request with its body."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            answer(self, self.rfile.read(int(self.headers["content-length"])))

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
