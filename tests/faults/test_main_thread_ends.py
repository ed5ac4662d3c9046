"""Flows in threads that outlive the main thread; from Python 3.12 on, none can start then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.flow_processes import FlowProcess, run_code
from tests.support.run_queries import flow_history, flow_runs, task_runs

from flowspan.config import Config
from flowspan.reporter import list_spools

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.service import ServiceProcess

PROGRAM = """
    import os, signal, threading, time
    from flowspan import flow, get_run_logger, task

    @task
    def step():
        get_run_logger().info("a line")

    @flow
    def small():
        step()

    @flow
    def dies():
        os.kill(os.getpid(), signal.SIGKILL)

    def go():
        threading.main_thread().join()
        for _ in range(3):
            small()
        {after}

    {before}
    threading.Thread(target=go).start()
"""
PUSH = """
    from flowspan.config import get_config
    from flowspan.reporter import push_spools
    results = push_spools(get_config())
    assert all(result.is_done for result in results), results
"""


def program(*, before: str = "", after: str = "") -> str:
    return PROGRAM.format(before=before, after=after)


def all_completed(service: ServiceProcess, count: int) -> bool:
    histories = [flow_history(service.channel, run.id) for run in flow_runs(service.channel)]
    return (
        histories == [["Pending", "Running", "Completed"]] * count
        and len(task_runs(service.channel)) == count
    )


@pytest.mark.parametrize("before", ["", "small()"], ids=["first", "later"])
def test_what_they_report_arrives(
    before: str, service: ServiceProcess, flowspan_home: Path
) -> None:
    run_code(program(before=before), home=flowspan_home, address=service.address)
    assert all_completed(service, 4 if before else 3)
    assert list_spools(Config(home=flowspan_home)) == []


def test_it_arrives_at_a_local_service(flowspan_home: Path) -> None:
    run_code(program(), home=flowspan_home)
    code = """
        from flowspan import get_client
        with get_client(sync_client=True) as client:
            print([run.state.name for run in client.read_flow_runs()])
    """
    assert "['Completed', 'Completed', 'Completed']" in run_code(code, home=flowspan_home)


def test_it_is_kept_while_the_service_is_away(service: ServiceProcess, flowspan_home: Path) -> None:
    service.kill()
    env = {"FLOWSPAN_FLUSH_TIMEOUT_S": "0.2"}
    with FlowProcess(program(), home=flowspan_home, address=service.address, env=env) as process:
        process.finish()
        assert "spool push" in process.errors
    service.restart()
    run_code(PUSH, home=flowspan_home, address=service.address)
    assert all_completed(service, 3)


def test_a_kill_leaves_a_trace(service: ServiceProcess, flowspan_home: Path) -> None:
    with FlowProcess(
        program(after="dies()"), home=flowspan_home, address=service.address
    ) as process:
        process.finish(expected_code=None)
    run_code(PUSH, home=flowspan_home, address=service.address)
    (run,) = (run for run in flow_runs(service.channel) if run.flow_name == "dies")
    assert flow_history(service.channel, run.id) == ["Pending", "Running", "Crashed"]
