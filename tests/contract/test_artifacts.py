"""ArtifactService, and artifacts in reports."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from tests.support.harness import refused
from tests.support.report_client import ReportStream, created, new_id, now, whole_run

from flowspan.v1 import (
    artifact_pb2,
    flow_run_service_pb2,
    payload_pb2,
    report_pb2,
    report_service_pb2,
    run_filter_pb2,
    system_service_pb2,
    verdict_pb2,
)
from flowspan.v1 import artifact_service_pb2 as service_pb2

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from tests.support.harness import Harness, Stubs

INVALID = grpc.StatusCode.INVALID_ARGUMENT
MISSING = grpc.StatusCode.NOT_FOUND
DUPLICATE = verdict_pb2.VERDICT_KIND_DUPLICATE
REJECTED = verdict_pb2.VERDICT_KIND_REJECTED
ABORT = verdict_pb2.VERDICT_KIND_ABORT


def data(value: object) -> payload_pb2.Payload:
    return payload_pb2.Payload(encoding="json", data=json.dumps(value).encode())


def artifact(**fields: Any) -> artifact_pb2.Artifact:
    values = {"id": new_id(), "type": "markdown", "create_time": now(), **fields}
    return artifact_pb2.Artifact(**values)


def made(one: artifact_pb2.Artifact) -> report_pb2.Event:
    return report_pb2.Event(artifact_created=one)


def changed(artifact_id: str, **fields: Any) -> report_pb2.Event:
    change = artifact_pb2.ArtifactChange(id=artifact_id, **{"change_time": now(), **fields})
    return report_pb2.Event(artifact_changed=change)


def create(stubs: Stubs, one: artifact_pb2.Artifact) -> service_pb2.CreateArtifactResponse:
    return stubs.artifacts.CreateArtifact(service_pb2.CreateArtifactRequest(artifact=one))


def get(stubs: Stubs, **which: str) -> artifact_pb2.Artifact:
    return stubs.artifacts.GetArtifact(service_pb2.GetArtifactRequest(**which)).artifact


def listed(stubs: Stubs, *, page_size: int = 0, oldest_first: bool = False, **wanted: Any) -> list:
    """Return the ids of all pages."""
    order = run_filter_pb2.RUN_ORDER_OLDEST_FIRST if oldest_first else 0
    found: list[str] = []
    token = ""
    while True:
        page = stubs.artifacts.ListArtifacts(
            service_pb2.ListArtifactsRequest(
                filter=service_pb2.ArtifactFilter(**wanted),
                order=order,
                page_size=page_size,
                page_token=token,
            )
        )
        found += [each.id for each in page.artifacts]
        token = page.next_page_token
        if not token:
            return found


def test_reported_artifact_comes_back_as_reported(harness: Harness, stubs: Stubs) -> None:
    flow_run, task_run = new_id(), new_id()
    of_flow = artifact(run_id=flow_run, key="sales", description="größer", data=data({"a": [1]}))
    of_task = artifact(run_id=task_run, type="link")
    of_nobody = artifact(type="my-own")
    stream = ReportStream(harness.channel)
    last = stream.report(
        created(flow_run), created(task_run, kind="TASK", flow_run_id=flow_run,
        parent_run_id=flow_run, root_run_id=flow_run), made(of_flow), made(of_task),
        made(of_nobody),
    )  # fmt: skip
    stream.wait_for_ack(last)
    stream.goodbye()
    assert stream.verdicts == []
    found = get(stubs, id=of_flow.id)
    assert found.update_time == of_flow.create_time
    found.ClearField("update_time")
    of_flow.flow_run_id = flow_run
    assert found == of_flow
    assert get(stubs, id=of_task.id).flow_run_id == flow_run
    assert get(stubs, id=of_nobody.id).flow_run_id == ""
    assert not get(stubs, id=of_nobody.id).HasField("data")


def test_reported_changes_are_applied_in_order(harness: Harness, stubs: Stubs) -> None:
    progress = artifact(type="progress", data=data(0.0), description="loading")
    stream = ReportStream(harness.channel)
    stream.report(made(progress), changed(progress.id, data=data(10.0)))
    half = changed(progress.id, data=data(50.0))
    last = changed(progress.id, data=data(100.0), description="done")
    stream.wait_for_ack(stream.report(half, last))
    stream.goodbye()
    assert stream.verdicts == []
    found = get(stubs, id=progress.id)
    assert (found.data, found.description) == (data(100.0), "done")
    assert found.create_time == progress.create_time
    assert found.update_time == last.artifact_changed.change_time
    assert listed(stubs) == [progress.id]


def test_description_may_be_emptied_and_stays_if_nothing_is_said(stubs: Stubs) -> None:
    one = artifact(description="text", data=data(1))
    create(stubs, one)

    def update(**fields: Any) -> artifact_pb2.Artifact:
        change = artifact_pb2.ArtifactChange(id=one.id, **fields)
        return stubs.artifacts.UpdateArtifact(
            service_pb2.UpdateArtifactRequest(change=change)
        ).artifact

    assert update(data=data(2)).description == "text"
    after = update(description="")
    assert (after.description, after.data) == ("", data(2))
    assert after == get(stubs, id=one.id)
    refused(lambda: stubs.artifacts.UpdateArtifact(service_pb2.UpdateArtifactRequest(
        change=artifact_pb2.ArtifactChange(id=new_id()))), MISSING, "NOT_FOUND")  # fmt: skip


def test_a_batch_that_comes_again_is_applied_once(harness: Harness, stubs: Stubs) -> None:
    progress = artifact(type="progress", data=data(0.0))
    events = [made(progress), changed(progress.id, data=data(1.0))]
    first = ReportStream(harness.channel)
    first.wait_for_ack(first.report(*events))
    later = artifact_pb2.ArtifactChange(id=progress.id, data=data(7.0))
    stubs.artifacts.UpdateArtifact(service_pb2.UpdateArtifactRequest(change=later))
    first.break_off()
    again = ReportStream(harness.channel, session_id=first.session_id)
    again.next_sequence = 1
    again.wait_for_ack(again.report(*events))
    again.goodbye()
    assert get(stubs, id=progress.id).data == data(7.0)


def test_verdicts_on_artifacts(harness: Harness, stubs: Stubs) -> None:
    run_id = new_id()
    one = artifact(run_id=run_id, key="k")
    other = artifact(id=one.id, key="other")
    stream = ReportStream(harness.channel)
    last = stream.report(
        *whole_run(run_id),
        made(one),
        made(one),
        made(other),
        changed(new_id()),
        made(artifact(run_id=new_id())),
    )
    stream.wait_for_ack(last)
    stream.goodbye()
    assert [(each.sequence, each.kind, each.rule) for each in stream.verdicts] == [
        (5, DUPLICATE, "artifact_agrees"),
        (6, REJECTED, "artifact_agrees"),
        (7, REJECTED, "artifact_is_known"),
        (8, REJECTED, "run_is_known"),
    ]
    assert get(stubs, id=one.id).key == "k"


def test_one_id_in_two_sessions_spoils_nothing(harness: Harness, stubs: Stubs) -> None:
    one = artifact(key="k")
    for _ in range(2):
        stream = ReportStream(harness.channel)
        run_id = new_id()
        stream.report(*whole_run(run_id), made(one))
        stream.goodbye()
        stubs.flow_runs.GetFlowRun(flow_run_service_pb2.GetFlowRunRequest(id=run_id))
    assert listed(stubs) == [one.id]


def test_artifact_of_a_run_that_was_deleted(harness: Harness, stubs: Stubs) -> None:
    run_id = new_id()
    keyed, plain = artifact(run_id=run_id, key="kept"), artifact(run_id=run_id)
    stream = ReportStream(harness.channel)
    stream.wait_for_ack(stream.report(created(run_id), made(keyed), made(plain)))
    request = flow_run_service_pb2.DeleteFlowRunRequest(id=run_id, force=True)
    stubs.flow_runs.DeleteFlowRun(request)
    stream.wait_for_ack(stream.report(made(artifact(run_id=run_id))))
    stream.goodbye()
    assert [(each.kind, each.rule) for each in stream.verdicts] == [(ABORT, "run_was_deleted")]
    assert listed(stubs) == [keyed.id]
    assert get(stubs, key="kept").run_id == run_id


def test_create_is_idempotent(stubs: Stubs) -> None:
    one = artifact(key="k", data=data(1))
    one.ClearField("create_time")
    first = create(stubs, one)
    assert first.created
    assert first.artifact.create_time.seconds > 0
    again = create(stubs, one)
    assert not again.created
    assert again.artifact == first.artifact
    one.key = "other"
    metadata = refused(lambda: create(stubs, one), grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS")
    assert metadata["artifact_id"] == one.id
    refused(lambda: create(stubs, artifact(run_id=new_id())), MISSING, "NOT_FOUND")


def test_lists_and_their_filters(harness: Harness, stubs: Stubs) -> None:
    run_id, task_id = new_id(), new_id()
    stream = ReportStream(harness.channel)
    task = created(
        task_id, kind="TASK", parent_run_id=run_id, root_run_id=run_id, flow_run_id=run_id
    )
    stream.wait_for_ack(stream.report(created(run_id), task))
    stream.goodbye()
    a, b, c, d = (artifact(id=new_id()) for _ in range(4))
    a.run_id, b.run_id = run_id, task_id
    b.type = c.type = "table"
    a.key = c.key = "k"
    ordered = sorted((a, b, c, d), key=lambda each: each.id)
    for each in ordered:
        create(stubs, each)
    everything = [each.id for each in ordered]
    assert listed(stubs, oldest_first=True) == everything
    assert listed(stubs, page_size=1) == everything[::-1]
    assert set(listed(stubs, types=["table"])) == {b.id, c.id}
    assert set(listed(stubs, types=["table", "link"], key="k")) == {c.id}
    assert listed(stubs, run_id=run_id) == [a.id]
    assert set(listed(stubs, run_id=run_id, include_descendants=True)) == {a.id, b.id}
    assert listed(stubs, id_prefix=d.id[:34]) != []
    assert listed(stubs, id_suffix=d.id[-12:]) == [d.id]
    assert listed(stubs, run_id=new_id()) == []


def test_data_may_be_left_out(stubs: Stubs) -> None:
    create(stubs, artifact(key="k", data=data(1)))
    request = service_pb2.ListArtifactsRequest(without_data=True)
    (one,) = stubs.artifacts.ListArtifacts(request).artifacts
    assert not one.HasField("data")
    keyed = service_pb2.ListLatestArtifactsRequest(without_data=True)
    assert list(stubs.artifacts.ListLatestArtifacts(keyed).artifacts) == [one]


def test_latest_by_key(stubs: Stubs) -> None:
    for key in ("b", "a", "b", "c-1", "c-2"):
        create(stubs, artifact(key=key))
    create(stubs, artifact())

    def keys(prefix: str = "") -> list[str]:
        found: list[str] = []
        token = ""
        while True:
            page = stubs.artifacts.ListLatestArtifacts(
                service_pb2.ListLatestArtifactsRequest(
                    key_prefix=prefix, page_size=2, page_token=token
                )
            )
            for each in page.artifacts:
                assert each.id == max(listed(stubs, key=each.key))
                assert each == get(stubs, key=each.key)
                found.append(each.key)
            token = page.next_page_token
            if not token:
                return found

    assert keys() == ["a", "b", "c-1", "c-2"]
    assert keys("c-") == ["c-1", "c-2"]
    assert keys("d") == []


def test_pages_of_large_artifacts_are_short(stubs: Stubs) -> None:
    large = payload_pb2.Payload(encoding="json", data=b"1" * (1 << 20))
    for _ in range(5):
        create(stubs, artifact(data=large, key="k"))
    page = stubs.artifacts.ListArtifacts(service_pb2.ListArtifactsRequest())
    assert page.ByteSize() < 4 << 20
    assert len(listed(stubs)) == 5


def test_delete(stubs: Stubs) -> None:
    one, *keyed = artifact(), artifact(key="k"), artifact(key="k")
    for each in (one, *keyed):
        create(stubs, each)

    def delete(**which: str) -> int:
        request = service_pb2.DeleteArtifactRequest(**which)
        return stubs.artifacts.DeleteArtifact(request).deleted_artifact_count

    assert [delete(id=one.id), delete(id=one.id)] == [1, 0]
    assert [delete(key="k"), delete(key="k")] == [2, 0]
    assert listed(stubs) == []


BAD_REQUESTS: dict[str, tuple[str, Message, str]] = {
    "nothing to create": ("CreateArtifact", service_pb2.CreateArtifactRequest(), "artifact"),
    "no type": (
        "CreateArtifact",
        service_pb2.CreateArtifactRequest(artifact=artifact(type="")),
        "artifact.type",
    ),
    "a key in capitals": (
        "CreateArtifact",
        service_pb2.CreateArtifactRequest(artifact=artifact(key="Report")),
        "artifact.key",
    ),
    "a long key": (
        "CreateArtifact",
        service_pb2.CreateArtifactRequest(artifact=artifact(key="k" * 257)),
        "artifact.key",
    ),
    "large data": (
        "CreateArtifact",
        service_pb2.CreateArtifactRequest(
            artifact=artifact(data=payload_pb2.Payload(encoding="json", data=bytes((1 << 20) + 1)))
        ),
        "artifact.data.data",
    ),
    "a long description": (
        "CreateArtifact",
        service_pb2.CreateArtifactRequest(artifact=artifact(description="d" * 32_769)),
        "artifact.description",
    ),
    "nothing to change": ("UpdateArtifact", service_pb2.UpdateArtifactRequest(), "change"),
    "no artifact to change": (
        "UpdateArtifact",
        service_pb2.UpdateArtifactRequest(change=artifact_pb2.ArtifactChange()),
        "change.id",
    ),
    "neither id nor key": ("GetArtifact", service_pb2.GetArtifactRequest(), "which"),
    "an empty key": ("GetArtifact", service_pb2.GetArtifactRequest(key=""), "key"),
    "no id to delete": ("DeleteArtifact", service_pb2.DeleteArtifactRequest(id=""), "id"),
    "a bad key to delete": ("DeleteArtifact", service_pb2.DeleteArtifactRequest(key="%"), "key"),
    "a bad filter": (
        "ListArtifacts",
        service_pb2.ListArtifactsRequest(filter=service_pb2.ArtifactFilter(run_id="x")),
        "filter.run_id",
    ),
    "descendants of no run": (
        "ListArtifacts",
        service_pb2.ListArtifactsRequest(
            filter=service_pb2.ArtifactFilter(include_descendants=True)
        ),
        "filter.run_id",
    ),
    "an empty type": (
        "ListArtifacts",
        service_pb2.ListArtifactsRequest(filter=service_pb2.ArtifactFilter(types=[""])),
        "filter.types",
    ),
    "a beginning of every id": (
        "ListArtifacts",
        service_pb2.ListArtifactsRequest(filter=service_pb2.ArtifactFilter(id_prefix="----")),
        "filter.id_prefix",
    ),
    "an empty id to delete": (
        "DeleteArtifact",
        service_pb2.DeleteArtifactRequest(id=""),
        "id",
    ),
    "a bad order": (
        "ListArtifacts",
        service_pb2.ListArtifactsRequest(order=9),  # type: ignore[arg-type] # on purpose
        "order",
    ),
    "too large a page": (
        "ListLatestArtifacts",
        service_pb2.ListLatestArtifactsRequest(page_size=1001),
        "page_size",
    ),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_bad_requests_name_the_field(stubs: Stubs, name: str) -> None:
    method, request, field = BAD_REQUESTS[name]
    with pytest.raises(grpc.RpcError) as caught:
        getattr(stubs.artifacts, method)(request)
    assert caught.value.code() is INVALID
    assert caught.value.details().startswith(f"{field}: ")


def test_tokens_belong_to_their_query(stubs: Stubs) -> None:
    for _ in range(2):
        create(stubs, artifact(key="k"))
    first = stubs.artifacts.ListArtifacts(service_pb2.ListArtifactsRequest(page_size=1))
    assert first.next_page_token
    other = service_pb2.ListArtifactsRequest(
        filter=service_pb2.ArtifactFilter(key="k"), page_token=first.next_page_token
    )
    refused(lambda: stubs.artifacts.ListArtifacts(other), INVALID, "BAD_TOKEN")
    keyed = service_pb2.ListLatestArtifactsRequest(page_token=first.next_page_token)
    refused(lambda: stubs.artifacts.ListLatestArtifacts(keyed), INVALID, "BAD_TOKEN")


def test_capabilities_are_named(harness: Harness, stubs: Stubs) -> None:
    stream = ReportStream(harness.channel)
    stream.goodbye()
    info = stubs.system.GetInfo(system_service_pb2.GetInfoRequest())
    assert list(info.capabilities) == list(stream.welcome.capabilities)
    assert {"artifacts.v1", "labels.v1", "variables.v1"} <= set(info.capabilities)


def test_unary_batches_carry_artifacts(stubs: Stubs) -> None:
    one = artifact(key="k")
    request = report_service_pb2.ReportBatchRequest(
        hello=report_pb2.Hello(session_id=new_id()),
        batch=report_pb2.Batch(first_sequence=1, events=[made(one)]),
        goodbye=True,
    )
    assert stubs.reports.ReportBatch(request).ack.up_to_sequence == 1
    assert get(stubs, key="k").id == one.id
