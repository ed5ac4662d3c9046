"""Promise 5: a dead process is detected without any configuration, and a living one never is.

Each test sets either the grace period or the lease to an hour, to test the other one.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from tests.support.flow_processes import FlowProcess
from tests.support.report_client import ReportStream, created, entered, new_id, whole_run
from tests.support.run_queries import flow_history, flow_runs, task_history, task_runs, wait_until

from flowspan.v1 import state_pb2

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.service import ServiceProcess

HOUR_S = 3600.0
CRASHED = state_pb2.STATE_TYPE_CRASHED
COMPLETED = state_pb2.STATE_TYPE_COMPLETED
RUNNING = state_pb2.STATE_TYPE_RUNNING

WAITING_FLOW = """
    from flowspan import flow, task

    @task
    def wait():
        print("waiting", flush=True)
        input()
        return 42

    @flow
    def patient():
        return wait()

    print("result", patient())
"""


def flow_state(service: ServiceProcess) -> int | None:
    """Return the state type of the only flow run."""
    runs = flow_runs(service.channel)
    assert len(runs) <= 1
    return runs[0].state.type if runs else None


def wait_until_running(service: ServiceProcess) -> None:
    wait_until(
        lambda: [run.state.type for run in task_runs(service.channel)] == [RUNNING],
        "the task to be reported as running",
    )


def test_promise_dead_process_is_seen_within_the_grace(
    start_service: Callable[..., ServiceProcess], flowspan_home: Path
) -> None:
    service = start_service(lease_s=HOUR_S, grace_s=1.0)
    with FlowProcess(WAITING_FLOW, home=flowspan_home, address=service.address) as process:
        process.wait_for_line("waiting")
        wait_until_running(service)
        process.kill()
        wait_until(lambda: flow_state(service) == CRASHED, "the flow run to be Crashed")
        (flow_run,) = flow_runs(service.channel)
        (task_run,) = task_runs(service.channel)
        assert task_run.state.type == CRASHED
        assert str(process.pid) in flow_run.state.message
        assert flow_history(service.channel, flow_run.id) == ["Pending", "Running", "Crashed"]


def test_promise_dead_process_is_seen_after_the_service_was_away_too(
    start_service: Callable[..., ServiceProcess], flowspan_home: Path
) -> None:
    service = start_service(lease_s=2.0, grace_s=1.0)
    with FlowProcess(WAITING_FLOW, home=flowspan_home, address=service.address) as process:
        process.wait_for_line("waiting")
        wait_until_running(service)
        service.kill()
        process.kill()
        service.restart()
        wait_until(lambda: flow_state(service) == CRASHED, "the flow run to be Crashed")


def test_promise_dead_process_may_turn_out_to_live(
    start_service: Callable[..., ServiceProcess], flowspan_home: Path
) -> None:
    service = start_service(lease_s=1.5, grace_s=HOUR_S)
    with FlowProcess(WAITING_FLOW, home=flowspan_home, address=service.address) as process:
        process.wait_for_line("waiting")
        wait_until_running(service)
        os.kill(process.pid, signal.SIGSTOP)
        wait_until(lambda: flow_state(service) == CRASHED, "the silent run to be Crashed")
        os.kill(process.pid, signal.SIGCONT)
        process.say("")
        assert "result 42" in process.finish()
        (flow_run,) = flow_runs(service.channel)
        (task_run,) = task_runs(service.channel)
        both = ["Pending", "Running", "Crashed", "Completed"]
        assert flow_history(service.channel, flow_run.id) == both
        assert task_history(service.channel, task_run.id) == both


def test_promise_dead_process_is_not_one_that_pauses(
    start_service: Callable[..., ServiceProcess], flowspan_home: Path
) -> None:
    service = start_service(lease_s=30.0, grace_s=1.0)
    with FlowProcess(WAITING_FLOW, home=flowspan_home, address=service.address) as process:
        process.wait_for_line("waiting")
        wait_until_running(service)
        os.kill(process.pid, signal.SIGSTOP)
        # Longer than the grace period, which does not apply here, and much shorter than the lease.
        time.sleep(3.0)
        os.kill(process.pid, signal.SIGCONT)
        process.say("")
        process.finish()
        (flow_run,) = flow_runs(service.channel)
        assert flow_history(service.channel, flow_run.id) == ["Pending", "Running", "Completed"]


def test_promise_dead_process_is_none_when_the_service_restarts(
    start_service: Callable[..., ServiceProcess], flowspan_home: Path
) -> None:
    service = start_service(lease_s=2.0, grace_s=2.0)
    with FlowProcess(WAITING_FLOW, home=flowspan_home, address=service.address) as process:
        process.wait_for_line("waiting")
        wait_until_running(service)
        service.kill()
        time.sleep(3.0)  # The stored lease has expired when the service comes back.
        service.restart()
        process.say("")
        assert "result 42" in process.finish()
        (flow_run,) = flow_runs(service.channel)
        assert flow_history(service.channel, flow_run.id) == ["Pending", "Running", "Completed"]


def test_promise_dead_process_does_not_undo_what_it_had_ended(
    start_service: Callable[..., ServiceProcess],
) -> None:
    service = start_service(lease_s=HOUR_S, grace_s=1.0)
    ended, open_one, by_request = new_id(), new_id(), new_id()
    stream = ReportStream(service.channel)
    events = [*whole_run(ended), created(open_one), created(by_request)]
    events += [entered(by_request, "RUNNING"), entered(by_request, "CANCELLED")]
    stream.wait_for_ack(stream.report(*events))
    stream.break_off()

    def states() -> dict[str, int]:
        return {run.id: run.state.type for run in flow_runs(service.channel)}

    # A session is judged as a whole: the others would have crashed along with the open run.
    wait_until(lambda: states()[open_one] == CRASHED, "the open run to be Crashed")
    assert states()[ended] == COMPLETED
    assert flow_history(service.channel, ended) == ["Pending", "Running", "Completed"]
    assert flow_history(service.channel, by_request) == ["Pending", "Running", "Cancelled"]


def test_promise_dead_process_that_says_goodbye_leaves_nothing_open(
    start_service: Callable[..., ServiceProcess],
) -> None:
    service = start_service(lease_s=HOUR_S, grace_s=HOUR_S)
    left = new_id()
    stream = ReportStream(service.channel)
    stream.wait_for_ack(stream.report(created(left), entered(left, "RUNNING")))
    stream.goodbye()
    assert flow_history(service.channel, left) == ["Pending", "Running", "Crashed"]
