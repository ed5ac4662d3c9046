"""Artifacts of flows and tasks arrive at a real service and can be read back."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.flow_processes import FlowProcess, run_code
from tests.support.run_queries import flow_runs, task_runs
from tests.support.version_skew import UNKNOWN_BYTES, SkewProxy, replaying

from flowspan import get_client
from flowspan.artifacts import Artifact
from flowspan.client import ArtifactFilter
from flowspan.exceptions import ApiError, ServiceUnavailableError
from flowspan.v1 import report_pb2, report_service_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from tests.support.service import ServiceProcess

    from flowspan.client import SyncFlowspanClient

SYNC = """
    from flowspan import flow, task
    from flowspan.artifacts import (
        Artifact, create_image_artifact, create_link_artifact, create_markdown_artifact,
        create_progress_artifact, create_table_artifact, update_progress_artifact,
    )

    @task
    def measure(rows):
        progress = create_progress_artifact(0, description="measuring")
        for number in range(1, 5):
            update_progress_artifact(progress, number * 25)
        create_table_artifact(rows, key="rows")
        create_link_artifact("https://x/y", "here")

    @flow
    def report():
        measure([{"a": 1}, {"a": float("nan")}])
        create_markdown_artifact("# one", key="summary", description="of the day")
        create_markdown_artifact("# two", key="summary")
        create_image_artifact("https://x/y.png")
        # The run's earlier artifacts can be read at once.
        latest = Artifact.get("summary")
        assert latest.data == "# two", latest.data
        assert Artifact.get("nothing") is None
        found, created = Artifact.get_or_create("summary", data="other", type="markdown")
        assert (found.id, created) == (latest.id, False)
        new, created = Artifact.get_or_create("new", description="d", data={"x": 1}, type="own")
        assert created and new.id and Artifact.get("new").value == {"x": 1}

    report()
"""

ASYNC = """
    import asyncio
    from flowspan import flow, task
    from flowspan.artifacts import (
        Artifact, acreate_image_artifact, acreate_link_artifact, acreate_markdown_artifact,
        acreate_progress_artifact, acreate_table_artifact, aupdate_progress_artifact,
    )

    @task
    async def measure(rows):
        progress = await acreate_progress_artifact(0, description="measuring")
        for number in range(1, 5):
            await aupdate_progress_artifact(progress, number * 25)
        await acreate_table_artifact(rows, key="rows")
        await acreate_link_artifact("https://x/y", "here")

    @flow
    async def report():
        await measure([{"a": 1}, {"a": float("nan")}])
        await acreate_markdown_artifact("# one", key="summary", description="of the day")
        await acreate_markdown_artifact("# two", key="summary")
        await acreate_image_artifact("https://x/y.png")
        latest = await Artifact.aget("summary")
        assert latest.data == "# two", latest.data
        assert (await Artifact.get("summary")).id == latest.id, "as in Prefect"
        assert await Artifact.aget("nothing") is None
        found, created = await Artifact.aget_or_create("summary", data="other", type="markdown")
        assert (found.id, created) == (latest.id, False)
        new, created = await Artifact.get_or_create("new", data={"x": 1}, type="own")
        assert created and new.id and (await Artifact.aget("new")).value == {"x": 1}

    asyncio.run(report())
