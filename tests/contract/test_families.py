"""The place of a run: run contexts in headers, parents of other sessions, ids."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from tests.support.harness import refused
from tests.support.report_client import ReportStream, created, entered, new_id, state

from flowspan.v1 import (
    artifact_pb2,
    artifact_service_pb2,
    flow_run_pb2,
    flow_run_service_pb2,
    report_pb2,
    run_filter_pb2,
    task_run_service_pb2,
    watch_service_pb2,
)

if TYPE_CHECKING:
    from tests.support.harness import Harness, Stubs

INVALID = grpc.StatusCode.INVALID_ARGUMENT


def create(stubs: Stubs, *headers: tuple[str, str], **fields: Any) -> Any:
    run = flow_run_pb2.FlowRun(flow_name="etl", state=state("PENDING"), **fields)
    request = flow_run_service_pb2.CreateFlowRunRequest(flow_run=run)
    return stubs.flow_runs.CreateFlowRun(request, metadata=headers)


def digits(run_id: str) -> str:
    return run_id.replace("-", "")


@pytest.mark.parametrize("carrier", ["flowspan-run", "tracestate"])
def test_the_parent_is_the_run_that_a_header_names(stubs: Stubs, carrier: str) -> None:
    top = create(stubs).flow_run
    middle = create(stubs, parent_run_id=top.id).flow_run
    context = f"r:{digits(middle.id)};t:{digits(top.id)}"
    value = context if carrier == "flowspan-run" else f"rojo=00f0,flowspan={context},congo=t6"
    run = create(stubs, (carrier, value)).flow_run
    assert (run.parent_run_id, run.root_run_id) == (middle.id, top.id)
    assert stubs.flow_runs.GetFlowRun(flow_run_service_pb2.GetFlowRunRequest(id=run.id)).flow_run


def test_the_header_comes_before_the_tracestate_and_the_field_before_both(stubs: Stubs) -> None:
    one, two, three = (create(stubs).flow_run.id for _ in range(3))
    tracestate = ("tracestate", f"flowspan=r:{digits(one)}")
    header = ("flowspan-run", f"r:{digits(two)}")
    assert create(stubs, tracestate, header).flow_run.parent_run_id == two
    run = create(stubs, tracestate, header, parent_run_id=three).flow_run
    assert (run.parent_run_id, run.root_run_id) == (three, three)


def test_a_parent_in_a_header_may_arrive_later(harness: Harness, stubs: Stubs) -> None:
    top, parent = create(stubs).flow_run.id, new_id()
    context = f"r:{digits(parent)};t:{digits(top)}"
    run = create(stubs, ("flowspan-run", context)).flow_run
    assert (run.parent_run_id, run.root_run_id) == (parent, top)
    stream = ReportStream(harness.channel)
    stream.wait_for_ack(stream.report(created(parent)))
    request = flow_run_service_pb2.GetFlowRunRequest(id=run.id)
    assert stubs.flow_runs.GetFlowRun(request).flow_run.root_run_id == parent
    stream.goodbye()


@pytest.mark.parametrize(
    "header",
    [
        ("flowspan-run", "r:12"),
        ("flowspan-run", "no context"),
        ("tracestate", "rojo=1,flowspan=x"),
    ],
)
def test_a_bad_context_is_refused(stubs: Stubs, header: tuple[str, str]) -> None:
    info = refused(lambda: create(stubs, header), INVALID, "INVALID_FIELD")
    assert header[0] in info["field"]


def test_a_tracestate_of_others_is_ignored(stubs: Stubs) -> None:
    assert not create(stubs, ("tracestate", "rojo=1,=,,;")).flow_run.parent_run_id


def test_a_process_reports_below_a_run_of_another(harness: Harness, stubs: Stubs) -> None:
    caller, called = ReportStream(harness.channel), ReportStream(harness.channel)
    flow, child, task = new_id(), new_id(), new_id()
    called.wait_for_ack(
        called.report(
            created(child, parent_run_id=flow),
            created(task, kind="TASK", parent_run_id=child, root_run_id=child),
            entered(task, "RUNNING"),
        )
    )
    caller.wait_for_ack(caller.report(created(flow), entered(flow, "RUNNING")))
    wanted = run_filter_pb2.RunFilter(root_run_id=flow)
    request = task_run_service_pb2.ListTaskRunsRequest(filter=wanted)
    (found,) = stubs.task_runs.ListTaskRuns(request).task_runs
    assert (found.id, found.flow_run_id) == (task, child)
    watch = stubs.watch.Watch(watch_service_pb2.WatchRequest(run_id=flow), timeout=60)
    seen = []
    for item in watch:
        if item.HasField("snapshot_end"):
            called.report(entered(task, "COMPLETED"))
        elif item.HasField("change"):
            seen.append(item.change.transition.run_id)
            break
        else:
            seen.append(item.flow_run.id or item.task_run.id)
    watch.cancel()
    assert seen == [flow, child, task, task]
    for stream in (caller, called):
        stream.goodbye()


@pytest.mark.parametrize("version", [1, 4, 6, 8])
def test_ids_of_other_versions_are_refused_with_advice(
    harness: Harness, stubs: Stubs, version: int
) -> None:
    run_id = str(uuid.UUID(int=uuid.UUID(new_id()).int & ~(0xF << 76) | version << 76))
    artifact = artifact_pb2.Artifact(id=run_id, type="markdown")
    for call in (
        lambda: create(stubs, id=run_id),
        lambda: stubs.artifacts.CreateArtifact(
            artifact_service_pb2.CreateArtifactRequest(artifact=artifact)
        ),
    ):
        info = refused(call, INVALID, "INVALID_FIELD")
        assert "uuid7" in info["advice"]
    stream = ReportStream(harness.channel)
    stream.report(created(run_id))
    with pytest.raises(grpc.RpcError, match="UUIDv7"):
        stream.wait_for_ack(1)
    assert not harness.store.runs.load([run_id])


def test_ids_that_are_left_out_are_chosen(stubs: Stubs) -> None:
    ids = [create(stubs).flow_run.id for _ in range(20)]
    artifact = artifact_pb2.Artifact(type="markdown")
    request = artifact_service_pb2.CreateArtifactRequest(artifact=artifact)
    ids += [stubs.artifacts.CreateArtifact(request).artifact.id for _ in range(20)]
    assert ids == sorted(set(ids))
    assert {uuid.UUID(each).version for each in ids} == {7}


def test_a_session_may_have_any_uuid(harness: Harness) -> None:
    stream = ReportStream(harness.channel, session_id=str(uuid.uuid4()))
    stream.goodbye()


def test_a_reported_artifact_needs_its_id(harness: Harness) -> None:
    stream = ReportStream(harness.channel)
    stream.report(report_pb2.Event(artifact_created=artifact_pb2.Artifact(type="markdown")))
    with pytest.raises(grpc.RpcError, match="is required"):
        stream.wait_for_ack(1)
