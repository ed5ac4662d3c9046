"""The machine's clock is set back while a flow runs: times and durations do not show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.flow_processes import run_code
from tests.support.run_queries import flow_runs, logs, task_runs

if TYPE_CHECKING:
    from tests.support.service import ServiceProcess

PROGRAM = """
    import time
    from flowspan import clock, flow, get_run_logger, task
    from flowspan.task_runners import {runner}

    real, shift_ns = clock._wall_ns, 0
    clock._wall_ns = lambda: real() + shift_ns

    @task
    def step(n):
        get_run_logger().info("in %s", n)
        return n

    @flow(task_runner={runner}(max_workers=1))
    def stepping():
        global shift_ns
        step(1)
        step.submit(2).result()
        get_run_logger().info("before")
        shift_ns = -3600 * 10**9
        get_run_logger().info("after")
        step(3)
        step.submit(4).result()

    stepping()
    stepping()
"""


@pytest.mark.parametrize("runner", ["ThreadPoolTaskRunner", "ProcessPoolTaskRunner"])
def test_no_time_goes_back_with_the_clock(runner: str, service: ServiceProcess) -> None:
    code = PROGRAM.format(runner=runner)
    run_code(code, home=service.home / "client", address=service.address)
    runs = flow_runs(service.channel)
    assert len(runs) == 2
    runs += sorted(task_runs(service.channel), key=lambda run: run.id)
    for run in runs:
        times = [run.create_time, run.start_time, run.end_time]
        moments = [time.ToNanoseconds() for time in times]
        assert moments == sorted(moments)
        assert moments[-1] - moments[0] < 1800 * 10**9
    first, second = runs[:2]
    assert first.end_time.ToNanoseconds() <= second.create_time.ToNanoseconds()
    for run in (first, second):
        moments = [record.time.ToNanoseconds() for record in logs(service.channel, run.id)]
        assert moments == sorted(moments)
        assert run.create_time.ToNanoseconds() <= moments[0]
