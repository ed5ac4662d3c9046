"""Responses are bounded in bytes, and oversized requests are rejected before parsing."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from tests.support.harness import refused
from tests.support.report_client import ReportStream, created, entered, new_id, now, state

from flowspan.v1 import (
    artifact_pb2,
    artifact_service_pb2,
    failure_pb2,
    flow_run_service_pb2,
    log_pb2,
    log_service_pb2,
    payload_pb2,
    report_pb2,
    report_service_pb2,
    state_pb2,
    system_service_pb2,
    task_run_service_pb2,
    variable_service_pb2,
    watch_service_pb2,
)
from flowspan_service.api import limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.harness import Harness, Stubs

MIB = 1 << 20
MOST = 4 * MIB
"""The default limit of a gRPC client."""
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
INVALID = grpc.StatusCode.INVALID_ARGUMENT
TIMEOUT_S = 60.0


def payload(size: int = MIB) -> payload_pb2.Payload:
    return payload_pb2.Payload(encoding="x", data=bytes(size))


def failure() -> failure_pb2.Failure:
    """Return a failure of the maximum size."""
    found = None
    for _ in range(limits.FAILURE_DEPTH):
        found = failure_pb2.Failure(
            type="t" * 1024, message="m" * 32768, stack_trace="s" * 65536, cause=found
        )
    assert found is not None
    return found


def batch(session_id: str, *events: report_pb2.Event, first: int = 1, **fields: Any) -> Any:
    return report_service_pb2.ReportBatchRequest(
        hello=report_pb2.Hello(session_id=session_id),
        batch=report_pb2.Batch(first_sequence=first, events=events) if events else None,
        **fields,
    )


def largest_run(**fields: Any) -> list[report_pb2.Event]:
    run_id = new_id()
    return [
        created(
            run_id,
            function_name="f" * 256,
            run_name="n" * 256,
            version="v" * 256,
            tags=[f"{index:0256}" for index in range(64)],
            parameters=payload_pb2.Payload(encoding="json", data=b"1" * (512 << 10)),
            **fields,
        ),
        entered(run_id, "FAILED", failure=failure(), message="m" * 32768, name="s" * 128),
    ]


def test_verdicts_carry_one_state_of_a_run_and_no_payload(stubs: Stubs) -> None:
    session_id, run_id, other = new_id(), new_id(), new_id()
    stubs.reports.ReportBatch(
        batch(
            session_id,
            created(run_id),
            entered(run_id, "COMPLETED", result=payload(), message="m" * 32768),
            created(other),
            entered(other, "FAILED", failure=failure()),
        )
    )
    again = [entered(each, "RUNNING") for _ in range(500) for each in (run_id, other)]
    ack = stubs.reports.ReportBatch(batch(session_id, *again, first=5)).ack
    assert ack.up_to_sequence == 1004
    assert [verdict.sequence for verdict in ack.verdicts] == list(range(5, 1005))
    assert {verdict.rule for verdict in ack.verdicts} == {"terminal_is_final"}
    assert {verdict.current_attempt for verdict in ack.verdicts} == {1}
    assert all(verdict.reason for verdict in ack.verdicts)
    with_state = [verdict for verdict in ack.verdicts if verdict.HasField("current_state")]
    assert [verdict.sequence for verdict in with_state] == [5, 6]
    assert {verdict.current_state.name for verdict in with_state} == {"Completed", "Failed"}
    for verdict in with_state:
        assert not verdict.current_state.HasField("result")
        assert not verdict.current_state.HasField("failure")
        assert len(verdict.current_state.message) <= limits.BRIEF_TEXT
    assert ack.ByteSize() < 1000 * 250


def test_verdict_on_a_request_leaves_the_payload_to_the_run(stubs: Stubs) -> None:
    run_id = new_id()
    stubs.reports.ReportBatch(
        batch(new_id(), created(run_id), entered(run_id, "COMPLETED", result=payload()))
    )
    wanted = state_pb2.State(type=state_pb2.STATE_TYPE_RUNNING)
    answer = stubs.flow_runs.SetFlowRunState(
        flow_run_service_pb2.SetFlowRunStateRequest(id=run_id, state=wanted)
    )
    assert answer.verdict.current_state.name == "Completed"
    assert not answer.verdict.current_state.HasField("result")
    assert len(answer.flow_run.state.result.data) == MIB


def test_largest_batch_of_refused_events_has_a_bounded_answer(stubs: Stubs) -> None:
    """Each event is of another run with a long message: all are named, the last ones briefly."""
    count = limits.MAX_UNACKED_EVENTS
    session_id = new_id()
    run_ids = [new_id() for _ in range(100)]
    for at in range(0, 100, 50):
        events = [created(each, state=state("PENDING", message="ä" * 16384)) for each in run_ids]
        stubs.reports.ReportBatch(batch(session_id, *events[at : at + 50], first=at + 1))
    unknown = [entered(new_id(), "RUNNING") for _ in range(count - 100)]
    again = [entered(each, "RUNNING", attempt=7) for each in run_ids]
    ack = stubs.reports.ReportBatch(batch(session_id, *again, *unknown, first=101)).ack
    assert ack.up_to_sequence == count + 100
    assert [verdict.sequence for verdict in ack.verdicts] == list(range(101, count + 101))
    assert all(verdict.kind and verdict.rule and verdict.run_id for verdict in ack.verdicts)
    assert ack.ByteSize() < MOST


def test_commands_in_an_answer_are_bounded(stubs: Stubs) -> None:
    session_id, count = new_id(), 100
    run_ids = [new_id() for _ in range(count)]
    stubs.reports.ReportBatch(batch(session_id, *(created(each) for each in run_ids)))
    wanted = state_pb2.State(type=state_pb2.STATE_TYPE_CANCELLING, message="m" * 8192)
    for each in run_ids:
        stubs.flow_runs.SetFlowRunState(
            flow_run_service_pb2.SetFlowRunStateRequest(id=each, state=wanted)
        )
    answer = stubs.reports.ReportBatch(batch(session_id))
    assert {each.cancel_run.run_id for each in answer.commands} == set(run_ids)
    assert answer.ByteSize() < count * (limits.BRIEF_TEXT + 200)


def test_state_that_is_asked_for_has_payloads_only_with_its_type(stubs: Stubs) -> None:
    pending = state("PENDING", result=payload(), failure=failure())
    run = {"id": new_id(), "flow_name": "f", "state": pending}
    answer = stubs.flow_runs.CreateFlowRun(flow_run_service_pb2.CreateFlowRunRequest(flow_run=run))
    assert not answer.flow_run.state.HasField("result")
    assert not answer.flow_run.state.HasField("failure")


def _fill(stubs: Stubs) -> str:
    """Store large objects of every kind; return the id of a run with much history and many logs."""
    run_id, session_id = new_id(), new_id()
    stubs.reports.ReportBatch(batch(session_id, created(run_id), entered(run_id, "RUNNING")))
    first = 3
    for attempt in range(2, 10):
        events = [
            entered(run_id, "RUNNING", attempt=attempt),
            entered(run_id, "FAILED", attempt=attempt, failure=failure()),
        ]
        stubs.reports.ReportBatch(batch(session_id, *events, first=first))
        first += len(events)
    for _ in range(4):
        log = log_pb2.LogRecord(run_id=run_id, message="m", logger="l" * 256, time=now())
        events = [report_pb2.Event(log=log)] * 5000
        stubs.reports.ReportBatch(batch(session_id, *events, first=first))
        first += len(events)
    for kind in ("FLOW", "TASK"):
        for _ in range(3):
            stubs.reports.ReportBatch(batch(new_id(), *largest_run(kind=kind), goodbye=True))
        many = [
            created(new_id(), kind=kind, tags=[f"{index:0256}" for index in range(64)])
            for _ in range(200)
        ]
        stubs.reports.ReportBatch(batch(new_id(), *many))
    for index in range(200):
        stubs.artifacts.CreateArtifact(
            artifact_service_pb2.CreateArtifactRequest(
                artifact=artifact_pb2.Artifact(
                    id=new_id(), key=f"k{index}", type="markdown", description="d" * 32768
                )
            )
        )
        value = payload_pb2.Payload(encoding="json", data=b'"' + b"v" * 30 + b'"')
        stubs.variables.SetVariable(
            variable_service_pb2.SetVariableRequest(
                variable={
                    "name": f"v{index}",
                    "value": value,
                    "tags": [f"{tag:0256}" for tag in range(64)],
                }
            )
        )
    return run_id


@pytest.mark.slow
def test_every_answer_is_bounded_and_pages_have_everything(stubs: Stubs) -> None:
    run_id = _fill(stubs)
    flow_runs, task_runs = flow_run_service_pb2, task_run_service_pb2
    artifacts, variables = artifact_service_pb2, variable_service_pb2
    pages: list[tuple[Callable[[Any], Any], Any, str, int]] = [
        (stubs.flow_runs.ListFlowRuns, flow_runs.ListFlowRunsRequest(), "flow_runs", 204),
        (stubs.task_runs.ListTaskRuns, task_runs.ListTaskRunsRequest(), "task_runs", 203),
        (
            stubs.flow_runs.ListFlowRunTransitions,
            flow_runs.ListFlowRunTransitionsRequest(id=run_id),
            "transitions",
            18,
        ),
        (stubs.logs.ListLogs, log_service_pb2.ListLogsRequest(run_id=run_id), "logs", 20_000),
        (stubs.artifacts.ListArtifacts, artifacts.ListArtifactsRequest(), "artifacts", 200),
        (
            stubs.artifacts.ListLatestArtifacts,
            artifacts.ListLatestArtifactsRequest(),
            "artifacts",
            200,
        ),
        (stubs.variables.ListVariables, variables.ListVariablesRequest(), "variables", 200),
    ]
    for method, request, name, count in pages:
        request.page_size = 10_000 if name in {"logs", "transitions"} else 1000
        found = page_count = 0
        while True:
            page = method(request)
            assert page.ByteSize() < MOST, name
            found += len(getattr(page, name))
            page_count += 1
            request.page_token = page.next_page_token
            if not page.next_page_token:
                break
        assert found == count, name
        assert page_count > 1, name
    for each in stubs.logs.TailLogs(
        log_service_pb2.TailLogsRequest(run_id=run_id), timeout=TIMEOUT_S
    ):
        assert each.ByteSize() < MOST
    for answer in stubs.watch.Watch(
        watch_service_pb2.WatchRequest(run_id=run_id), timeout=TIMEOUT_S
    ):
        assert answer.ByteSize() < MOST


def test_largest_run_fits_into_one_answer(stubs: Stubs) -> None:
    events = largest_run()
    stubs.reports.ReportBatch(batch(new_id(), *events))
    request = flow_run_service_pb2.GetFlowRunRequest(id=events[0].run_created.run_id)
    assert 2 * MIB < stubs.flow_runs.GetFlowRun(request).ByteSize() < MOST


def test_whole_history_is_refused_where_it_is_too_large_for_a_message(stubs: Stubs) -> None:
    """A client from before pages would mistake a part for the whole history."""
    run_id, session_id, first = new_id(), new_id(), 2
    stubs.reports.ReportBatch(batch(session_id, created(run_id)))
    request = flow_run_service_pb2.ListFlowRunTransitionsRequest(id=run_id)
    for attempt in range(1, 7):
        events = [
            entered(run_id, "RUNNING", attempt=attempt),
            entered(run_id, "FAILED", attempt=attempt, failure=failure()),
        ]
        stubs.reports.ReportBatch(batch(session_id, *events, first=first))
        first += len(events)
        if attempt == 1:
            assert len(stubs.flow_runs.ListFlowRunTransitions(request).transitions) == 3
    told = refused(
        lambda: stubs.flow_runs.ListFlowRunTransitions(request), EXHAUSTED, "ANSWER_TOO_LARGE"
    )
    assert "page_size" in told["advice"]


LARGE = {
    "FlowRunService/GetFlowRun": 65 << 10,
    "FlowRunService/ListFlowRuns": 257 << 10,
    "FlowRunService/SetFlowRunState": (4 * MIB) + 1,
    "LogService/ListLogs": 65 << 10,
    "LogService/TailLogs": 65 << 10,
    "WatchService/Watch": 257 << 10,
    "ArtifactService/CreateArtifact": 3 * MIB,
    "VariableService/SetVariable": 257 << 10,
    "LabelService/SetLabels": 65 << 10,
    "SystemService/GetInfo": 65 << 10,
    "ReportService/ReportBatch": 5 * MIB,
    "SingleRunService/StartRun": MIB + 1,
    "SingleRunService/TouchRun": 2 * MIB + 1,
    "SingleRunService/FinishRun": 4 * MIB + 1,
}


@pytest.mark.parametrize("path", LARGE)
def test_request_larger_than_its_method_takes_is_refused(harness: Harness, path: str) -> None:
    # Unknown to all of them, like a newer client's field; only the size is wrong.
    size = LARGE[path]
    data = b"\xfa\x3f" + bytes(
        [size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14 & 0x7F | 0x80]
    )
    data += bytes([size >> 21]) + bytes(size)
    with pytest.raises(grpc.RpcError) as caught:
        list(harness.channel.unary_stream(f"/flowspan.v1.{path}")(data, timeout=TIMEOUT_S))
    assert caught.value.code() is INVALID
    assert path.rpartition("/")[2] in caught.value.details()


def test_first_frame_larger_than_a_hello_is_refused(harness: Harness) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        ReportStream(harness.channel, capabilities=["c" * 1000] * 70)
    assert caught.value.code() is INVALID


@pytest.mark.parametrize("unit", [b"\x12\x00", b"\x12\x02\x0a\x00"])
def test_large_messages_of_tiny_fields_are_refused_and_calls_go_on(
    harness: Harness, stubs: Stubs, unit: bytes
) -> None:
    size = 3 * MIB
    length = bytes([size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14 & 0x7F | 0x80])
    frame = b"\x12" + length + bytes([size >> 21]) + unit * (size // len(unit))
    report = harness.channel.stream_stream("/flowspan.v1.ReportService/Report")
    errors: list[grpc.RpcError] = []

    def send() -> None:
        hello = report_service_pb2.ReportRequest(hello=report_pb2.Hello(session_id=new_id()))
        with pytest.raises(grpc.RpcError) as caught:
            list(report(iter([hello.SerializeToString(), frame]), timeout=TIMEOUT_S))
        errors.append(caught.value)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        stubs.system.GetInfo(system_service_pb2.GetInfoRequest(), timeout=TIMEOUT_S)
    assert [each.code() for each in errors] == [INVALID] * 4
