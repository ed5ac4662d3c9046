"""Session secrets across the deaths of clients, services and their successors."""

from __future__ import annotations

import stat
from dataclasses import replace
from typing import TYPE_CHECKING

import grpc
import pytest
from tests.support.flow_processes import FlowProcess
from tests.support.harness import error_info
from tests.support.postgres import postgres_server, postgres_url
from tests.support.report_client import ReportStream, created, entered, new_id
from tests.support.run_queries import flow_history, flow_runs, wait_until

from flowspan.reporter.spool.format import read_opening, start_of
from flowspan.v1 import report_pb2, report_service_pb2, report_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.service import ServiceProcess

__all__ = ["postgres_server", "postgres_url"]

SECRET = bytes(range(16))

WAITING_FLOW = """
    from flowspan import flow

    @flow
    def patient():
        print("waiting", flush=True)
        input()
        return 42

    print("result", patient())
"""


def forged_goodbye(channel: grpc.Channel, session_id: str) -> grpc.StatusCode:
    """Return the answer to a stranger who knows the session's id and tries to end it."""
    request = report_service_pb2.ReportBatchRequest(
        hello=report_pb2.Hello(session_id=session_id), goodbye=True
    )
    with pytest.raises(grpc.RpcError) as caught:
        report_service_pb2_grpc.ReportServiceStub(channel).ReportBatch(request, wait_for_ready=True)
    assert error_info(caught.value).reason == "WRONG_SECRET"
    return caught.value.code()


def test_promise_secret_outlives_the_service(
    start_service: Callable[..., ServiceProcess], flowspan_home: Path
) -> None:
    service = start_service()
    with FlowProcess(WAITING_FLOW, home=flowspan_home, address=service.address) as process:
        process.wait_for_line("waiting")
        wait_until(lambda: flow_runs(service.channel), "the flow run")
        (run,) = flow_runs(service.channel)
        assert forged_goodbye(service.channel, run.session_id)
        service.kill()
        service.restart()
        assert forged_goodbye(service.channel, run.session_id)
        process.say("")
        assert "result 42" in process.finish()
        assert flow_history(service.channel, run.id)[-1] == "Completed"
        assert forged_goodbye(service.channel, run.session_id)


@pytest.mark.slow
def test_promise_secret_is_left_to_the_next_process(
    start_service: Callable[..., ServiceProcess], flowspan_home: Path
) -> None:
    service = start_service()
    with FlowProcess(WAITING_FLOW, home=flowspan_home, address=service.address) as process:
        process.wait_for_line("waiting")
        wait_until(lambda: flow_runs(service.channel), "the flow run")
        (run,) = flow_runs(service.channel)
        service.kill()
        process.say("")
        assert "result 42" in process.finish()
    (spool,) = (flowspan_home / "spool").glob("*.spool")
    assert stat.S_IMODE(spool.stat().st_mode) == 0o600
    assert b'"secret"' in spool.read_bytes()
    service.restart()
    assert forged_goodbye(service.channel, run.session_id)
    with FlowProcess(WAITING_FLOW, home=flowspan_home, address=service.address) as process:
        process.wait_for_line("waiting")
        wait_until(
            lambda: flow_history(service.channel, run.id)[-1] == "Completed", "the spool to be sent"
        )
        process.say("")
        process.finish()
    assert not spool.exists()


@pytest.mark.slow
def test_spool_with_a_wrong_secret_does_not_hold_others_back(
    start_service: Callable[..., ServiceProcess], flowspan_home: Path
) -> None:
    service = start_service()
    runs = []
    for _ in range(2):
        with FlowProcess(WAITING_FLOW, home=flowspan_home, address=service.address) as process:
            process.wait_for_line("waiting")
            wait_until(lambda: len(flow_runs(service.channel)) > len(runs), "the flow run")
            runs.append(flow_runs(service.channel)[-1])
            service.kill()
            process.say("")
            process.finish()
        if len(runs) == 1:
            (first,) = (flowspan_home / "spool").glob("*.spool")
            data = first.read_bytes()
            opening = read_opening(lambda at, size, data=data: data[at : at + size], first.stem)
            header = replace(opening.header, secret=bytes(16))
            first.write_bytes(start_of(header) + data[opening.start :])
        service.restart()
    with FlowProcess(WAITING_FLOW, home=flowspan_home, address=service.address) as process:
        process.wait_for_line("waiting")
        wait_until(
            lambda: flow_history(service.channel, runs[1].id)[-1] == "Completed",
            "the second spool to be sent",
        )
        process.say("")
        process.finish()
    assert first.exists()


def test_promise_secret_is_known_to_each_service(
    postgres_url: str, start_service: Callable[..., ServiceProcess]
) -> None:
    one = start_service(db=postgres_url)
    two = start_service(db=postgres_url, check_history=False)
    run_id = new_id()
    stream = ReportStream(one.channel, secret=SECRET)
    stream.wait_for_ack(stream.report(created(run_id), entered(run_id, "RUNNING")))
    for service in (one, two):
        assert forged_goodbye(service.channel, stream.session_id)
    again = ReportStream(two.channel, session_id=stream.session_id, secret=SECRET)
    assert again.welcome.resume_after == 2
    again.report(entered(run_id, "COMPLETED"))
    again.goodbye()
    assert flow_history(one.channel, run_id) == ["Pending", "Running", "Completed"]
