"""The database disappears under the running service: it reports the error and acks nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.support.report_client import ReportStream, created, entered, new_id
from tests.support.run_queries import WAIT_S, flow_history

from flowspan.v1 import system_service_pb2, system_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.service import ServiceProcess

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def info(service: ServiceProcess) -> Any:
    stub = system_service_pb2_grpc.SystemServiceStub(service.channel)
    return stub.GetInfo(system_service_pb2.GetInfoRequest(), wait_for_ready=True)


def health(service: ServiceProcess) -> int:
    stub = health_pb2_grpc.HealthStub(service.channel)
    return stub.Check(health_pb2.HealthCheckRequest(service="")).status


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def begun(service: ServiceProcess) -> tuple[ReportStream, str]:
    stream, run_id = ReportStream(service.channel), new_id()
    stream.wait_for_ack(stream.report(created(run_id)))
    return stream, run_id


def refused(stream: ReportStream, run_id: str) -> str:
    """Report more; return the details of the error."""
    acked = stream.acked
    with pytest.raises(grpc.RpcError) as caught:
        stream.wait_for_ack(stream.report(entered(run_id, "RUNNING")))
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    assert stream.acked == acked
    return str(caught.value.details())


def test_promise_nothing_is_acked_into_a_database_that_was_moved_away(
    service: ServiceProcess,
) -> None:
    stream, run_id = begun(service)
    elsewhere = service.db_path.with_name("elsewhere.db")
    service.db_path.rename(elsewhere)
    assert f"{service.db_path} was deleted or moved away" in refused(stream, run_id)
    until(lambda: health(service) == NOT_SERVING)
    assert "was deleted or moved away" in info(service).database_problem
    until(lambda: "the database cannot be used" in service.log)
    assert not service.db_path.exists()

    elsewhere.rename(service.db_path)
    until(lambda: health(service) == SERVING)
    assert info(service).database_problem == ""
    stream = ReportStream(service.channel, session_id=stream.session_id)
    assert stream.welcome.resume_after == 1
    stream.wait_for_ack(stream.report(entered(run_id, "RUNNING"), entered(run_id, "COMPLETED")))
    stream.goodbye()
    assert flow_history(service.channel, run_id) == ["Pending", "Running", "Completed"]


def test_promise_a_deleted_database_is_noticed_while_nothing_happens(
    start_service: Callable[..., ServiceProcess],
) -> None:
    service = start_service(check_history=False)
    stream, run_id = begun(service)
    service.db_path.unlink()
    until(lambda: health(service) == NOT_SERVING)
    assert "was deleted" in refused(stream, run_id)
    with pytest.raises(grpc.RpcError) as caught:
        flow_history(service.channel, run_id)
    assert "was deleted" in str(caught.value.details())
    assert not service.db_path.exists()
    # A restart is a request for a new database.
    service.restart()
    assert health(service) == SERVING


def test_promise_what_was_acked_survives_the_loss_of_the_log(service: ServiceProcess) -> None:
    stream, run_id = begun(service)
    service.db_path.with_name(service.db_path.name + "-wal").unlink()
    assert "-wal was deleted" in refused(stream, run_id)
    until(lambda: health(service) == NOT_SERVING)
    service.restart()
    assert flow_history(service.channel, run_id) == ["Pending"]
    stream = ReportStream(service.channel, session_id=stream.session_id)
    assert stream.welcome.resume_after == 1
    stream.wait_for_ack(stream.report(entered(run_id, "RUNNING"), entered(run_id, "COMPLETED")))
    stream.goodbye()
