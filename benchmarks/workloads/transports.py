"""One list of ten flow runs over gRPC, Connect in binary, and Connect in JSON.

Measured with one caller on one connection: the time of a call, and the CPU time that it costs the
service.
"""

from __future__ import annotations

import http.client
import json
import os
import statistics
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import grpc

from benchmarks.workloads.reads import report_runs, service_cpu_s
from benchmarks.workloads.support import Outcome, main
from flowspan.v1 import (
    flow_run_service_pb2,
    flow_run_service_pb2_grpc,
    system_service_pb2,
    system_service_pb2_grpc,
)

if TYPE_CHECKING:
    from collections.abc import Callable

RUNS = 10
WARM_UP = 100
PATH = "/flowspan.v1.FlowRunService/ListFlowRuns"
REQUEST = flow_run_service_pb2.ListFlowRunsRequest(page_size=RUNS)


def http_address() -> str:
    """Return the host and port of the service over HTTP."""
    with grpc.insecure_channel(os.environ["FLOWSPAN_ADDRESS"]) as channel:
        stub = system_service_pb2_grpc.SystemServiceStub(channel)
        address = stub.GetInfo(system_service_pb2.GetInfoRequest()).http_address
    assert address, "the service serves no HTTP: start it with --http-port"
    return urlsplit(address).netloc


def time_calls(call: Callable[[], int], count: int) -> tuple[float, float]:
    """Return the median duration of a call, and the service's CPU time of one."""
    for _ in range(WARM_UP):
        assert call() == RUNS
    before_s = service_cpu_s()
    taken_s = []
    for _ in range(count):
        began = time.perf_counter()
        found = call()
        taken_s.append(time.perf_counter() - began)
        assert found == RUNS
    return statistics.median(taken_s), (service_cpu_s() - before_s) / count


def over_grpc(count: int) -> tuple[float, float]:
    """Measure gRPC."""
    with grpc.insecure_channel(os.environ["FLOWSPAN_ADDRESS"]) as channel:
        stub = flow_run_service_pb2_grpc.FlowRunServiceStub(channel)
        return time_calls(lambda: len(stub.ListFlowRuns(REQUEST).flow_runs), count)


def over_connect(count: int, kind: str, body: bytes, count_runs: Callable[[bytes], int]) -> tuple:
    """Measure Connect with messages of a content type."""
    connection = http.client.HTTPConnection(http_address())
    headers = {"content-type": kind, "connect-protocol-version": "1"}

    def call() -> int:
        connection.request("POST", PATH, body, headers)
        return count_runs(connection.getresponse().read())

    try:
        return time_calls(call, count)
    finally:
        connection.close()


def in_binary(data: bytes) -> int:
    """Count the runs of an answer in binary."""
    return len(flow_run_service_pb2.ListFlowRunsResponse.FromString(data).flow_runs)


def in_json(data: bytes) -> int:
    """Count the runs of an answer in JSON."""
    return len(json.loads(data)["flowRuns"])


def measure(count: int) -> Outcome:
    report_runs()
    binary, text = REQUEST.SerializeToString(), json.dumps({"pageSize": RUNS}).encode()
    measured = {
        "grpc": over_grpc(count),
        "connect": over_connect(count, "application/proto", binary, in_binary),
        "json": over_connect(count, "application/json", text, in_json),
    }
    outcome = Outcome({})
    for name, (median_s, cpu_s) in measured.items():
        outcome.figures[name] = median_s
        outcome.figures[f"{name}, CPU"] = cpu_s
    return outcome


if __name__ == "__main__":
    main(measure, count=2000)
