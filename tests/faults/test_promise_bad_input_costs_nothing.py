"""Promise 13: rejected input costs little, and others are still served; with the real service."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from tests.support.harness import Stubs
from tests.support.memory import forget_peak, peak_mib
from tests.support.report_client import created, entered, new_id

from flowspan.v1 import payload_pb2, report_pb2, report_service_pb2, system_service_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.service import ServiceProcess

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads the memory from /proc")

MIB = 1 << 20
TIMEOUT_S = 60.0
INVALID = grpc.StatusCode.INVALID_ARGUMENT
REPORT_BATCH = "/flowspan.v1.ReportService/ReportBatch"
REPORT = "/flowspan.v1.ReportService/Report"
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def channel_to(service: ServiceProcess) -> grpc.Channel:
    """Return a channel with its own connection."""
    options = [*UNLIMITED, ("grpc.use_local_subchannel_pool", 1)]
    return grpc.insecure_channel(service.address, options=options)


@contextmanager
def served_meanwhile(service: ServiceProcess) -> Iterator[None]:
    """Let another client make calls all the while; each of them is answered."""
    ended = threading.Event()

    def ask() -> int:
        count = 0
        with channel_to(service) as channel:
            stubs = Stubs(channel)
            while not ended.is_set():
                stubs.system.GetInfo(system_service_pb2.GetInfoRequest(), timeout=TIMEOUT_S)
                count += 1
        return count

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask)
        try:
            yield
        finally:
            ended.set()
        assert asked.result() > 0


@contextmanager
def memory_grows_by(service: ServiceProcess, most_mib: int) -> Iterator[None]:
    """Check that the block increases the service's peak memory by at most `most_mib` MiB."""
    forget_peak(service.pid)
    before = peak_mib(service.pid)
    yield
    grown = peak_mib(service.pid) - before
    assert grown < most_mib, f"the memory grew by {grown} MiB"


def batch(session_id: str, *events: report_pb2.Event, first: int = 1) -> Any:
    return report_service_pb2.ReportBatchRequest(
        hello=report_pb2.Hello(session_id=session_id),
        batch=report_pb2.Batch(first_sequence=first, events=events),
    )


def test_promise_bad_input_tiny_events_about_a_large_run(service: ServiceProcess) -> None:
    session_id, run_id = new_id(), new_id()
    large = payload_pb2.Payload(encoding="x", data=bytes(MIB))
    with channel_to(service) as channel:
        stubs = Stubs(channel)
        events = [created(run_id), entered(run_id, "COMPLETED", result=large)]
        stubs.reports.ReportBatch(batch(session_id, *events))
        tiny = [entered(run_id, "RUNNING")] * 1000
        request = batch(session_id, *tiny, first=3)
        assert request.ByteSize() < 80_000
        with served_meanwhile(service), memory_grows_by(service, 40):
            answer = stubs.reports.ReportBatch(request, timeout=TIMEOUT_S)
        assert len(answer.ack.verdicts) == 1000
        assert answer.ByteSize() < MIB


def test_promise_bad_input_a_tiny_event_about_each_of_many_large_runs(
    service: ServiceProcess,
) -> None:
    session_id = new_id()
    large = payload_pb2.Payload(encoding="x", data=bytes(MIB))
    run_ids = [new_id() for _ in range(60)]
    with channel_to(service) as channel:
        stubs = Stubs(channel)
        for number, run_id in enumerate(run_ids):
            events = [created(run_id), entered(run_id, "COMPLETED", result=large)]
            stubs.reports.ReportBatch(batch(session_id, *events, first=2 * number + 1))
        tiny = [entered(run_id, "RUNNING") for run_id in run_ids]
        request = batch(session_id, *tiny, first=2 * len(run_ids) + 1)
        assert request.ByteSize() < 5_000
        with served_meanwhile(service), memory_grows_by(service, 30):
            answer = stubs.reports.ReportBatch(request, timeout=TIMEOUT_S)
    assert [verdict.run_id for verdict in answer.ack.verdicts] == run_ids
    assert answer.ack.up_to_sequence == 3 * len(run_ids)
    assert answer.ByteSize() < MIB


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def of_size(unit: bytes, size: int) -> bytes:
    return unit * (size // len(unit))


TINY = {
    "events": b"\x12\x00",
    "creations": b"\x12\x02\x0a\x00",
    "events that are many": field(2, b"\x0a\x00\x12\x00" * 50),
    "tags": field(2, field(1, b"\x4a\x00" * 1000)),
}


@pytest.mark.parametrize("size", [8 * MIB - 1000, 4 * MIB, 600 << 10], ids=["8M", "4M", "600K"])
@pytest.mark.parametrize("name", TINY)
def test_promise_bad_input_large_requests_of_tiny_fields(
    service: ServiceProcess, name: str, size: int
) -> None:
    """Four at once, each of which would take hundreds of megabytes once parsed."""

    def send(_: int) -> grpc.StatusCode:
        hello = field(1, report_pb2.Hello(session_id=new_id()).SerializeToString())
        data = hello + field(2, of_size(TINY[name], size))
        with channel_to(service) as channel, pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(REPORT_BATCH)(data, timeout=TIMEOUT_S)
        return caught.value.code()

    with (
        served_meanwhile(service),
        memory_grows_by(service, 100),
        ThreadPoolExecutor(4) as pool,
    ):
        assert set(pool.map(send, range(4))) == {INVALID}


@pytest.mark.parametrize("name", TINY)
def test_promise_bad_input_large_frames_of_tiny_fields(service: ServiceProcess, name: str) -> None:
    def send(_: int) -> grpc.StatusCode:
        hello = report_service_pb2.ReportRequest(hello=report_pb2.Hello(session_id=new_id()))
        frames = [hello.SerializeToString(), field(2, of_size(TINY[name], 4 * MIB - 1000))]
        with channel_to(service) as channel, pytest.raises(grpc.RpcError) as caught:
            list(channel.stream_stream(REPORT)(iter(frames), timeout=TIMEOUT_S))
        return caught.value.code()

    with (
        served_meanwhile(service),
        memory_grows_by(service, 100),
        ThreadPoolExecutor(4) as pool,
    ):
        assert set(pool.map(send, range(4))) == {INVALID}