"""


@pytest.fixture
def client(service: ServiceProcess) -> Iterable[SyncFlowspanClient]:
    with get_client(sync_client=True, address=service.address) as client:
        yield client


def shown(client: SyncFlowspanClient, **wanted: Any) -> list[tuple[str, Any]]:
    """Return type and value of artifacts, oldest first."""
    found = client.read_artifacts(ArtifactFilter(**wanted), oldest_first=True)
    return [(each.type, each.data.json()) for each in found]


@pytest.mark.parametrize("code", [SYNC, ASYNC], ids=["sync", "async"])
def test_flows_and_tasks_make_artifacts(
    service: ServiceProcess, client: SyncFlowspanClient, code: str
) -> None:
    run_code(code, home=service.home / "client", address=service.address)
    (flow_run,) = flow_runs(service.channel)
    (task_run,) = task_runs(service.channel)
    of_flow = [("markdown", "# one"), ("markdown", "# two"), ("image", "https://x/y.png")]
    of_task = [
        ("progress", 100.0),
        ("table", [{"a": 1}, {"a": None}]),
        ("link", "[here](https://x/y)"),
    ]
    assert shown(client, run_id=task_run.id) == of_task
    assert shown(client, run_id=flow_run.id) == [*of_flow, ("own", {"x": 1})]
    everything = shown(client, run_id=flow_run.id, include_descendants=True)
    assert everything == [*of_task, *of_flow, ("own", {"x": 1})]
    assert shown(client, types=("table",)) == of_task[1:2]
    assert shown(client, key="summary") == of_flow[:2]
    latest = {each.key: each for each in client.read_latest_artifacts()}
    assert set(latest) == {"new", "rows", "summary"}
    assert latest["summary"].data.json() == "# two"
    assert latest["summary"].flow_run_id == latest["rows"].flow_run_id
    assert str(latest["rows"].task_run_id) == task_run.id
    assert latest["summary"].task_run_id is None
    (progress,) = client.read_artifacts(ArtifactFilter(types=("progress",)))
    assert progress.description == "measuring"
    assert progress.created_at < progress.updated_at


def test_outside_of_runs_they_are_stored_at_return(
    service: ServiceProcess, client: SyncFlowspanClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = """
        import asyncio
        from flowspan.artifacts import Artifact, acreate_table_artifact, create_table_artifact

        first = create_table_artifact([[1, 2]], key="t")
        print("made", first, flush=True)
        input()
        second = asyncio.run(acreate_table_artifact({"a": [3]}, key="t"))
        found = Artifact.get("t")
        assert (found.id, found.data, found.value) == (second, '{"a":[3]}', {"a": [3]}), found
        assert (found.type, found.flow_run_id, found.task_run_id) == ("table", None, None)
        assert found.created == found.updated
    """
    with FlowProcess(code, home=service.home / "client", address=service.address) as process:
        made = process.wait_for_line("made").split()[1]
        stored = client.read_artifact(made)
        assert (stored.data.json(), stored.run_id) == ([[1, 2]], None)
        process.say("")
        process.finish()
    assert len(shown(client, key="t")) == 2


def test_promise_a_flow_outlives_the_service_with_its_artifacts(
    start_service: Callable[..., ServiceProcess],
) -> None:
    service = start_service()
    code = """
        from flowspan import flow
        from flowspan.artifacts import create_progress_artifact, update_progress_artifact

        @flow
        def outer():
            progress = create_progress_artifact(0, key="p")
            print("began", flush=True)
            input()
            for number in range(1, 51):
                update_progress_artifact(progress, number * 2)
                create_progress_artifact(number, key="history")
            print("away", flush=True)
            input()

        outer()
    """
    with FlowProcess(code, home=service.home / "client", address=service.address) as process:
        process.wait_for_line("began")
        service.kill()
        process.say("")
        process.wait_for_line("away")
        service.start()
        process.say("")
        process.finish()
    with get_client(sync_client=True, address=service.address) as client:
        assert shown(client, key="p") == [("progress", 100.0)]
        assert shown(client, key="history") == [("progress", float(n)) for n in range(1, 51)]


def test_tasks_in_other_processes_make_artifacts(
    service: ServiceProcess, client: SyncFlowspanClient
) -> None:
    code = """
        from flowspan import flow, task
        from flowspan.artifacts import Artifact, create_progress_artifact, update_progress_artifact
        from flowspan.task_runners import ProcessPoolTaskRunner

        @task
        def work():
            made = create_progress_artifact(0, key="elsewhere")
            update_progress_artifact(made, 40)
            return Artifact.get("elsewhere").value

        @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
        def outer():
            return work.submit().result()

        if __name__ == "__main__":
            print("value", outer())
    """
    assert "value 40.0" in run_code(code, home=service.home / "client", address=service.address)
    (task_run,) = task_runs(service.channel)
    assert shown(client, run_id=task_run.id) == [("progress", 40.0)]


def older(method: str, frame: bytes) -> Iterable[bytes]:
    """Yield the frames as a service reads them that does not know artifacts."""
    if not method.endswith("/Report"):
        return [frame]
    request = report_service_pb2.ReportRequest.FromString(frame)
    for event in request.batch.events:
        if event.WhichOneof("event") in {"artifact_created", "artifact_changed"}:
            event.CopyFrom(report_pb2.Event.FromString(UNKNOWN_BYTES))
    return [request.SerializeToString()]


def test_promise_old_and_new_an_older_service_keeps_no_artifacts_and_it_is_said_once(
    service: ServiceProcess, client: SyncFlowspanClient
) -> None:
    code = """
        from flowspan import flow
        from flowspan.artifacts import create_progress_artifact, update_progress_artifact

        @flow
        def outer():
            made = create_progress_artifact(0)
            for number in range(10):
                update_progress_artifact(made, number)
            return "done"

        print(outer(), outer())
    """
    with SkewProxy(service.address, requests=older) as proxy:
        with FlowProcess(code, home=service.home / "client", address=proxy.address) as process:
            assert "done done" in process.finish()
        (line,) = [line for line in process.errors.splitlines() if "artifacts" in line]
    assert "older than this client" in line
    assert "pip install --upgrade flowspan" in line
    assert {run.state.name for run in flow_runs(service.channel)} == {"Completed"}
    assert shown(client) == []


def test_what_the_service_does_not_take_is_said(service: ServiceProcess) -> None:
    code = """
        from uuid import uuid4
        from flowspan import flow
        from flowspan.artifacts import update_progress_artifact

        @flow
        def outer():
            update_progress_artifact(uuid4(), 5)

        outer()
    """
    with FlowProcess(code, home=service.home / "client", address=service.address) as process:
        process.finish()
    assert "rejected an artifact" in process.errors
    assert "artifact_is_known" in process.errors


def test_reading_without_a_service_says_so(
    flowspan_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del flowspan_home
    monkeypatch.setenv("FLOWSPAN_ADDRESS", "127.0.0.1:1")
    for read in (lambda: Artifact.get("k"), lambda: asyncio.run(Artifact.aget("k"))):
        with pytest.raises(ServiceUnavailableError, match=r"127\.0\.0\.1:1"):
            read()


def test_a_service_without_artifacts_says_that_it_is_older(monkeypatch: pytest.MonkeyPatch) -> None:
    with replaying([]) as address:
        monkeypatch.setenv("FLOWSPAN_ADDRESS", address)
        with pytest.raises(ApiError) as caught:
            Artifact.get("k")
        assert "older" in caught.value.advice


def test_process_and_values_survive_json(service: ServiceProcess, client: Any) -> None:
    rows = [{"größe": 2**60 + 1, "x": [None, True, 1.5, "𝄞\x00"]}]
    code = f"""
        from flowspan.artifacts import create_table_artifact
        create_table_artifact({rows!r}, key="exact")
    """
    run_code(code, home=service.home / "client", address=service.address)
    assert json.loads(client.read_latest_artifact("exact").data.data) == rows
