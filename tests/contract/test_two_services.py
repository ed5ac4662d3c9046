"""Two service processes over one PostgreSQL: no state lives in only one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
from tests.support.harness import refused
from tests.support.report_client import ReportStream, created, entered, new_id, whole_run
from tests.support.run_queries import flow_history

from flowspan.v1 import (
    flow_run_service_pb2,
    flow_run_service_pb2_grpc,
    report_pb2,
    report_service_pb2,
    report_service_pb2_grpc,
    state_pb2,
    watch_service_pb2,
    watch_service_pb2_grpc,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.service import ServiceProcess


@pytest.fixture
def two_services(
    postgres_url: str, start_service: Callable[..., ServiceProcess]
) -> tuple[ServiceProcess, ServiceProcess]:
    """Start two processes over one database, which is dropped after them."""
    one = start_service(db=postgres_url)
    return one, start_service(db=postgres_url, check_history=False)


def test_command_reaches_a_session_of_the_other_process(
    two_services: tuple[ServiceProcess, ServiceProcess],
) -> None:
    here, there = two_services
    run_id = new_id()
    stream = ReportStream(there.channel)
    stream.wait_for_ack(stream.report(created(run_id), entered(run_id, "RUNNING")))
    wanted = state_pb2.State(type=state_pb2.STATE_TYPE_CANCELLING)
    answer = flow_run_service_pb2_grpc.FlowRunServiceStub(here.channel).SetFlowRunState(
        flow_run_service_pb2.SetFlowRunStateRequest(id=run_id, state=wanted)
    )
    assert answer.flow_run.state.name == "Cancelling"
    assert stream.receive("command").cancel_run.run_id == run_id
    stream.report(entered(run_id, "CANCELLED"))
    stream.goodbye()
    assert flow_history(here.channel, run_id)[-1] == "Cancelled"


def test_command_is_told_at_each_process_until_it_is_confirmed(
    two_services: tuple[ServiceProcess, ServiceProcess],
) -> None:
    here, there = two_services
    run_id = new_id()
    stream = ReportStream(there.channel)
    stream.wait_for_ack(stream.report(created(run_id), entered(run_id, "RUNNING")))
    stream.break_off()
    wanted = state_pb2.State(type=state_pb2.STATE_TYPE_CANCELLING)
    flow_run_service_pb2_grpc.FlowRunServiceStub(here.channel).SetFlowRunState(
        flow_run_service_pb2.SetFlowRunStateRequest(id=run_id, state=wanted)
    )
    for service in (here, there, here):
        stream = ReportStream(service.channel, session_id=stream.session_id)
        assert stream.receive("command").cancel_run.run_id == run_id
        service.restart()
    stream = ReportStream(there.channel, session_id=stream.session_id)
    assert stream.receive("command").cancel_run.run_id == run_id
    stream.report(entered(run_id, "CANCELLED"))
    stream.goodbye()
    assert flow_history(here.channel, run_id)[-1] == "Cancelled"


def test_session_goes_on_at_the_other_process(
    two_services: tuple[ServiceProcess, ServiceProcess],
) -> None:
    here, there = two_services
    run_id = new_id()
    events = whole_run(run_id)
    stream = ReportStream(here.channel)
    stream.wait_for_ack(stream.report(*events[:2]))
    again = ReportStream(there.channel, session_id=stream.session_id)
    assert again.welcome.resume_after == 2
    again.wait_for_ack(again.report(events[2]))
    # The first connection does not know yet; its next frame is rejected.
    stream.report(created(new_id()))
    refused(lambda: stream.receive("ack"), grpc.StatusCode.ABORTED, "SESSION_TAKEN_OVER")
    again.goodbye()
    assert flow_history(here.channel, run_id) == ["Pending", "Running", "Completed"]


def test_promise_watch_is_gapless_over_processes(
    two_services: tuple[ServiceProcess, ServiceProcess],
) -> None:
    here, there = two_services
    run_ids = [new_id() for _ in range(30)]
    call = watch_service_pb2_grpc.WatchServiceStub(here.channel).Watch(
        watch_service_pb2.WatchRequest()
    )
    assert next(call).HasField("snapshot_end")
    streams = [ReportStream(here.channel), ReportStream(there.channel)]
    for number, run_id in enumerate(run_ids):
        streams[number % 2].report(*whole_run(run_id))
    for stream in streams:
        stream.goodbye()
    seen: dict[str, list[int]] = {run_id: [] for run_id in run_ids}
    last = 0
    while sum(map(len, seen.values())) < 90:
        transition = next(call).change.transition
        assert transition.position > last
        last = transition.position
        seen[transition.run_id].append(transition.ordinal)
    call.cancel()
    assert all(ordinals == [1, 2, 3] for ordinals in seen.values())


def test_watch_of_commands_gets_those_of_the_other_process(
    two_services: tuple[ServiceProcess, ServiceProcess],
) -> None:
    here, there = two_services
    run_id = new_id()
    hello = report_pb2.Hello(session_id=new_id())
    batch = report_pb2.Batch(first_sequence=1, events=[created(run_id), entered(run_id, "RUNNING")])
    stub = report_service_pb2_grpc.ReportServiceStub(there.channel)
    stub.ReportBatch(report_service_pb2.ReportBatchRequest(hello=hello, batch=batch))
    request = report_service_pb2.WatchCommandsRequest(session_id=hello.session_id)
    frames = stub.WatchCommands(request, timeout=60)
    assert not next(frames).HasField("command")
    wanted = state_pb2.State(type=state_pb2.STATE_TYPE_CANCELLING)
    flow_run_service_pb2_grpc.FlowRunServiceStub(here.channel).SetFlowRunState(
        flow_run_service_pb2.SetFlowRunStateRequest(id=run_id, state=wanted)
    )
    assert next(frames).command.cancel_run.run_id == run_id
    # The session ends at the other process as well.
    report_service_pb2_grpc.ReportServiceStub(here.channel).ReportBatch(
        report_service_pb2.ReportBatchRequest(hello=hello, goodbye=True)
    )
    assert list(frames) == []
    assert flow_history(here.channel, run_id)[-1] == "Crashed"
