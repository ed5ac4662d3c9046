"""Clients whose clocks differ from the service's, or that leave the time to the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from tests.support.harness import LEASE_S, refused
from tests.support.report_client import ReportStream, new_id

from flowspan.v1 import flow_run_service_pb2, log_service_pb2, report_pb2, state_pb2
from flowspan.v1 import report_service_pb2 as pb

if TYPE_CHECKING:
    from tests.support.harness import Harness, Stubs

HOUR_US = 3_600_000_000
AHEAD = pytest.mark.parametrize("ahead_us", [0, HOUR_US, -HOUR_US], ids=["same", "ahead", "behind"])


class Client:
    """A stream of a process whose clock is ahead of the service's."""

    def __init__(self, harness: Harness, ahead_us: int, *, sends_time: bool = True) -> None:
        self.harness, self.ahead_us = harness, ahead_us
        hello: dict[str, Any] = {"client_time": self.now()} if sends_time else {}
        self.stream = ReportStream(harness.channel, **hello)

    def now(self) -> Timestamp:
        time = Timestamp()
        time.FromMicroseconds(self.harness.clock.now_us() + self.ahead_us)
        return time

    def state(self, kind: str, *, timed: bool = True) -> state_pb2.State:
        return state_pb2.State(
            type=f"STATE_TYPE_{kind}",  # type: ignore[arg-type] # a name
            time=self.now() if timed else None,
        )

    def create(self, run_id: str, *, timed: bool = True) -> None:
        created = report_pb2.RunCreated(
            run_id=run_id,
            kind=report_pb2.RUN_KIND_FLOW,
            function_name="f",
            state=self.state("PENDING", timed=timed),
        )
        self._report(report_pb2.Event(run_created=created))

    def enter(self, run_id: str, kind: str, *, timed: bool = True) -> None:
        entered = report_pb2.StateEntered(run_id=run_id, state=self.state(kind, timed=timed))
        self._report(report_pb2.Event(state_entered=entered))

    def _report(self, event: report_pb2.Event) -> None:
        self.stream.wait_for_ack(self.stream.report(event))


def get(stubs: Stubs, run_id: str) -> Any:
    return stubs.flow_runs.GetFlowRun(flow_run_service_pb2.GetFlowRunRequest(id=run_id)).flow_run


def seconds(run: Any) -> tuple[float, float]:
    """The time from the start to the end, and the run duration."""
    taken_us = run.end_time.ToMicroseconds() - run.start_time.ToMicroseconds()
    assert run.create_time.ToMicroseconds() <= run.start_time.ToMicroseconds()
    return taken_us / 1e6, run.run_duration.ToMicroseconds() / 1e6


@AHEAD
@pytest.mark.parametrize("sends_time", [True, False])
def test_a_process_that_falls_silent(
    harness: Harness, stubs: Stubs, ahead_us: int, *, sends_time: bool
) -> None:
    run_id = new_id()
    client = Client(harness, ahead_us, sends_time=sends_time)
    client.create(run_id)
    client.enter(run_id, "RUNNING")
    harness.clock.advance(300)
    client.stream.break_off()
    while harness.connected():
        pass
    harness.wait_for_store()
    harness.pass_time(LEASE_S + 1)
    run = get(stubs, run_id)
    assert run.state.type == state_pb2.STATE_TYPE_CRASHED
    taken_s, ran_s = seconds(run)
    assert 0 <= ran_s <= taken_s
    if sends_time or not ahead_us:  # else nothing is known about the clock
        assert 200 < taken_s < 900
        assert ran_s == taken_s
        since_us = harness.clock.now_us() + ahead_us - run.start_time.ToMicroseconds()
        assert 200e6 < since_us < 900e6, "the times are on the clock of the client"


