"""The service's messages to a process: cancel, abort, drain, and events it does not know."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from tests.support.engine_events import (
    COMPLETED,
    FAILED,
    RUNNING,
    Journal,
    created,
    entered,
    flow_record,
    logged,
)
from tests.support.report_client import ReportStream
from tests.support.run_queries import flow_history, flow_runs, logs, wait_until

from flowspan.config import Config
from flowspan.core.commands import CANCEL, Command
from flowspan.core.events import STATE, FailureInfo
from flowspan.reporter import Reporter
from flowspan.v1 import flow_run_service_pb2, flow_run_service_pb2_grpc, state_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.service import ServiceProcess

TIMEOUT_S = 60.0


@pytest.fixture
def reporter(service: ServiceProcess, flowspan_home: Path) -> Iterator[Reporter]:
    reporter = Reporter(Config(address=service.address, home=flowspan_home))
    yield reporter
    reporter.close()


class Stopped:
    """Takes the commands of a run."""

    def __init__(self) -> None:
        self.reason = ""
        self.is_set = threading.Event()

    def __call__(self, command: Command) -> bool:
        assert command.kind == CANCEL
        self.reason = command.payload
        self.is_set.set()
        return True


def cancel(service: ServiceProcess, run_id: str) -> None:
    state = state_pb2.State(type=state_pb2.STATE_TYPE_CANCELLING, message="it is late")
    flow_run_service_pb2_grpc.FlowRunServiceStub(service.channel).SetFlowRunState(
        flow_run_service_pb2.SetFlowRunStateRequest(id=run_id, state=state)
    )


def test_a_run_is_told_to_stop_when_somebody_asks_for_it(
    service: ServiceProcess, reporter: Reporter
) -> None:
    run_id, other_id = Journal(reporter).begin(), Journal(reporter).begin()
    stopped, other = Stopped(), Stopped()
    reporter.watch_commands(run_id, stopped)
    reporter.watch_commands(other_id, other)
    assert reporter.flush(TIMEOUT_S).acked
    cancel(service, run_id)
    assert stopped.is_set.wait(TIMEOUT_S)
    assert stopped.reason == "it is late"
    assert not other.is_set.is_set()


def test_a_run_is_told_to_stop_after_a_reconnect(
    service: ServiceProcess, reporter: Reporter
) -> None:
    run_id = Journal(reporter).begin()
    assert reporter.flush(TIMEOUT_S).acked
    cancel(service, run_id)
    stopped = Stopped()
    reporter.watch_commands(run_id, stopped)
    service.restart()
    assert stopped.is_set.wait(TIMEOUT_S)


def test_a_run_that_was_forgotten_or_stops_badly_harms_nobody(
    service: ServiceProcess, reporter: Reporter, caplog: pytest.LogCaptureFixture
) -> None:
    forgotten, bad = Journal(reporter).begin(), Journal(reporter).begin()

    def fail(command: Command) -> bool:
        raise RuntimeError(command.payload)

    stopped = Stopped()
    reporter.watch_commands(forgotten, stopped)
    reporter.forget(forgotten)
    reporter.forget(forgotten)
    reporter.watch_commands(bad, fail)
    assert reporter.flush(TIMEOUT_S).acked
    cancel(service, forgotten)
    cancel(service, bad)
    wait_until(lambda: bad in caplog.text, "the warning")
    Journal(reporter).run()
    assert reporter.flush(TIMEOUT_S).acked
    assert not stopped.is_set.is_set()


def test_a_run_that_was_deleted_is_told_to_stop(
    service: ServiceProcess, reporter: Reporter, caplog: pytest.LogCaptureFixture
) -> None:
    run_id = Journal(reporter).begin()
    stopped = Stopped()
    reporter.watch_commands(run_id, stopped)
    assert reporter.flush(TIMEOUT_S).acked
    flow_run_service_pb2_grpc.FlowRunServiceStub(service.channel).DeleteFlowRun(
        flow_run_service_pb2.DeleteFlowRunRequest(id=run_id, force=True)
    )
    reporter.emit(entered(run_id, COMPLETED, "Completed"))
    assert reporter.flush(TIMEOUT_S).acked
    assert stopped.is_set.wait(TIMEOUT_S)
    assert "deleted" in stopped.reason
    assert run_id in caplog.text


def test_commands_to_runs_without_an_inbox_go_to_the_search(
    service: ServiceProcess, reporter: Reporter
) -> None:
    """A cancel, and the verdict ABORT, which stops a run like a cancel."""
    cancelled, deleted = Journal(reporter).begin(), Journal(reporter).begin()
    found: dict[str, str] = {}
    reporter.search = lambda command: found.update({command.run_id: command.payload})
    assert reporter.flush(TIMEOUT_S).acked
    cancel(service, cancelled)
    wait_until(lambda: cancelled in found, "the cancel")
    flow_run_service_pb2_grpc.FlowRunServiceStub(service.channel).DeleteFlowRun(
        flow_run_service_pb2.DeleteFlowRunRequest(id=deleted, force=True)
    )
    found.pop(deleted, None)  # the deletion itself may ask for it, too
    reporter.emit(entered(deleted, COMPLETED, "Completed"))
    assert reporter.flush(TIMEOUT_S).acked
    wait_until(lambda: deleted in found, "the verdict")
    assert found[cancelled] == "it is late"
    assert "deleted" in found[deleted]


def test_a_state_against_the_rules_is_said_and_changes_nothing(
    service: ServiceProcess, reporter: Reporter, caplog: pytest.LogCaptureFixture
) -> None:
    run_ids = [Journal(reporter).run(log_count=0) for _ in range(30)]
    for run_id in run_ids:
        reporter.emit(entered(run_id, COMPLETED, "Again"))
    assert reporter.flush(TIMEOUT_S).acked
    assert flow_history(service.channel, run_ids[0]) == ["Pending", "Running", "Completed"]
    warnings = [record for record in caplog.records if "terminal_is_final" in record.getMessage()]
    assert 1 < len(warnings) < 15, "expected several warnings, but not one per event"


def test_an_event_that_the_service_cannot_read_is_left_out_and_said(
    service: ServiceProcess, reporter: Reporter, caplog: pytest.LogCaptureFixture
) -> None:
    first = Journal(reporter).run()
    reporter.emit(created(flow_record("no-uuid")))
    second = Journal(reporter).run()
    assert reporter.flush(TIMEOUT_S).acked
    assert "dropped" in caplog.text
    assert {run.id for run in flow_runs(service.channel)} == {first, second}
    for run_id in (first, second):
        assert flow_history(service.channel, run_id) == ["Pending", "Running", "Completed"]


def test_nul_characters_cost_no_run(
    service: ServiceProcess, reporter: Reporter, caplog: pytest.LogCaptureFixture
) -> None:
    record = flow_record(function_name="na\0me", run_name="\0", tags=("t\0",), version="\0")
    reporter.emit(created(record))
    reporter.emit((STATE, record.id, 1, RUNNING, "Run\0ning", "mess\0age", 10**18, None, None))
    reporter.emit(logged(record.id, "one\0two"))
    failure = FailureInfo("E\0", "m\0", "s\0")
    reporter.emit(entered(record.id, FAILED, "Failed", failure=failure))
    assert reporter.flush(TIMEOUT_S).acked
    (run,) = flow_runs(service.channel)
    assert (run.flow_name, run.name, list(run.tags)) == ("na␀me", "␀", ["t␀"])
    assert flow_history(service.channel, run.id) == ["Pending", "Run␀ning", "Failed"]
    assert run.state.failure.message == "m␀"
    assert [each.message for each in logs(service.channel, run.id)] == ["one␀two"]
    assert not caplog.records


def test_a_service_that_stops_is_found_again(
    service: ServiceProcess, reporter: Reporter, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(reporter)
    journal.run()
    assert reporter.flush(TIMEOUT_S).acked
    assert service.stop() == 0
    journal.run()
    service.start()
    assert reporter.flush(TIMEOUT_S).acked
    journal.check(service.channel)
    assert not caplog.records, "a restart must not be logged"


def session_of(reporter: Reporter, service: ServiceProcess) -> ReportStream:
    """Open another connection of the reporter's own session."""
    return ReportStream(
        service.channel, session_id=reporter.session_id, secret=reporter.session_secret
    )


