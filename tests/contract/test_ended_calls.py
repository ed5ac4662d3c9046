"""Ended calls are freed, however they ended: a connection may have at most 256."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from tests.support.report_client import new_id

from flowspan.v1 import flow_run_service_pb2, report_pb2, report_service_pb2, watch_service_pb2
from flowspan_service.api import limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.harness import Harness

UNARY = "/flowspan.v1.FlowRunService/GetFlowRun"
WATCH = "/flowspan.v1.WatchService/Watch"
REPORT = "/flowspan.v1.ReportService/Report"
BATCH = "/flowspan.v1.ReportService/ReportBatch"


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Disable the garbage collector, which rarely runs in the service."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def unary(path: str, request: bytes) -> Callable[[grpc.Channel], Any]:
    return lambda channel: channel.unary_unary(path)(request)


def watched(request: bytes) -> Callable[[grpc.Channel], Any]:
    return lambda channel: list(channel.unary_stream(WATCH)(request))


def reported(*requests: bytes) -> Callable[[grpc.Channel], Any]:
    return lambda channel: list(channel.stream_stream(REPORT)(iter(requests)))


def said_goodbye(channel: grpc.Channel) -> None:
    frame = report_service_pb2.ReportRequest(goodbye=report_pb2.Goodbye())
    reported(_hello(), frame.SerializeToString(), _hello())(channel)


def said_hello_twice(channel: grpc.Channel) -> None:
    reported(_hello(), _hello(), _hello())(channel)


def _hello() -> bytes:
    hello = report_pb2.Hello(session_id=new_id())
    return report_service_pb2.ReportRequest(hello=hello).SerializeToString()


def left(channel: grpc.Channel) -> None:
    """Open a report stream and abandon it."""
    call = channel.stream_stream(REPORT)(iter([_hello()]))
    next(call)
    call.cancel()


def timed_out(channel: grpc.Channel) -> None:
    run_id = watch_service_pb2.WatchRequest(run_id=new_id()).SerializeToString()
    channel.unary_stream(WATCH)(run_id, timeout=1e-4).code()


WAYS: dict[str, Callable[[grpc.Channel], Any]] = {
    "answered": unary("/flowspan.v1.FlowRunService/ListFlowRuns", b""),
    "no message": unary(UNARY, b"\xff" * 20),
    "invalid": unary(UNARY, flow_run_service_pb2.GetFlowRunRequest(id="x").SerializeToString()),
    "not found": unary(
        UNARY, flow_run_service_pb2.GetFlowRunRequest(id=new_id()).SerializeToString()
    ),
    "too large": unary(UNARY, bytes(limits.MAX_MESSAGE // 8)),
    "no method": unary("/flowspan.v1.FlowRunService/Nothing", b""),
    "a batch of nobody": unary(BATCH, b""),
    "a watch of nothing": watched(
        watch_service_pb2.WatchRequest(run_id=new_id()).SerializeToString()
    ),
    "a watch that is no message": watched(b"\xff"),
    "a report without Hello": reported(b""),
    "a report that is no message": reported(b"\xff"),
    "a report of nothing": reported(),
    "a report with Goodbye": said_goodbye,
    "a report that says Hello twice": said_hello_twice,
    "a report that is left": left,
    "a watch that is timed out": timed_out,
}


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("way", WAYS)
def test_calls_that_have_ended_leave_nothing_open(harness: Harness, way: str) -> None:
    call, codes = WAYS[way], set()
    for _ in range(limits.MAX_CALLS_OF_A_CONNECTION + 50):
        try:
            call(harness.channel)
        except grpc.RpcError as error:
            codes.add(error.code())
    assert grpc.StatusCode.UNAVAILABLE not in codes
    list_runs = harness.channel.unary_unary("/flowspan.v1.FlowRunService/ListFlowRuns")
    list_runs(b"", timeout=60)
