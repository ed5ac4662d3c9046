"""Promise 6 at full size: the service is killed in the middle of 10,000 tasks and restarted.

Nothing is lost or duplicated (the history checker at the end of the test checks every run). The
flow is not affected: it returns the same result and prints nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.flow_processes import FlowProcess
from tests.support.run_queries import count_task_runs, flow_history, flow_runs

from flowspan.v1 import state_pb2

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.service import ServiceProcess

TASKS = 10_000
COMPLETED = state_pb2.STATE_TYPE_COMPLETED

SEQUENTIAL = f"""
    from flowspan import flow, task

    @task
    def square(number):
        return number * number

    @flow
    def census():
        total = 0
        for number in range({TASKS}):
            if number == 4000:
                print("kill it", flush=True)
                input()
            if number == 8000:
                print("start it", flush=True)
            total += square(number)
        return total

    print("total", census())
"""

MAPPED = f"""
    import threading

    from flowspan import flow, task

    begun = 0
    lock = threading.Lock()

    @task
    def square(number):
        global begun
        with lock:
            begun += 1
            mine = begun
        if mine == 4000:
            print("kill it", flush=True)
            input()
        if mine == 8000:
            print("start it", flush=True)
        return number * number

    @flow
    def census():
        return sum(square.map(range({TASKS})).result())

    print("total", census())
"""


@pytest.mark.slow
@pytest.mark.parametrize("code", [SEQUENTIAL, MAPPED], ids=["sequential", "mapped"])
def test_promise_flow_outlives_service_killed_in_the_middle(
    code: str, service: ServiceProcess, flowspan_home: Path
) -> None:
    with FlowProcess(code, home=flowspan_home, address=service.address) as process:
        process.wait_for_line("kill it")
        service.kill()
        process.say("")
        process.wait_for_line("start it")
        service.restart()
        output = process.finish()
        assert f"total {sum(number * number for number in range(TASKS))}" in output
    assert count_task_runs(service.channel) == {COMPLETED: TASKS}
    (flow_run,) = flow_runs(service.channel)
    assert flow_history(service.channel, flow_run.id) == ["Pending", "Running", "Completed"]


def test_promise_flow_outlives_service_that_never_comes_back(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    """The undelivered events are on disk, and the next process of the home delivers them."""
    code = """
        from flowspan import flow, task

        @task
        def add(a, b):
            return a + b

        @flow
        def sums():
            print("kill it", flush=True)
            input()
            return [add(1, 2), add(3, 4)]

        print("sums", sums())
    """
    again = """
        from flowspan import flow

        @flow
        def next_one():
            return "done"

        print(next_one())
    """
    env = {"FLOWSPAN_FLUSH_TIMEOUT_S": "1"}
    with FlowProcess(code, home=flowspan_home, address=service.address, env=env) as process:
        process.wait_for_line("kill it")
        service.kill()
        process.say("")
        assert "sums [3, 7]" in process.finish()
        assert "spool" in process.errors, "the program did not report its pending events"
    service.restart()
    with FlowProcess(again, home=flowspan_home, address=service.address) as process:
        assert "done" in process.finish()
    first, second = flow_runs(service.channel)
    assert flow_history(service.channel, first.id)[-1] == "Completed"
    assert flow_history(service.channel, second.id) == ["Pending", "Running", "Completed"]
    assert count_task_runs(service.channel) == {COMPLETED: 2}
