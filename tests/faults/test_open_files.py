"""The service with few open files: connections cannot use up the last ones."""

from __future__ import annotations

import resource
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import grpc
import pytest
from tests.support.harness import Stubs, refused
from tests.support.report_client import ReportStream, new_id, whole_run
from tests.support.run_queries import flow_history, wait_until

from flowspan.v1 import flow_run_service_pb2, system_service_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.service import ServiceProcess

EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
FEW = 200


def open_channel(service: ServiceProcess) -> grpc.Channel:
    return grpc.insecure_channel(service.address, options=[("grpc.use_local_subchannel_pool", 1)])


def test_service_without_room_for_connections_refuses_and_goes_on(
    start_service: Callable[..., ServiceProcess],
) -> None:
    service = start_service(open_files=FEW)
    with ExitStack() as stack:
        channel = stack.enter_context(open_channel(service))  # This channel never retries.
        stubs = Stubs(channel)
        stream = ReportStream(channel)
        for _ in range(FEW):
            connection = socket.create_connection(("127.0.0.1", service.port), timeout=30)
            stack.enter_context(connection)
        wait_until(lambda: "open files are running out" in service.log, "the line in the log")
        # New streams are rejected on existing connections.
        refused(lambda: ReportStream(channel), EXHAUSTED, "OVERLOADED")
        # Open streams continue, and so do calls and the database with all its readers.
        run_id = new_id()
        stream.wait_for_ack(stream.report(*whole_run(run_id)))
        calls = [
            stubs.flow_runs.ListFlowRuns.future(flow_run_service_pb2.ListFlowRunsRequest())
            for _ in range(100)
        ]
        for call in calls:
            assert [run.id for run in call.result(timeout=60).flow_runs] == [run_id]
        assert flow_history(channel, run_id) == ["Pending", "Running", "Completed"]
        stubs.system.GetInfo(system_service_pb2.GetInfoRequest(), timeout=60)
        stream.goodbye()
    wait_until(lambda: "open files are available again" in service.log, "the line in the log")
    with open_channel(service) as channel:
        other = ReportStream(channel)
        other.wait_for_ack(other.report(*whole_run(new_id())))
        other.goodbye()


def test_service_raises_its_limit_of_open_files(service: ServiceProcess) -> None:
    if not hasattr(resource, "prlimit"):
        pytest.skip("this system does not show the limits of other processes")
    soft, hard = resource.prlimit(service.pid, resource.RLIMIT_NOFILE)
    most = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    assert soft >= most
