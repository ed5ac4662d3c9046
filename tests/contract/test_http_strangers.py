"""HTTP from strangers: web pages, wrong requests, slow and endless ones."""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from tests.support.raw_http import JSON, LIST, TIMEOUT_S, WATCH, exchange, get, send

from flowspan_service.transports.http import bodies, connection

if TYPE_CHECKING:
    from tests.support.harness import Harness

ORIGIN = "https://dashboard.example.com"


@pytest.fixture
def port(harness: Harness) -> int:
    return harness.start_http()


@pytest.fixture
def open_port(harness: Harness) -> int:
    return harness.start_http(origins=(ORIGIN,))


# Web pages.


def test_a_page_that_points_its_own_name_here_is_refused(port: int) -> None:
    for host in (
        "evil.example.com",
        f"evil.example.com:{port}",
        "127.0.0.1.evil.com",
        "[::2]",
        "a@b",
    ):
        for path in (LIST, "/", "/metrics", "/healthz"):
            answer = get(port, path, {"host": host})
            assert answer.status == 403, (host, path)
            assert "--cors-origin" in answer.content["message"]
    for host in (
        "localhost",
        f"LOCALHOST:{port}",
        f"127.0.0.1:{port}",
        f"[::1]:{port}",
        "127.1.2.3",
    ):
        assert get(port, LIST, {"host": host}).status == 200, host


def test_a_page_of_another_origin_is_refused(port: int) -> None:
    for origin in (ORIGIN, "null", "http://localhost:3000", "http://127.0.0.1"):
        answer = send(port, LIST, b"{}", {**JSON, "origin": origin})
        assert answer.status == 403, origin
        assert "access-control-allow-origin" not in answer.headers
        asked = {
            "origin": origin,
            "access-control-request-method": "POST",
            "access-control-request-headers": "content-type",
        }
        preflight = send(port, LIST, None, asked, method="OPTIONS")
        assert preflight.status == 403
        assert not [name for name in preflight.headers if name.startswith("access-control")]
    own = send(port, LIST, b"{}", {**JSON, "origin": f"http://127.0.0.1:{port}"})
    assert own.status == 200
    assert own.headers["cross-origin-resource-policy"] == "same-origin"
    assert own.headers["x-content-type-options"] == "nosniff"


def test_what_a_form_can_send_is_not_a_call(port: int) -> None:
    """A browser sends these types to another site without a preflight."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        answer = send(port, LIST, b"{}", {"content-type": kind})
        assert answer.status == 415, kind
        assert "application/json" in answer.headers["accept-post"]


def test_configured_origins_may_call(open_port: int) -> None:
    asked = {
        "origin": ORIGIN,
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type,connect-protocol-version",
        "access-control-request-private-network": "true",
    }
    preflight = send(open_port, LIST, None, asked, method="OPTIONS")
    assert preflight.status == 204
    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    assert preflight.headers["access-control-allow-private-network"] == "true"
    allowed = preflight.headers["access-control-allow-headers"].split(", ")
    assert {"content-type", "connect-protocol-version", "connect-timeout-ms"} <= set(allowed)
    answer = send(open_port, LIST, b"{}", {**JSON, "origin": ORIGIN})
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "grpc-status" in answer.headers["access-control-expose-headers"]
    assert "origin" in answer.headers["vary"]
    # Errors, too: the page must be able to read them.
    failed = send(open_port, LIST, b'{"x": 1}', {**JSON, "origin": ORIGIN})
    assert (failed.status, failed.headers["access-control-allow-origin"]) == (400, ORIGIN)
    other = send(open_port, LIST, b"{}", {**JSON, "origin": f"{ORIGIN}.evil.com"})
    assert other.status == 403
    # The name of a configured origin may also be that of a proxy before the service.
    assert get(open_port, "/", {"host": "dashboard.example.com"}).status == 200


# Wrong requests.


def test_wrong_places_and_methods(port: int) -> None:
    assert get(port, "/nowhere").content["code"] == "not_found"
    assert get(port, "/nowhere").status == 404
    assert send(port, "/flowspan.v1.FlowRunService/Nothing").content["code"] == "unimplemented"
    assert send(port, "/flowspan.v1.FlowRunService/Nothing").status == 404
    for method in ("PUT", "DELETE", "PATCH"):
        answer = send(port, LIST, b"{}", method=method)
        assert (answer.status, answer.headers["allow"]) == (405, "GET, POST")
    assert send(port, "/metrics").status == 405
    assert send(port, WATCH, None, {}, method="GET").headers["allow"] == "POST"
    head = send(port, "/healthz", None, {}, method="HEAD")
    assert (head.status, head.body) == (200, b"")


def test_wrong_types_are_told_the_right_ones(port: int) -> None:
    answer = send(port, WATCH)
    assert answer.status == 415
    assert "envelopes" in answer.content["message"]
    assert "application/connect+json" in answer.headers["accept-post"]
    answer = send(port, LIST, b"\0\0\0\0\0", {"content-type": "application/connect+json"})
    assert answer.status == 415
    answer = send(port, LIST, b"\0\0\0\0\0", {"content-type": "application/grpc+proto"})
    assert "gRPC on the service's other port" in answer.content["message"]
    assert (
        send(port, LIST, b"{}", {"content-type": "Application/JSON; charset=utf-8"}).status == 200
    )


def test_bodies_above_the_limit_are_refused_unread(port: int) -> None:
    head = f"POST {LIST} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    began = time.monotonic()
    answer = exchange(
        port, f"{head}content-length: 99999999\r\nexpect: 100-continue\r\n\r\n".encode()
    )
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"100 Continue" not in answer
    assert b"TOO_LARGE" in answer
    assert time.monotonic() - began < TIMEOUT_S / 2
    # A client that sends on all the same still gets to read the answer.
    assert send(port, LIST, b" " * (9 << 20)).status == 413
    # Without a length, the reading ends at the limit.
    chunk = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
    assert exchange(port, f"{head}transfer-encoding: chunked\r\n\r\n".encode(), chunk).startswith(
        b"HTTP/1.1 413 "
    )
    assert send(port, LIST).status == 200


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\nbad header\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}x",
        b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n"
        b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_bytes_that_are_no_request(port: int, request_bytes: bytes) -> None:
    status, content = refused_with(exchange(port, request_bytes))
    assert status in (400, 413)
    assert content["code"] == "invalid_argument"
    assert send(port, LIST).status == 200


@pytest.mark.parametrize(
    ("first_bytes", "advice"),
    [
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", "Call gRPC on"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "with http://"),
        (b"\0\1\2\3", "not a request of HTTP/1.1"),
    ],
)
def test_other_protocols_are_told_which_one_this_is(
    port: int, first_bytes: bytes, advice: str
) -> None:
    status, content = refused_with(exchange(port, first_bytes))
    assert status == 400
    assert advice in content["message"]


def test_a_client_of_grpc_is_told_that_this_is_http(port: int) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/flowspan.v1.SystemService/GetInfo")
        with pytest.raises(grpc.RpcError, match=r"(?i)http1"):
            call(b"", timeout=TIMEOUT_S)


@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
def test_a_spoilt_body_is_answered_once(
    port: int, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    head = f"POST {LIST} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\n"
    head += "transfer-encoding: chunked\r\n\r\n"
    for parts in ([head.encode() + b"no chunk\r\n"], [head.encode(), b"no chunk\r\n"]):
        answer = exchange(port, *parts)
        assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 415 "))
        assert answer.count(b"HTTP/1.1 ") == 1
    assert send(port, LIST).status == 200
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def refused_with(answer: bytes) -> tuple[int, Any]:
    """Return the status and the content of an answer that ends its connection."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"\r\nconnection: close" in head, answer
    assert f"\r\ncontent-length: {len(body)}".encode() in head, answer
    return int(head.split()[1]), json.loads(body)


