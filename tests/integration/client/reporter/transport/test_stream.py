"""The report stream against a scripted peer: split frames, statuses, garbage."""

from __future__ import annotations

import base64
import socket
import struct
from typing import TYPE_CHECKING

import h2.config
import h2.connection
import h2.events
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from hyperframe.frame import GoAwayFrame, PingFrame

from flowspan.connection.address import Address
from flowspan.reporter.transport.stream import METHOD, H2Transport, LinkClosedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ADDRESS = Address("127.0.0.1:4600", host="127.0.0.1", port=4600)
WAIT_S = 5.0


class Peer:
    """The other end of the link."""

    def __init__(self, sock: socket.socket, *, window: int | None = None) -> None:
        self.socket = sock
        sock.settimeout(WAIT_S)
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        self.http = h2.connection.H2Connection(config)
        if window is not None:
            self.http.local_settings.initial_window_size = window
        self.http.initiate_connection()
        self.headers: dict[str, str] = {}
        self.received = b""
        self.has_ended = False
        self.flush()

    def flush(self) -> None:
        self.socket.sendall(self.http.data_to_send())

    def read(self) -> None:
        """Read all available data."""
        for event in self.http.receive_data(self.socket.recv(1 << 20)):
            if isinstance(event, h2.events.RequestReceived):
                self.headers = dict(event.headers)  # type: ignore[arg-type] # header_encoding makes them text
            elif isinstance(event, h2.events.DataReceived):
                self.received += event.data
                self.http.acknowledge_received_data(event.flow_controlled_length, 1)
            elif isinstance(event, h2.events.StreamEnded):
                self.has_ended = True
        self.flush()

    def read_until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.read()

    def answer(self, *messages: bytes) -> None:
        self.http.send_headers(1, [(":status", "200"), ("content-type", "application/grpc")])
        self.say(*messages)

    def say(self, *messages: bytes) -> None:
        for message in messages:
            self.http.send_data(1, struct.pack(">BI", 0, len(message)) + message)
        self.flush()

    def end(self, status: int, message: str, *further: tuple[str, str]) -> None:
        trailers = [("grpc-status", str(status)), ("grpc-message", message), *further]
        self.http.send_headers(1, trailers, end_stream=True)
        self.flush()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.fixture
def ends(pair: tuple[socket.socket, socket.socket]) -> tuple[H2Transport, Peer]:
    link = H2Transport(ADDRESS, pair[0])
    link.pump()
    return link, Peer(pair[1])


def messages_of(data: bytes) -> list[bytes]:
    messages = []
    while data:
        _, size = struct.unpack(">BI", data[:5])
        messages.append(data[5 : 5 + size])
        data = data[5 + size :]
    return messages


def ended(link: H2Transport) -> LinkClosedError:
    try:
        while link.wait(WAIT_S):
            pass
    except LinkClosedError as error:
        return error
    raise AssertionError("the link did not end")


def test_it_calls_the_method_and_sends_messages(ends: tuple[H2Transport, Peer]) -> None:
    link, peer = ends
    link.send(b"one")
    link.send(b"")
    link.half_close()
    peer.read_until(lambda: peer.has_ended)
    assert peer.headers[":path"] == METHOD
    assert peer.headers[":authority"] == "127.0.0.1:4600"
    assert peer.headers["content-type"].startswith("application/grpc")
    assert peer.headers["te"] == "trailers"
    assert messages_of(peer.received) == [b"one", b""]


def test_it_reads_messages_however_they_are_cut(pair: tuple[socket.socket, socket.socket]) -> None:
    link, peer = H2Transport(ADDRESS, pair[0]), Peer(pair[1])
    link.send(b"hello")
    peer.read_until(lambda: bool(peer.received))
    sent = [b"a", b"b" * 70_000, b""]
    peer.http.send_headers(1, [(":status", "200")])
    stream = b"".join(struct.pack(">BI", 0, len(each)) + each for each in sent)
    for start in range(0, 40, 3):
        peer.http.send_data(1, stream[start : start + 3])
    peer.flush()
    read = link.wait(WAIT_S)
    for start in range(42, len(stream), 16_000):
        peer.http.send_data(1, stream[start : start + 16_000])
        peer.flush()
        read += link.wait(0.0)
        peer.socket.settimeout(0.0)
        try:
            peer.read()  # The window updates.
        except BlockingIOError:
            continue
    while len(read) < len(sent):
        read += link.wait(WAIT_S)
    assert read == sent


def test_it_waits_for_the_peers_window(pair: tuple[socket.socket, socket.socket]) -> None:
    link, peer = H2Transport(ADDRESS, pair[0]), Peer(pair[1])
    message = bytes(range(256)) * 4000
    link.send(message)
    link.send(b"last")
    link.half_close()
    assert link.unsent_bytes > 900_000
    while not peer.has_ended:
        peer.read()
        link.receive()
        link.pump()
    assert messages_of(peer.received) == [message, b"last"]
    assert link.unsent_bytes == 0


