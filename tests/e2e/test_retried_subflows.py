"""Subflows that a retried flow reuses, as the service stores them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan import flow, get_client, task

if TYPE_CHECKING:
    from flowspan.testing import Harness


def test_a_kept_subflow_is_a_cached_run_without_tasks(flowspan_harness: Harness) -> None:
    attempts: list[int] = []

    @task
    def pay(card: int) -> int:
        return card

    @flow(flow_run_name="charge-{card}")
    def charge(card: int) -> int:
        return pay(card)

    @flow(retries=1)
    def month() -> int:
        attempts.append(1)
        charge(1)
        if len(attempts) == 1:
            raise ValueError("once")
        return charge(2)

    assert month() == 2
    with get_client(sync_client=True) as client:
        runs = sorted(client.read_flow_runs(), key=lambda run: run.created_at)
        charges = [run for run in runs if run.name.startswith("charge")]
        states = [(run.name, run.state.name, run.state.message) for run in charges]
        tasks = [run.flow_run_id for run in client.read_task_runs()]
    assert states == [
        ("charge-1", "Completed", ""),
        ("charge-1", "Cached", "Reused from an earlier attempt of the flow run."),
        ("charge-2", "Completed", ""),
    ]
    assert sorted(map(str, tasks)) == sorted([str(charges[0].id), str(charges[2].id)])
