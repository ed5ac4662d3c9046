"""Worker processes do not outlive their parent, and print nothing when it is stopped."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from tests.support.flow_processes import FlowProcess
from tests.support.run_queries import flow_runs, task_runs, wait_until

from flowspan.v1 import state_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.service import ServiceProcess

CANCELLED = state_pb2.STATE_TYPE_CANCELLED
CRASHED = state_pb2.STATE_TYPE_CRASHED

PROGRAM = """
    import asyncio, os, subprocess, sys, time
    from flowspan import flow, task
    from flowspan.task_runners import ProcessPoolTaskRunner

    def say(line):
        os.write(1, f"{line}\\n".encode())  # one write, as two processes print

    @flow
    def nested():
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        say(f"pids {os.getpid()} {child.pid}")
        time.sleep(600)

    @task
    def sleeps():
        nested()

    @task
    async def awaits():
        say(f"pids {os.getpid()}")
        await asyncio.sleep(600)

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=2))
    def outer():
        sleeps.submit(), awaits.submit()

    outer()
"""


def pids_of(process: FlowProcess) -> list[int]:
    """Return the workers' process ids, and the id of a process that one of them started."""
    return [int(pid) for _ in range(2) for pid in process.wait_for_line("pids").split()[1:]]


def is_gone(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return False
    return True


def all_runs_end(service: ServiceProcess, count: int) -> Callable[[], bool]:
    def have_ended() -> bool:
        runs = [*flow_runs(service.channel), *task_runs(service.channel)]
        final = {CANCELLED, CRASHED}
        return len(runs) == count and all(run.state.type in final for run in runs)

    return have_ended


def test_promise_ctrl_c_ends_everything_without_a_word_from_the_workers(
    service: ServiceProcess,
) -> None:
    env = {"FLOWSPAN_CONSOLE_LOG": "false"}
    home = service.home / "client"
    with FlowProcess(PROGRAM, home=home, address=service.address, env=env) as process:
        pids = pids_of(process)
        process.process.send_signal(signal.SIGINT)
        process.finish(expected_code=-signal.SIGINT)
    assert process.errors.count("Traceback") == 1
    assert process.errors.rstrip().endswith("KeyboardInterrupt")
    assert "<string>" not in process.errors, "standard error must not show the worker's program"
    ends = {run.flow_name: run.state.type for run in flow_runs(service.channel)}
    assert ends == {"outer": CRASHED, "nested": CANCELLED}
    assert {run.state.type for run in task_runs(service.channel)} == {CANCELLED}
    for pid in (pids[0], pids[-1]):
        wait_until(lambda pid=pid: is_gone(pid), f"the end of process {pid}")


def test_promise_a_killed_parent_leaves_no_orphans(
    start_service: Callable[..., ServiceProcess],
) -> None:
    service = start_service(grace_s=0.2)
    with FlowProcess(PROGRAM, home=service.home / "client", address=service.address) as process:
        pids = pids_of(process)
        assert len(pids) == 3
        wait_until(lambda: len(flow_runs(service.channel)) == 2, "both flow runs to exist")
        process.kill()
        for pid in pids:
            wait_until(lambda pid=pid: is_gone(pid), f"the end of process {pid}")
    wait_until(all_runs_end(service, 4), "the runs to be Crashed")
    assert all(run.state.type == CRASHED for run in flow_runs(service.channel))
