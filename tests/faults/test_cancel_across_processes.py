"""A cancellation reaches the runs that a flow called in another process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.flow_processes import FlowProcess
from tests.support.report_client import ReportStream, created, entered, new_id
from tests.support.run_queries import flow_history, flow_runs, task_history, task_runs, wait_until

from flowspan.client import get_client
from flowspan.v1 import state_pb2, verdict_pb2

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.service import ServiceProcess

RUNNING = state_pb2.STATE_TYPE_RUNNING

CALLER = """
    import asyncio
    from flowspan import flow, task

    @task
    async def waits():
        await asyncio.sleep(3600)

    @flow
    async def caller():
        await waits()

    async def main():
        await caller(return_state=True)

    asyncio.run(main())
    print("ended", flush=True)
"""


def running_task(service: ServiceProcess) -> tuple[str, str]:
    """Return the ids of the only flow run and of its task run, which is running."""

    def ids() -> tuple[str, str] | None:
        found = task_runs(service.channel)
        if [run.state.type for run in found] != [RUNNING]:
            return None
        return flow_runs(service.channel)[0].id, found[0].id

    found: tuple[str, str] = wait_until(ids, "the task to be reported as running")
    return found


@pytest.mark.parametrize("kill", [False, True], ids=["service lives", "service is killed"])
def test_child_in_another_process_is_cancelled_with_its_caller(
    start_service: Callable[..., ServiceProcess], tmp_path: Path, kill: bool
) -> None:
    service = start_service()
    with FlowProcess(CALLER, home=tmp_path / "caller", address=service.address) as process:
        flow_id, task_id = running_task(service)
        other = ReportStream(service.channel)
        child, below = new_id(), new_id()
        other.wait_for_ack(
            other.report(
                created(child, parent_run_id=task_id),
                entered(child, "RUNNING"),
                created(below, kind="TASK", parent_run_id=child),
                entered(below, "RUNNING"),
            )
        )
        with get_client(sync_client=True, address=service.address) as client:
            answer = client.cancel_flow_run(flow_id, reason="enough")
        assert answer.verdict.is_accepted
        assert answer.asked_run_count == 2
        assert other.receive("command").cancel_run.run_id == child
        if kill:
            # The command is still open, and so is the cancellation.
            service.kill()
            service.start()
            other = ReportStream(service.channel, session_id=other.session_id)
            assert other.receive("command").cancel_run.run_id == child
        other.wait_for_ack(other.report(entered(below, "CANCELLED"), entered(child, "CANCELLED")))
        process.wait_for_line("ended")
        third = ReportStream(service.channel)
        third.wait_for_ack(third.report(created(new_id(), parent_run_id=child)))
        (verdict,) = third.verdicts
        assert (verdict.kind, verdict.rule) == (
            verdict_pb2.VERDICT_KIND_ABORT,
            "parent_is_cancelled",
        )
        for stream in (other, third):
            stream.goodbye()
    assert flow_history(service.channel, child)[-2:] == ["Cancelling", "Cancelled"]
    assert task_history(service.channel, below)[-1] == "Cancelled"
    assert flow_history(service.channel, flow_id)[-2:] == ["Cancelling", "Cancelled"]
    assert task_history(service.channel, task_id)[-1] == "Cancelled"
