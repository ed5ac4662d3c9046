"""Memory of ended calls, which must not wait for the garbage collector."""

from __future__ import annotations

import gc
from collections import Counter
from typing import TYPE_CHECKING

import grpc
import pytest
from tests.support.report_client import Reporter, ReportStream, new_id, whole_run
from tests.support.run_queries import wait_until

from flowspan.v1 import flow_run_service_pb2, log_service_pb2, watch_service_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.harness import Harness, Stubs

OF_CALLS = (
    "flowspan_service.api.calls.call",
    "flowspan_service.api.reporting.stream",
    "flowspan_service.app.reports",
    "flowspan_service.app.sessions",
    "flowspan_service.stores.engine.unit_of_work",
)


@pytest.fixture
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def _of_calls() -> Counter[str]:
    """Return the number of living objects of calls, by class."""
    kinds = (type(each) for each in gc.get_objects())
    return Counter(kind.__name__ for kind in kinds if kind.__module__ in OF_CALLS)


def _stream(harness: Harness, stubs: Stubs) -> None:
    stream = ReportStream(harness.channel)
    stream.wait_for_ack(stream.report(*whole_run(new_id())))
    stream.goodbye()


def _broken_stream(harness: Harness, stubs: Stubs) -> None:
    stream = ReportStream(harness.channel)
    stream.report(*whole_run(new_id()))
    stream.break_off()


def _batches(harness: Harness, stubs: Stubs) -> None:
    reporter = Reporter(harness.channel)
    reporter.completed(reporter.flow_run("f"))
    reporter.finish()


def _reads(harness: Harness, stubs: Stubs) -> None:
    stubs.flow_runs.ListFlowRuns(flow_run_service_pb2.ListFlowRunsRequest())


def _watch_and_tail(harness: Harness, stubs: Stubs) -> None:
    run_id = new_id()
    stream = ReportStream(harness.channel)
    stream.wait_for_ack(stream.report(*whole_run(run_id)))
    stream.goodbye()
    list(stubs.watch.Watch(watch_service_pb2.WatchRequest(run_id=run_id)))
    list(stubs.logs.TailLogs(log_service_pb2.TailLogsRequest(run_id=run_id)))


def _refused(harness: Harness, stubs: Stubs) -> None:
    with pytest.raises(grpc.RpcError):
        stubs.flow_runs.GetFlowRun(flow_run_service_pb2.GetFlowRunRequest(id=new_id()))
    with pytest.raises(grpc.RpcError):
        list(stubs.watch.Watch(watch_service_pb2.WatchRequest(run_id=new_id())))


@pytest.mark.parametrize(
    "calls", [_stream, _broken_stream, _batches, _reads, _watch_and_tail, _refused]
)
@pytest.mark.usefixtures("_no_collector")
def test_ended_calls_are_freed_without_the_garbage_collector(
    harness: Harness, stubs: Stubs, calls
) -> None:
    for _ in range(2):
        calls(harness, stubs)
    before = _of_calls()
    for _ in range(10):
        calls(harness, stubs)
    # One of each class may be the last one, which its user still holds.
    wait_until(
        lambda: all(count < 10 for count in (_of_calls() - before).values()),
        "the objects of ended calls to be freed",
    )
