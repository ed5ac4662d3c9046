"""Expected types of the two clients; read by type checkers, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import assert_type

from flowspan import get_client
from flowspan.client import (
    CancelCommand,
    Change,
    FlowRun,
    FlowspanClient,
    LogRecord,
    ReportAnswer,
    RunCreated,
    RunKind,
    RunSnapshot,
    SnapshotEnd,
    StateAnswer,
    StateType,
    SyncFlowspanClient,
    TaskRun,
)


def plain(run_id: str) -> None:
    assert_type(get_client(sync_client=True), SyncFlowspanClient)
    with get_client(sync_client=True) as client:
        assert_type(client, SyncFlowspanClient)
        assert_type(client.with_options(timeout_s=3), SyncFlowspanClient)
        assert_type(client.read_flow_run(run_id), FlowRun)
        assert_type(client.read_flow_run(run_id).state.type, StateType)
        assert_type(client.read_task_runs(limit=3), Iterator[TaskRun])
        assert_type(client.watch(), Iterator[RunSnapshot | SnapshotEnd | Change])
        _, run = client.set_flow_run_state(run_id, StateType.CANCELLING)
        assert_type(run, FlowRun)
        created = RunCreated(kind=RunKind.FLOW, function_name="f")
        answer = client.report_batch(run_id, [created], lease_s=3)
        assert_type(answer, ReportAnswer)
        assert_type(answer.commands, tuple[CancelCommand, ...])
        client.read_flow_run()  # type: ignore[call-arg]
        client.read_flow_run(3)  # type: ignore[arg-type]
        client.read_flow_runs(nonsense=3)  # type: ignore[call-arg]


async def asynchronous(run_id: str) -> None:
    assert_type(get_client(), FlowspanClient)
    async with get_client() as client:
        assert_type(client, FlowspanClient)
        assert_type(await client.read_flow_run(run_id), FlowRun)
        assert_type(await client.read_task_runs(limit=3), list[TaskRun])
        async for run in client.read_task_runs():
            assert_type(run, TaskRun)
        assert_type(client.tail_logs(run_id), AsyncIterator[LogRecord])
        answer = await client.set_task_run_state(run_id, StateType.CANCELLING)
        assert_type(answer, StateAnswer[TaskRun])
        await client.read_flow_run()  # type: ignore[call-arg]
