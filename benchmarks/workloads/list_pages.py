"""Time for a page of 100 task runs over the API, at any place, with and without filters.

The service should hold many runs: `python -m benchmarks.listing --db sqlite:////tmp/million.db`
creates a million, and `flowspan server start --db sqlite:////tmp/million.db` serves them. Pages
are timed in random order, one at a time, at places all over the list. A preceding walk through
the list collects the page tokens.
"""

from __future__ import annotations

import os
import random
import statistics
import time
from typing import TYPE_CHECKING

import grpc

from benchmarks.workloads.support import Outcome, main
from flowspan.v1 import run_filter_pb2, state_pb2, task_run_service_pb2, task_run_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = 100
STEP = 1000
# Maximum steps of the walk by filter; without a filter, it covers all of a million runs.
MOST_STEPS = {"none": 1000}
DEFAULT_STEPS = 30

Request = task_run_service_pb2.ListTaskRunsRequest


def filters(
    stub: task_run_service_pb2_grpc.TaskRunServiceStub,
) -> dict[str, run_filter_pb2.RunFilter]:
    """Return filters by name."""
    oldest = run_filter_pb2.RUN_ORDER_OLDEST_FIRST
    first = stub.ListTaskRuns(Request(order=oldest, page_size=1)).task_runs
    if not first:
        raise SystemExit("the service holds no task runs; see the module's docstring")
    some = first[0]
    made = run_filter_pb2.RunFilter
    return {
        "none": made(),
        "Completed": made(state_types=[state_pb2.STATE_TYPE_COMPLETED]),
        "Failed or Running": made(
            state_types=[state_pb2.STATE_TYPE_FAILED, state_pb2.STATE_TYPE_RUNNING]
        ),
        "task name": made(function_names=[some.task_name]),
        "flow run": made(flow_run_id=some.flow_run_id),
        "flow run, Failed": made(
            flow_run_id=some.flow_run_id, state_types=[state_pb2.STATE_TYPE_FAILED]
        ),
        "root": made(root_run_id=some.root_run_id),
        "tag": made(tags=["nightly"]),
    }


def places(
    stub: task_run_service_pb2_grpc.TaskRunServiceStub, name: str, wanted: run_filter_pb2.RunFilter
) -> Iterator[str]:
    """Yield page tokens of places in the list."""
    token = ""
    for _ in range(MOST_STEPS.get(name, DEFAULT_STEPS)):
        yield token
        token = stub.ListTaskRuns(
            Request(filter=wanted, page_size=STEP, page_token=token)
        ).next_page_token
        if not token:
            return


def measure(count: int) -> Outcome:
    with grpc.insecure_channel(os.environ["FLOWSPAN_ADDRESS"]) as channel:
        stub = task_run_service_pb2_grpc.TaskRunServiceStub(channel)
        chance = random.Random(1)
        requests = []
        for name, wanted in filters(stub).items():
            tokens = list(places(stub, name, wanted))
            requests += [
                (name, Request(filter=wanted, page_size=PAGE, page_token=chance.choice(tokens)))
                for _ in range(count)
            ]
        chance.shuffle(requests)
        taken_s: dict[str, list[float]] = {}
        for name, request in requests:
            began = time.perf_counter()
            found = stub.ListTaskRuns(request).task_runs
            taken_s.setdefault(name, []).append(time.perf_counter() - began)
            assert found
    every = [value for values in taken_s.values() for value in values]
    notes = {f"page, {name}, p99": _p99(values) for name, values in taken_s.items()}
    notes["page, median"] = statistics.median(every)
    return Outcome({"page": _p99(every)}, notes)


def _p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98]


if __name__ == "__main__":
    main(measure, count=200)