def test_large_heads_are_refused(port: int) -> None:
    head = b"GET / HTTP/1.1\r\nhost: localhost\r\nx-more: " + b"y" * (2 * connection.MAX_HEAD)
    status, content = refused_with(exchange(port, head))
    assert status == 431
    assert str(connection.MAX_HEAD) in content["message"]


def test_endless_heads_are_cut_off(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as client:
        sent = 0
        try:
            client.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n")
            while sent < 64 << 20:
                client.sendall(b"x-more: " + b"y" * 10_000 + b"\r\n")
                sent += 10_000
        except OSError:
            pass
        assert sent < 8 << 20
    assert send(port, LIST).status == 200


def test_slow_heads_and_bodies_are_cut_off(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_TIMEOUT_S", 0.1)
    monkeypatch.setattr(bodies, "PART_TIMEOUT_S", 0.1)
    assert refused_with(exchange(port, b""))[0] == 408
    assert exchange(port, b"GET / HTTP/1.1\r\nhost: ").startswith(b"HTTP/1.1 408 ")
    head = f"POST {LIST} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    answer = exchange(port, f"{head}content-length: 10\r\n\r\n{{".encode())
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert send(port, LIST).status == 200


def test_connections_are_kept_and_pipelines_are_answered_in_order(port: int) -> None:
    one = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"
    last = b"GET /nowhere HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    answer = exchange(port, one, one + one, last)
    assert answer.count(b"HTTP/1.1 200 ") == 3
    assert answer.index(b"HTTP/1.1 404 ") > answer.rindex(b"HTTP/1.1 200 ")
    # A refused call does not cost the connection.
    wrong = f"GET {LIST}?message=x HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()
    assert exchange(port, wrong, wrong, last).count(b"HTTP/1.1 400 ") == 2


def test_answers_do_not_wait_for_acknowledgements(harness: Harness, port: int) -> None:
    """With Nagle's algorithm, the body of an answer leaves 40 ms after its headers."""

    async def delays() -> list[bool]:
        assert harness.http is not None
        sockets = [each.transport.get_extra_info("socket") for each in harness.http.connections]
        return [not each.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for each in sockets]

    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert client.recv(12) == b"HTTP/1.1 200"
        assert harness.run(delays()) == [False]


def test_no_more_connections_when_files_run_out(
    harness: Harness, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness.backend.files, "begin", lambda: False)
    status, content = refused_with(exchange(port))
    assert (status, content["code"]) == (503, "unavailable")
