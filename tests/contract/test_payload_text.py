"""Payloads in requests: as data or as text, and JSON that is not JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.descriptor_pool import Default
from tests.support.harness import refused
from tests.support.report_client import ReportStream, created, entered, new_id, now, state

from flowspan.v1 import (
    artifact_service_pb2,
    flow_run_service_pb2,
    payload_pb2,
    report_pb2,
    report_service_pb2,
    single_run_service_pb2,
    task_run_service_pb2,
    variable_service_pb2,
)
from flowspan_service.api.services import SERVICE_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.descriptor import Descriptor
    from tests.support.harness import Harness, Stubs

INVALID = grpc.StatusCode.INVALID_ARGUMENT
PAYLOAD = payload_pb2.Payload.DESCRIPTOR.full_name
Payload = payload_pb2.Payload


def flow_run(**fields: Any) -> Any:
    run = {"id": new_id(), "flow_name": "etl", "state": state("PENDING"), **fields}
    return flow_run_service_pb2.CreateFlowRunRequest(flow_run=run)


def a_flow_run(stubs: Stubs, run_id: str) -> Any:
    request = flow_run_service_pb2.GetFlowRunRequest(id=run_id)
    return stubs.flow_runs.GetFlowRun(request).flow_run


def an_artifact(stubs: Stubs) -> str:
    artifact_id = new_id()
    stubs.artifacts.CreateArtifact(
        artifact_service_pb2.CreateArtifactRequest(artifact={"id": artifact_id, "type": "x"})
    )
    return artifact_id


def data_of(stubs: Stubs, artifact_id: str) -> Payload:
    request = artifact_service_pb2.GetArtifactRequest(id=artifact_id)
    return stubs.artifacts.GetArtifact(request).artifact.data


def reported(stubs: Stubs, *events: report_pb2.Event) -> None:
    answer = stubs.reports.ReportBatch(
        report_service_pb2.ReportBatchRequest(
            hello={"session_id": new_id()}, batch={"first_sequence": 1, "events": events}
        )
    )
    assert not answer.ack.verdicts


# Each function sends a payload at one place, and returns it as an answer has it.


def in_create_flow_run(stubs: Stubs, payload: Payload) -> Payload:
    return stubs.flow_runs.CreateFlowRun(flow_run(parameters=payload)).flow_run.parameters


def in_first_state(stubs: Stubs, payload: Payload) -> Payload | None:
    stubs.flow_runs.CreateFlowRun(flow_run(state=state("PENDING", result=payload)))
    return None  # only a completed state keeps a result


def in_set_flow_run_state(stubs: Stubs, payload: Payload) -> Payload:
    run_id = stubs.flow_runs.CreateFlowRun(flow_run()).flow_run.id
    completed = state("COMPLETED", result=payload)
    request = flow_run_service_pb2.SetFlowRunStateRequest(id=run_id, state=state("RUNNING"))
    stubs.flow_runs.SetFlowRunState(request)
    request = flow_run_service_pb2.SetFlowRunStateRequest(id=run_id, state=completed)
    stubs.flow_runs.SetFlowRunState(request)
    return a_flow_run(stubs, run_id).state.result


def in_set_task_run_state(stubs: Stubs, payload: Payload) -> Payload:
    run_id = new_id()
    reported(stubs, created(run_id, kind="TASK"), entered(run_id, "RUNNING"))
    completed = state("COMPLETED", result=payload)
    request = task_run_service_pb2.SetTaskRunStateRequest(id=run_id, state=completed)
    stubs.task_runs.SetTaskRunState(request)
    found = stubs.task_runs.GetTaskRun(task_run_service_pb2.GetTaskRunRequest(id=run_id))
    return found.task_run.state.result


def in_create_artifact(stubs: Stubs, payload: Payload) -> Payload:
    artifact = {"id": new_id(), "type": "x", "data": payload}
    request = artifact_service_pb2.CreateArtifactRequest(artifact=artifact)
    return stubs.artifacts.CreateArtifact(request).artifact.data


def in_update_artifact(stubs: Stubs, payload: Payload) -> Payload:
    change = {"id": an_artifact(stubs), "data": payload}
    request = artifact_service_pb2.UpdateArtifactRequest(change=change)
    return stubs.artifacts.UpdateArtifact(request).artifact.data


def in_set_variable(stubs: Stubs, payload: Payload) -> Payload:
    request = variable_service_pb2.SetVariableRequest(
        variable={"name": "v", "value": payload}, overwrite=True
    )
    return stubs.variables.SetVariable(request).variable.value


def in_start_run(stubs: Stubs, payload: Payload) -> Payload:
    request = single_run_service_pb2.StartRunRequest(flow_name="etl", parameters=payload)
    return stubs.single_runs.StartRun(request).flow_run.parameters


def in_finish_run(stubs: Stubs, payload: Payload) -> Payload:
    request = single_run_service_pb2.StartRunRequest(flow_name="etl")
    token = stubs.single_runs.StartRun(request).token
    finish = single_run_service_pb2.FinishRunRequest(token=token, result=payload)
    return stubs.single_runs.FinishRun(finish).flow_run.state.result


def in_reported_run(stubs: Stubs, payload: Payload) -> Payload:
    run_id = new_id()
    reported(stubs, created(run_id, parameters=payload))
    return a_flow_run(stubs, run_id).parameters


def in_reported_first_state(stubs: Stubs, payload: Payload) -> None:
    reported(stubs, created(new_id(), state=state("PENDING", result=payload)))


def in_reported_state(stubs: Stubs, payload: Payload) -> Payload:
    run_id = new_id()
    done = entered(run_id, "COMPLETED", result=payload)
    reported(stubs, created(run_id), entered(run_id, "RUNNING"), done)
    return a_flow_run(stubs, run_id).state.result


def in_reported_artifact(stubs: Stubs, payload: Payload) -> Payload:
    artifact = {"id": new_id(), "type": "x", "data": payload, "create_time": now()}
    reported(stubs, report_pb2.Event(artifact_created=artifact))
    return data_of(stubs, artifact["id"])


def in_reported_change(stubs: Stubs, payload: Payload) -> Payload:
    change = {"id": an_artifact(stubs), "data": payload, "change_time": now()}
    reported(stubs, report_pb2.Event(artifact_changed=change))
    return data_of(stubs, change["id"])


BATCH = "ReportBatchRequest.batch.events"
PLACES: dict[str, Callable[[Stubs, Payload], Payload | None]] = {
    "CreateFlowRunRequest.flow_run.parameters": in_create_flow_run,
    "CreateFlowRunRequest.flow_run.state.result": in_first_state,
    "SetFlowRunStateRequest.state.result": in_set_flow_run_state,
    "SetTaskRunStateRequest.state.result": in_set_task_run_state,
    "CreateArtifactRequest.artifact.data": in_create_artifact,
    "UpdateArtifactRequest.change.data": in_update_artifact,
    "SetVariableRequest.variable.value": in_set_variable,
    "StartRunRequest.parameters": in_start_run,
    "FinishRunRequest.result": in_finish_run,
    f"{BATCH}.run_created.parameters": in_reported_run,
    f"{BATCH}.run_created.state.result": in_reported_first_state,
    f"{BATCH}.state_entered.state.result": in_reported_state,
    f"{BATCH}.artifact_created.data": in_reported_artifact,
    f"{BATCH}.artifact_changed.data": in_reported_change,
}
IGNORED = {
    "CreateFlowRunRequest.flow_run.state.result",
    f"{BATCH}.run_created.state.result",
}
"""The result of a state that is not COMPLETED, which has no effect."""
JSON_ONLY = ("SetVariableRequest.", "StartRunRequest.")
"""The requests that take no other encoding."""
ELSEWHERE = f"{BATCH}.run_completed."
"""A place whose messages are those of other events."""


def places(descriptor: Descriptor, path: str, inside: tuple[str, ...] = ()) -> set[str]:
    """Return the paths of the payloads in a type of messages."""
    found: set[str] = set()
    for field in descriptor.fields:
        inner = field.message_type
        if inner is None or inner.full_name in inside:
            continue
        if inner.full_name == PAYLOAD:
            found.add(f"{path}.{field.name}")
        else:
            found |= places(inner, f"{path}.{field.name}", (*inside, inner.full_name))
    return found


def test_each_place_of_a_payload_in_a_request_is_tried() -> None:
    found: set[str] = set()
    for name in SERVICE_NAMES:
        for method in Default().FindServiceByName(name).methods:
            if not method.client_streaming:
                found |= places(method.input_type, method.input_type.name)
    assert {place for place in found if not place.startswith(ELSEWHERE)} == set(PLACES)


@pytest.mark.parametrize("place", PLACES)
def test_text_is_stored_as_data(stubs: Stubs, place: str) -> None:
    text = '{"größe": [1, "🙂"]}'
    found = PLACES[place](stubs, Payload(encoding="json", text=text))
    if place not in IGNORED:
        assert found == Payload(encoding="json", data=text.encode())


@pytest.mark.parametrize("place", [place for place in PLACES if not place.startswith(JSON_ONLY)])
def test_text_of_another_encoding_is_stored_as_data(stubs: Stubs, place: str) -> None:
    found = PLACES[place](stubs, Payload(encoding="text/plain", text="a\0ö"))
    if place not in IGNORED:
        assert found == Payload(encoding="text/plain", data="a\0ö".encode())


@pytest.mark.parametrize(
    "payload",
    [
        Payload(encoding="json", data=b"1", text="1"),
        Payload(encoding="text/plain", data=b"1", text="2"),
        Payload(encoding="json", data=b'{"a": NaN}'),
        Payload(encoding="json", data=b"1 2"),
        Payload(encoding="json", text="Infinity"),
        Payload(encoding="json", data=b'"\xff"'),
        Payload(encoding="json"),
    ],
    ids=["both", "both texts", "NaN", "two values", "Infinity", "not UTF-8", "nothing"],
)
@pytest.mark.parametrize("place", [place for place in PLACES if place not in IGNORED])
def test_bad_payloads_are_refused_everywhere(stubs: Stubs, place: str, payload: Payload) -> None:
    refused(lambda: PLACES[place](stubs, payload), INVALID, "INVALID_FIELD")


DEEP = Payload(encoding="json", data=b"[" * 501 + b"]" * 501)
REPORTS = [place for place in PLACES if place.startswith(BATCH)]


@pytest.mark.parametrize("place", [place for place in PLACES if place not in REPORTS])
def test_deep_json_is_refused_by_calls(stubs: Stubs, place: str) -> None:
    metadata = refused(lambda: PLACES[place](stubs, DEEP), INVALID, "INVALID_FIELD")
    assert metadata["field"].endswith(".data")


@pytest.mark.parametrize("place", [place for place in REPORTS if place not in IGNORED])
@pytest.mark.parametrize("depth", [501, 200_000])
def test_deep_json_is_stored_by_reports(stubs: Stubs, place: str, depth: int) -> None:
    deep = Payload(encoding="json", data=b"[" * depth + b"]" * depth)
    assert PLACES[place](stubs, deep) == deep


def test_bad_json_in_a_stream_ends_it_and_stores_nothing(harness: Harness, stubs: Stubs) -> None:
    stream, run_id = ReportStream(harness.channel), new_id()
    bad = {"encoding": "json", "data": b"NaN"}
    stream.report(created(run_id), created(new_id(), parameters=bad))
    with pytest.raises(grpc.RpcError) as caught:
        stream.wait_for_ack(2)
    assert caught.value.code() == INVALID
    assert "Event 2" in caught.value.details()
    with pytest.raises(grpc.RpcError) as caught:
        a_flow_run(stubs, run_id)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