def test_a_session_that_an_old_connection_took_is_taken_back(
    service: ServiceProcess, reporter: Reporter, caplog: pytest.LogCaptureFixture
) -> None:
    """A connection that this process gave up may reach the service late and take the session."""
    journal = Journal(reporter)
    journal.run()
    assert reporter.flush(TIMEOUT_S).acked
    other = session_of(reporter, service)
    assert other.welcome.resume_after == 5
    journal.run()
    assert reporter.flush(TIMEOUT_S).acked
    journal.check(service.channel)
    assert not caplog.records, "taking the session back must not be logged"


@pytest.mark.slow
def test_a_session_that_another_process_takes_again_and_again_is_not_fought_for(
    service: ServiceProcess, reporter: Reporter, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(reporter)
    journal.run()
    assert reporter.flush(TIMEOUT_S).acked
    while "gave the session to another connection" not in caplog.text:
        other = session_of(reporter, service)
        assert other.welcome.resume_after == 5
    journal.run()
    outcome = reporter.flush(0.5)
    assert not outcome.acked
    assert outcome.spooled
    # The session comes back some time after the other connection is gone.
    other.break_off()
    wait_until(lambda: reporter.flush(1.0).acked, "all to be acked")
    journal.check(service.channel)


def test_promise_an_abort_whose_ack_is_lost_stops_its_run_once(
    start_service: Callable[..., ServiceProcess],
    flowspan_home: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The service stores the verdict and dies before its ack."""
    service = start_service(crash_point="before_ack:2")
    reporter = Reporter(Config(address=service.address, home=flowspan_home))
    run_id = Journal(reporter).begin()
    stops: list[Command] = []
    reporter.watch_commands(run_id, lambda command: stops.append(command) or True)
    assert reporter.flush(TIMEOUT_S).acked
    flow_run_service_pb2_grpc.FlowRunServiceStub(service.channel).DeleteFlowRun(
        flow_run_service_pb2.DeleteFlowRunRequest(id=run_id, force=True)
    )
    stops.clear()  # the deletion itself may ask for it, too
    reporter.emit(entered(run_id, COMPLETED, "Completed"))
    assert service.wait() == -9
    assert stops == []
    service.restart()
    wait_until(lambda: stops, "the verdict")
    assert "deleted" in stops[0].payload
    assert reporter.flush(TIMEOUT_S).acked
    service.restart()
    Journal(reporter).run()
    assert reporter.flush(TIMEOUT_S).acked
    reporter.close()
    assert len(stops) == 1
    assert caplog.text.count(f"stopping run {run_id}") == 1
