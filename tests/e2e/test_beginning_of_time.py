"""The start of 1970 is a valid time: a zero is not a missing value."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from tests.support.api_clients import faces
from tests.support.flow_processes import run_code

from flowspan.client import (
    ArtifactCreated,
    LogWritten,
    RunCreated,
    RunFilter,
    RunKind,
    StateEntered,
)
from flowspan.exceptions import ApiError
from flowspan.states import Completed, Running, Scheduled

if TYPE_CHECKING:
    from tests.support.service import ServiceProcess

    from flowspan.testing import Harness

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CLOCKS_NS = [0, 1, 999, 1_000, 999_999_999, -1, -(10**18), -(2**62)]


@pytest.mark.parametrize(
    ("now_ns", "tracing"), [*((each, "true") for each in CLOCKS_NS), (0, "false"), (-1, "false")]
)
def test_a_run_at_the_beginning_of_time_or_before_is_stored(
    now_ns: int, tracing: str, flowspan_harness: Harness
) -> None:
    """Times before 1970, which a Unix clock cannot represent, count as its start."""
    code = f"""
        import logging, time
        from flowspan import clock
        time.time_ns = clock._wall_ns = lambda: {now_ns}
        clock._elapsed_ns = lambda: 0
        time.time = lambda: {now_ns} / 1e9
        from flowspan import flow, get_client, get_run_logger, task
        from flowspan.artifacts import create_progress_artifact, update_progress_artifact

        @task(retries=1, persist_result=True)
        def step(x):
            get_run_logger().info("step")
            return x

        @flow
        def early():
            made = create_progress_artifact(1.0, key="early")
            update_progress_artifact(made, 2.0)
            return step.map([1, 2]).result()

        assert early() == [1, 2]
        print("done")
    """
    env = {"FLOWSPAN_TRACING": tracing, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    address = flowspan_harness.address
    output = run_code(code, home=flowspan_harness.home / "client", address=address, env=env)
    assert output.split() == ["done"]
    latest = EPOCH + timedelta(seconds=1)
    for ask in faces(address):
        (run,) = ask.read_flow_runs()
        assert run.state.is_completed()
        for at in (run.created_at, run.started_at, run.ended_at, run.state.entered_at):
            assert at is not None
            assert EPOCH <= at < latest
        if now_ns == 0:
            assert run.created_at == run.started_at == run.ended_at == EPOCH
        tasks = ask.read_task_runs()
        assert [each.state.name for each in tasks] == ["Completed"] * 2
        records = ask.read_logs(run.id, include_descendants=True)
        assert "step" in [each.message for each in records]
        assert all(each.logged_at is not None for each in records)
        found = ask.read_latest_artifact("early")
        assert found.data.json() == 2.0
        assert EPOCH <= found.created_at < latest


def test_the_beginning_of_time_as_an_argument(service: ServiceProcess) -> None:
    for ask in faces(service.address):
        planned = ask.create_flow_run("planned", state=Scheduled(scheduled_time=EPOCH))
        assert planned.state.scheduled_at == EPOCH
        made = RunCreated(kind=RunKind.FLOW, function_name="reported", at=EPOCH)
        answer = ask.report_batch(
            uuid4(),
            [
                made,
                StateEntered(run_id=made.run_id, state=Running(), at=EPOCH),
                LogWritten(run_id=made.run_id, message="early", at=EPOCH),
                ArtifactCreated(type="link", data="x", run_id=made.run_id, at=EPOCH),
                StateEntered(run_id=made.run_id, state=Completed(), at=EPOCH),
            ],
            goodbye=True,
        )
        assert answer.stored_sequence == 5
        assert not [each for each in answer.verdicts.values() if not each.is_accepted]
        run = ask.read_flow_run(made.run_id)
        assert run.created_at == run.started_at == run.ended_at == EPOCH
        (record,) = ask.read_logs(made.run_id)
        assert record.logged_at == EPOCH
        early = RunFilter(function_names=("reported",), created_after=EPOCH)
        assert run in ask.read_flow_runs(early)
        assert ask.read_flow_runs(RunFilter(created_before=EPOCH)) == []


def test_a_time_before_1970_is_refused_by_name(service: ServiceProcess) -> None:
    before = EPOCH - timedelta(microseconds=1)
    for ask in faces(service.address):
        made = RunCreated(kind=RunKind.FLOW, function_name="reported", at=before)
        with pytest.raises(ApiError, match="1970"):
            ask.report_batch(uuid4(), [made])
