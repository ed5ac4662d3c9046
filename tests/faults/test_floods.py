"""One connection floods the service; other clients are still served."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import grpc
from h2.config import H2Configuration
from h2.connection import H2Connection
from tests.support.harness import Stubs
from tests.support.report_client import ReportStream

from flowspan.v1 import system_service_pb2
from flowspan_service.api import limits

if TYPE_CHECKING:
    from tests.support.service import ServiceProcess

TIMEOUT_S = 60.0
VICTIMS_CALLS = 40
RESET_CALLS = 4000
HEADERS = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/flowspan.v1.SystemService/GetInfo"),
    (b":authority", b"localhost"),
    (b"te", b"trailers"),
    (b"content-type", b"application/grpc"),
]
EMPTY_MESSAGE = bytes(5)


class Attacker:
    """A connection at the level of HTTP/2 frames, without gRPC."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self.http = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self.http.initiate_connection()
        self._send()
        while not self.http.remote_settings.max_concurrent_streams < 2**31:
            self._take(self.socket.recv(65_536))

    def call(self, *, reset: bool) -> None:
        """Send a call; reset it at once, or leave it open."""
        stream_id = self.http.get_next_available_stream_id()
        self.http.send_headers(stream_id, HEADERS)
        self.http.send_data(stream_id, EMPTY_MESSAGE, end_stream=reset)
        if reset:
            self.http.reset_stream(stream_id)

    def exchange(self) -> None:
        """Send the pending frames and receive the available data."""
        self._send()
        self.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            self._take(self.socket.recv(1 << 20))
        self.socket.settimeout(TIMEOUT_S)

    def _send(self) -> None:
        self.socket.sendall(self.http.data_to_send())

    def _take(self, data: bytes) -> None:
        if not data:
            raise ConnectionResetError
        self.http.receive_data(data)


def ask(service: ServiceProcess, count: int) -> None:
    """Make calls on another connection, each of which must be answered."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(service.address, options=options) as channel:
        stubs = Stubs(channel)
        for _ in range(count):
            stubs.system.GetInfo(system_service_pb2.GetInfoRequest(), timeout=TIMEOUT_S)


def test_connection_is_told_how_many_calls_it_may_have(service: ServiceProcess) -> None:
    attacker = Attacker(service.port)
    told = attacker.http.remote_settings.max_concurrent_streams
    attacker.socket.close()
    assert told == limits.MAX_CALLS_OF_A_CONNECTION


def test_calls_that_are_reset_at_once_cost_others_no_call(service: ServiceProcess) -> None:
    attackers = [Attacker(service.port) for _ in range(4)]
    # Prepared in advance, because the service handles calls faster than this creates them.
    for attacker in attackers:
        for _ in range(RESET_CALLS):
            attacker.call(reset=True)

    def flood(attacker: Attacker) -> None:
        with contextlib.suppress(OSError):  # The service may close such a connection.
            attacker.exchange()

    threads = [threading.Thread(target=flood, args=[attacker]) for attacker in attackers]
    for thread in threads:
        thread.start()
    ask(service, VICTIMS_CALLS)
    for thread in threads:
        thread.join()
    for attacker in attackers:
        attacker.socket.close()
    ask(service, 1)


def test_calls_that_never_end_cost_others_no_call(service: ServiceProcess) -> None:
    attackers = [Attacker(service.port) for _ in range(4)]
    for attacker in attackers:
        for _ in range(limits.MAX_CALLS_OF_A_CONNECTION):
            attacker.call(reset=False)
        attacker.exchange()
    ask(service, VICTIMS_CALLS)
    for attacker in attackers:
        attacker.socket.close()
    ask(service, 1)


def test_channel_may_have_many_streams_and_a_call_beside_them(service: ServiceProcess) -> None:
    streams = [ReportStream(service.channel) for _ in range(limits.MAX_CALLS_OF_A_CONNECTION - 1)]
    Stubs(service.channel).system.GetInfo(system_service_pb2.GetInfoRequest(), timeout=TIMEOUT_S)
    for stream in streams:
        stream.goodbye()
