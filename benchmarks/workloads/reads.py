"""Read rate of a service per second: single runs, and pages of 100 runs.

Measured with one caller, and with 32 concurrent callers over one connection. The runs are flow
runs of a session that has ended before the first read.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc

from benchmarks.workloads.support import Outcome, main
from flowspan.api.ids import new_id
from flowspan.core.events import CREATED, STATE, RunRecord
from flowspan.reporter import get_reporter
from flowspan.v1 import (
    flow_run_service_pb2,
    flow_run_service_pb2_grpc,
    system_service_pb2,
    system_service_pb2_grpc,
)

if TYPE_CHECKING:
    from collections.abc import Callable

RUNS = 1000
PAGE = 100
CALLERS = 32
WARM_UP = 50
RUNNING, COMPLETED = 3, 6


def report_runs() -> list[str]:
    """Report flow runs that are Completed; return their ids."""
    reporter = get_reporter()
    ids = []
    for number in range(RUNS):
        run_id = new_id()
        record = RunRecord(
            run_id,
            is_flow=True,
            function_name=f"flow-{number % 10}",
            run_name=f"run-{number}",
            parent_run_id=None,
            root_run_id=run_id,
            flow_run_id=run_id,
        )
        reporter.emit((CREATED, record, "Pending", time.time_ns()))
        for kind, name in ((RUNNING, "Running"), (COMPLETED, "Completed")):
            reporter.emit((STATE, run_id, 1, kind, name, "", time.time_ns(), None, None))
        ids.append(run_id)
    assert reporter.flush(60).acked
    reporter.close()
    return ids


def requests(ids: list[str]) -> dict[str, tuple[str, Callable[[int], Any], float]]:
    """Return the method, the request factory and the share of the calls, by figure."""
    get, page = flow_run_service_pb2.GetFlowRunRequest, flow_run_service_pb2.ListFlowRunsRequest
    return {
        "get": ("GetFlowRun", lambda number: get(id=ids[number * 7 % len(ids)]), 1.0),
        "page": ("ListFlowRuns", lambda _: page(page_size=PAGE), 0.3),
    }


def by_one(name: str, make: Callable[[int], Any], count: int) -> list[float]:
    """Call sequentially; return the duration of each call."""
    with grpc.insecure_channel(os.environ["FLOWSPAN_ADDRESS"]) as channel:
        call = getattr(flow_run_service_pb2_grpc.FlowRunServiceStub(channel), name)
        taken_s = []
        for number in range(WARM_UP + count):
            began = time.perf_counter()
            call(make(number))
            taken_s.append(time.perf_counter() - began)
    return taken_s[WARM_UP:]


async def by_many(name: str, make: Callable[[int], Any], count: int) -> tuple[list[float], float]:
    """Call concurrently; return the duration of each call, and the total duration."""
    async with grpc.aio.insecure_channel(os.environ["FLOWSPAN_ADDRESS"]) as channel:
        call = getattr(flow_run_service_pb2_grpc.FlowRunServiceStub(channel), name)
        taken_s = []

        async def caller(first: int) -> None:
            for number in range(first, count, CALLERS):
                began = time.perf_counter()
                await call(make(number))
                taken_s.append(time.perf_counter() - began)

        await caller(count - WARM_UP)
        taken_s.clear()
        began = time.perf_counter()
        await asyncio.gather(*map(caller, range(CALLERS)))
        return taken_s, time.perf_counter() - began


def service_cpu_s() -> float:
    """Return the CPU time that the service has used; 0 if the system does not report it."""
    with grpc.insecure_channel(os.environ["FLOWSPAN_ADDRESS"]) as channel:
        stub = system_service_pb2_grpc.SystemServiceStub(channel)
        process_id = stub.GetInfo(system_service_pb2.GetInfoRequest()).process_id
    try:
        fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(count: int) -> Outcome:
    ids = report_runs()
    outcome = Outcome({})
    for figure, (name, make, share) in requests(ids).items():
        calls = max(CALLERS, int(count * share))
        before_s = service_cpu_s()
        taken_s = by_one(name, make, calls)
        outcome.figures[f"{figure}, 1 caller"] = len(taken_s) / sum(taken_s)
        taken_s, whole_s = asyncio.run(by_many(name, make, calls))
        outcome.figures[f"{figure}, {CALLERS} callers"] = len(taken_s) / whole_s
        used_s = (service_cpu_s() - before_s) / (2 * calls + 2 * WARM_UP)
        outcome.notes[f"{figure}, service CPU of a call (s)"] = used_s
        p99 = statistics.quantiles(taken_s, n=100)[98]
        outcome.notes[f"{figure}, {CALLERS} callers, p99 (s)"] = p99
    return outcome


if __name__ == "__main__":
    main(measure, count=3000)