@AHEAD
def test_a_run_that_is_cancelled_after_its_process(
    harness: Harness, stubs: Stubs, ahead_us: int
) -> None:
    run_id = new_id()
    client = Client(harness, ahead_us)
    client.create(run_id)
    client.enter(run_id, "RUNNING")
    harness.clock.advance(600)
    request = flow_run_service_pb2.SetFlowRunStateRequest(
        id=run_id, state=state_pb2.State(type=state_pb2.STATE_TYPE_CANCELLED)
    )
    taken_s, ran_s = seconds(stubs.flow_runs.SetFlowRunState(request).flow_run)
    assert 500 < taken_s == ran_s < 900, "600 s, but for the time that messages were under way"
    client.stream.goodbye()


@AHEAD
def test_two_sessions_report_one_run(harness: Harness, stubs: Stubs, ahead_us: int) -> None:
    run_id = new_id()
    first = Client(harness, ahead_us)
    first.create(run_id)
    first.enter(run_id, "RUNNING")
    first.stream.goodbye()
    harness.clock.advance(300)
    second = Client(harness, -ahead_us)
    second.enter(run_id, "RUNNING")
    harness.clock.advance(400)
    second.enter(run_id, "COMPLETED")
    run = get(stubs, run_id)
    taken_s, ran_s = seconds(run)
    assert 600 < taken_s < 900
    assert 300 < ran_s < 500
    assert run.session_id == second.stream.session_id
    second.stream.goodbye()


@AHEAD
def test_events_without_a_time_get_the_services(
    harness: Harness, stubs: Stubs, ahead_us: int
) -> None:
    run_id = new_id()
    client = Client(harness, ahead_us)
    before_us = harness.clock.now_us()
    client.create(run_id, timed=False)
    client.enter(run_id, "RUNNING", timed=False)
    harness.clock.advance(2)
    client.enter(run_id, "COMPLETED", timed=False)
    record = report_pb2.Event()
    record.log.run_id, record.log.message = run_id, "hello"
    client.stream.wait_for_ack(client.stream.report(record))
    run = get(stubs, run_id)
    taken_s, ran_s = seconds(run)
    assert 2 <= taken_s == ran_s < 60
    after_us = harness.clock.now_us()
    assert before_us <= run.create_time.ToMicroseconds() <= after_us
    assert before_us <= run.end_time.ToMicroseconds() <= after_us
    (log,) = stubs.logs.ListLogs(log_service_pb2.ListLogsRequest(run_id=run_id)).logs
    assert before_us <= log.time.ToMicroseconds() <= after_us
    client.stream.goodbye()


def test_the_beginning_of_1970_is_a_time(harness: Harness, stubs: Stubs) -> None:
    run_id = new_id()
    client = Client(harness, 0)
    client.ahead_us = -harness.clock.now_us()
    created = report_pb2.RunCreated(
        run_id=run_id,
        kind=report_pb2.RUN_KIND_FLOW,
        function_name="f",
        state=state_pb2.State(type=state_pb2.STATE_TYPE_PENDING, time=Timestamp()),
    )
    client._report(report_pb2.Event(run_created=created))
    assert get(stubs, run_id).create_time.ToMicroseconds() == 0
    client.stream.goodbye()


def test_batches_say_the_time_of_the_client_as_well(harness: Harness, stubs: Stubs) -> None:
    session_id = new_id()
    for ahead_us in (HOUR_US, -HOUR_US):
        time = Timestamp()
        time.FromMicroseconds(harness.clock.now_us() + ahead_us)
        hello = report_pb2.Hello(session_id=session_id, client_time=time)
        stubs.reports.ReportBatch(pb.ReportBatchRequest(hello=hello))
        offset_us = harness.session(session_id).clock_offset_us
        assert offset_us is not None
        assert abs(offset_us + ahead_us) < 60_000_000


@pytest.mark.parametrize("seconds_", [-1, 253_402_300_800])
def test_a_client_time_that_is_none_is_refused(
    harness: Harness, stubs: Stubs, seconds_: int
) -> None:
    hello = report_pb2.Hello(session_id=new_id(), client_time=Timestamp(seconds=seconds_))
    metadata = refused(
        lambda: stubs.reports.ReportBatch(pb.ReportBatchRequest(hello=hello)),
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_FIELD",
    )
    assert metadata["field"] == "hello.client_time"