@pytest.mark.parametrize(
    ("status", "name"), [(0, "OK"), (3, "INVALID_ARGUMENT"), (14, "UNAVAILABLE"), (99, "UNKNOWN")]
)
def test_it_tells_the_status(status: int, name: str, ends: tuple[H2Transport, Peer]) -> None:
    link, peer = ends
    peer.read_until(lambda: bool(peer.headers))
    peer.answer(b"before the end")
    peer.end(status, "caf%C3%A9")
    assert link.wait(WAIT_S) == [b"before the end"]
    error = ended(link)
    assert (error.status, error.message, error.sequence) == (name, "café", None)
    assert link.ended is error


def test_a_status_may_name_the_event_that_it_is_about(ends: tuple[H2Transport, Peer]) -> None:
    info = error_details_pb2.ErrorInfo(reason="INVALID_FIELD", metadata={"sequence": "42"})
    detail = any_pb2.Any()
    detail.Pack(info)
    status = status_pb2.Status(code=3, message="no", details=[detail])
    text = base64.b64encode(status.SerializeToString()).decode().rstrip("=")
    link, peer = ends
    peer.read_until(lambda: bool(peer.headers))
    peer.answer()
    peer.end(3, "no", ("grpc-status-details-bin", text))
    assert ended(link).sequence == 42


def test_nonsense_in_the_details_is_no_event(ends: tuple[H2Transport, Peer]) -> None:
    link, peer = ends
    peer.read_until(lambda: bool(peer.headers))
    peer.answer()
    peer.end(3, "no", ("grpc-status-details-bin", "AAAA????"))
    assert ended(link).sequence is None


def test_a_closed_connection_is_unavailable(ends: tuple[H2Transport, Peer]) -> None:
    link, peer = ends
    peer.socket.close()
    assert ended(link).status == "UNAVAILABLE"
    with pytest.raises(LinkClosedError):
        link.receive()


@pytest.mark.parametrize("is_connected", [True, False])
def test_a_service_that_stops_is_unavailable(
    pair: tuple[socket.socket, socket.socket], *, is_connected: bool
) -> None:
    link = H2Transport(ADDRESS, pair[0])
    link.pump()
    peer = Peer(pair[1])
    if is_connected:
        assert link.wait(0) == []
    # gRPC ends its connections like this: a GOAWAY followed by a PING.
    goaway = GoAwayFrame(last_stream_id=2**31 - 1).serialize()
    peer.socket.sendall(goaway + PingFrame(opaque_data=b"goodbye!").serialize())
    assert ended(link).status == "UNAVAILABLE"


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        b"<!DOCTYPE HTML>\n<html>",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"220 mail.example.org ESMTP\r\n",
        b"\x00" * 400,
        b"\xff" * 400,
    ],
)
def test_what_is_not_http2_is_no_grpc(
    garbage: bytes, pair: tuple[socket.socket, socket.socket]
) -> None:
    link = H2Transport(ADDRESS, pair[0])
    pair[1].sendall(garbage)
    pair[1].shutdown(socket.SHUT_WR)
    assert ended(link).status == "NOT_GRPC"


def test_an_http_error_is_no_grpc(ends: tuple[H2Transport, Peer]) -> None:
    link, peer = ends
    peer.read_until(lambda: bool(peer.headers))
    peer.http.send_headers(1, [(":status", "404")], end_stream=True)
    peer.flush()
    error = ended(link)
    assert error.status == "NOT_GRPC"
    assert "404" in error.message


def test_a_message_beyond_all_measure_is_no_grpc(ends: tuple[H2Transport, Peer]) -> None:
    link, peer = ends
    peer.read_until(lambda: bool(peer.headers))
    peer.answer()
    peer.http.send_data(1, b"\x00\xff\xff\xff\xff")
    peer.flush()
    assert ended(link).status == "NOT_GRPC"


def test_messages_that_were_put_back_come_again(ends: tuple[H2Transport, Peer]) -> None:
    link, peer = ends
    peer.read_until(lambda: bool(peer.headers))
    peer.answer(b"welcome", b"command")
    first, second = link.wait(WAIT_S)
    assert (first, second) == (b"welcome", b"command")
    link.put_back([second])
    assert link.wait(WAIT_S) == [b"command"]
    link.put_back([second])
    peer.end(0, "")
    assert link.receive() == [b"command"]
    assert ended(link).status == "OK"


def test_waiting_ends_with_the_time(ends: tuple[H2Transport, Peer]) -> None:
    link, _ = ends
    assert link.wait(0.0) == []
