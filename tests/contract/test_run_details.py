"""Details of runs: descriptions, labels of a creation, causes of failures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
from tests.contract.test_labels import get as get_labels
from tests.support.harness import refused
from tests.support.report_client import ReportStream, created, entered, new_id, state

from flowspan.v1 import (
    failure_pb2,
    flow_run_pb2,
    flow_run_service_pb2,
    label_service_pb2,
    report_pb2,
    report_service_pb2,
    system_service_pb2,
    task_run_service_pb2,
    verdict_pb2,
    watch_service_pb2,
)

if TYPE_CHECKING:
    from tests.support.harness import Harness, Stubs

INVALID = grpc.StatusCode.INVALID_ARGUMENT
UPSTREAM = new_id()
DETAILS: dict[str, Any] = {
    "description": "Loads it.",
    "max_attempts": 3,
    "inputs": [{"run_id": UPSTREAM, "parameter": "rows"}],
    "code": {"file_path": "/app/etl.py", "line": 7, "function": "app.etl.load"},
}
PREVIEW = {"encoding": "json", "data": b'{"row": 7}'}
LABELS = {"team": "data", "empty": ""}


def get_flow_run(stubs: Stubs, run_id: str) -> Any:
    request = flow_run_service_pb2.GetFlowRunRequest(id=run_id)
    return stubs.flow_runs.GetFlowRun(request).flow_run


def get_task_run(stubs: Stubs, run_id: str) -> Any:
    request = task_run_service_pb2.GetTaskRunRequest(id=run_id)
    return stubs.task_runs.GetTaskRun(request).task_run


def details_of(run: Any) -> dict[str, Any]:
    """Return the details of a run, as messages of the same type."""
    return {name: getattr(run, name) for name in DETAILS}


EXPECTED = details_of(flow_run_pb2.FlowRun(**DETAILS))


def report(harness: Harness, *events: report_pb2.Event) -> list[Any]:
    """Report events in a session of their own; return the verdicts."""
    stream = ReportStream(harness.channel)
    stream.wait_for_ack(stream.report(*events))
    stream.goodbye()
    return stream.verdicts


def test_the_service_announces_them(stubs: Stubs) -> None:
    info = stubs.system.GetInfo(system_service_pb2.GetInfoRequest())
    assert {"run_details.v1", "payload_text.v1"} <= set(info.capabilities)


def test_reported_details_come_back(harness: Harness, stubs: Stubs) -> None:
    flow_id, task_id, plain_id = (new_id() for _ in range(3))
    family = {"parent_run_id": flow_id, "root_run_id": flow_id, "flow_run_id": flow_id}
    verdicts = report(
        harness,
        created(flow_id, labels=LABELS, version="v7", **DETAILS),
        created(task_id, kind="TASK", parameters=PREVIEW, version="v8", **family, **DETAILS),
        created(plain_id, kind="TASK", **family),
    )
    assert not verdicts
    flow_run, task_run = get_flow_run(stubs, flow_id), get_task_run(stubs, task_id)
    assert details_of(flow_run) == EXPECTED
    assert [str(each) for each in details_of(task_run).values()] == [
        str(each) for each in EXPECTED.values()
    ]
    assert (flow_run.flow_version, task_run.task_version) == ("v7", "v8")
    assert task_run.parameters.data == PREVIEW["data"]
    assert get_labels(stubs, flow_id) == LABELS
    assert get_labels(stubs, task_id) == {}
    plain = get_task_run(stubs, plain_id)
    assert not any(plain.HasField(name) for name in ("code", "parameters"))
    assert (plain.description, plain.max_attempts, list(plain.inputs)) == ("", 0, [])


def test_lists_and_watches_leave_out_the_large_fields(harness: Harness, stubs: Stubs) -> None:
    flow_id, small_id, large_id = sorted(new_id() for _ in range(3))
    family = {"parent_run_id": flow_id, "root_run_id": flow_id, "flow_run_id": flow_id}
    many = [{"run_id": UPSTREAM, "parameter": f"p{number}"} for number in range(21)]
    long = {"encoding": "json", "data": b'"' + b"x" * 2047 + b'"'}
    report(
        harness,
        created(flow_id, **DETAILS),
        created(small_id, kind="TASK", parameters=PREVIEW, **family, **DETAILS),
        created(large_id, kind="TASK", parameters=long, **family, **{**DETAILS, "inputs": many}),
        *(entered(run_id, "COMPLETED") for run_id in (small_id, large_id, flow_id)),
    )
    assert len(get_task_run(stubs, large_id).inputs) == 21
    assert get_task_run(stubs, large_id).parameters.data == long["data"]

    flow_runs = stubs.flow_runs.ListFlowRuns(flow_run_service_pb2.ListFlowRunsRequest()).flow_runs
    task_runs = stubs.task_runs.ListTaskRuns(
        task_run_service_pb2.ListTaskRunsRequest(filter={"parent_run_id": flow_id})
    ).task_runs
    listed = {run.id: run for run in [*flow_runs, *task_runs]}

    def watched(**fields: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for answer in stubs.watch.Watch(watch_service_pb2.WatchRequest(run_id=flow_id, **fields)):
            source = answer.change if answer.WhichOneof("item") == "change" else answer
            for kind in ("flow_run", "task_run"):
                if source.HasField(kind):
                    run = getattr(source, kind)
                    found[run.id] = run
        return found

    for runs in (listed, watched()):
        assert set(runs) == {flow_id, small_id, large_id}
        assert {run.description for run in runs.values()} == {""}
        assert {run.max_attempts for run in runs.values()} == {3}
        assert {run.code.line for run in runs.values()} == {7}
        assert [len(runs[each].inputs) for each in (flow_id, small_id, large_id)] == [1, 1, 0]
        assert runs[small_id].parameters.data == PREVIEW["data"]
        assert not runs[large_id].HasField("parameters")


def test_a_creation_is_repeated_by_an_older_client(harness: Harness) -> None:
    run_id = new_id()
    full, plain = created(run_id, labels=LABELS, **DETAILS), created(run_id)
    plain.run_created.state.CopyFrom(full.run_created.state)
    other = created(run_id, **{**DETAILS, "description": "other"})
    assert not report(harness, full)
    kinds = [verdict.kind for verdict in report(harness, full, plain, other)]
    duplicate = verdict_pb2.VERDICT_KIND_DUPLICATE
    assert kinds[:2] == [duplicate, duplicate]
    assert kinds[2] in {verdict_pb2.VERDICT_KIND_REJECTED, verdict_pb2.VERDICT_KIND_ABORT}


def test_labels_that_changed_are_not_set_again(harness: Harness, stubs: Stubs) -> None:
    run_id = new_id()
    creation = created(run_id, labels=LABELS, **DETAILS)
    report(harness, creation)
    stubs.labels.SetLabels(
        label_service_pb2.SetLabelsRequest(
            run_id=run_id, labels={"team": "web"}, removed_keys=["empty"]
        )
    )
    (verdict,) = report(harness, creation)
    assert verdict.kind == verdict_pb2.VERDICT_KIND_DUPLICATE
    assert get_labels(stubs, run_id) == {"team": "web"}


def create(stubs: Stubs, labels: Any = None, **fields: Any) -> Any:
    run = flow_run_pb2.FlowRun(flow_name="etl", state=state("PENDING"), **fields)
    return stubs.flow_runs.CreateFlowRun(
        flow_run_service_pb2.CreateFlowRunRequest(flow_run=run, labels=labels)
    )


def test_a_requested_run_has_details_and_labels(stubs: Stubs) -> None:
    run_id = new_id()
    answer = create(stubs, LABELS, id=run_id, **DETAILS)
    assert answer.created
    assert details_of(answer.flow_run) == EXPECTED == details_of(get_flow_run(stubs, run_id))
    assert get_labels(stubs, run_id) == LABELS
    assert not create(stubs, {"team": "web"}, id=run_id, **DETAILS).created
    assert not create(stubs, id=run_id).created
    assert get_labels(stubs, run_id) == LABELS
    other = {**DETAILS, "max_attempts": 4}
    refused(
        lambda: create(stubs, id=run_id, **other),
        grpc.StatusCode.ALREADY_EXISTS,
        "ALREADY_EXISTS",
    )


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"description": "a\0"}, "flow_run.description"),
        ({"description": "d" * 4097}, "flow_run.description"),
        ({"max_attempts": -1}, "flow_run.max_attempts"),
        ({"inputs": [{"run_id": "x", "parameter": "p"}]}, "flow_run.inputs.run_id"),
        ({"code": {"file_path": "f" * 1025}}, "flow_run.code.file_path"),
        ({"labels": {"Key": "v"}}, "labels"),
        ({"labels": {f"k{number}": "" for number in range(65)}}, "labels"),
    ],
    ids=range(7),
)
def test_bad_details_of_a_requested_run_are_refused(
    stubs: Stubs, fields: dict[str, Any], field: str
) -> None:
    run_id = new_id()
    with pytest.raises(grpc.RpcError) as caught:
        create(stubs, id=run_id, **fields)
    assert caught.value.code() == INVALID
    assert field in caught.value.details()
    with pytest.raises(grpc.RpcError) as caught:
        get_flow_run(stubs, run_id)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_other_causes_come_back(harness: Harness, stubs: Stubs) -> None:
    failure = failure_pb2.Failure(
        type="ExceptionGroup",
        message="two",
        other_causes=[
            {"type": "ValueError", "stack_trace": "s"},
            {"type": "OSError", "cause": {"type": "E"}, "other_causes": [{"type": "F"}]},
        ],
        cause={"type": "KeyError", "message": "k"},
    )
    run_id = new_id()
    assert not report(
        harness,
        created(run_id),
        entered(run_id, "RUNNING"),
        entered(run_id, "FAILED", failure=failure),
    )
    assert get_flow_run(stubs, run_id).state.failure == failure
    request = flow_run_service_pb2.ListFlowRunTransitionsRequest(id=run_id)
    history = stubs.flow_runs.ListFlowRunTransitions(request).transitions
    assert history[-1].state.failure == failure


def test_the_history_of_large_failures_can_be_read(stubs: Stubs) -> None:
    """The largest failure is small enough for the answers that hold it."""
    cause = {"type": "t" * 1024, "message": "m" * 32_768, "stack_trace": "s" * 65_536}
    failure = failure_pb2.Failure(**cause, other_causes=[cause] * 15)
    run_id, session_id = new_id(), new_id()
    events = [created(run_id)]
    for attempt in range(1, 6):
        events.append(entered(run_id, "RUNNING", attempt=attempt))
        events.append(entered(run_id, "FAILED", attempt=attempt, failure=failure))
    for first, event in enumerate(events, 1):
        answer = stubs.reports.ReportBatch(
            report_service_pb2.ReportBatchRequest(
                hello={"session_id": session_id},
                batch={"first_sequence": first, "events": [event]},
            )
        )
        assert not answer.ack.verdicts
    found, token = [], ""
    while True:
        page = stubs.flow_runs.ListFlowRunTransitions(
            flow_run_service_pb2.ListFlowRunTransitionsRequest(
                id=run_id, page_size=100, page_token=token
            )
        )
        assert page.ByteSize() < 4 << 20
        found += page.transitions
        token = page.next_page_token
        if not token:
            break
    assert [each.state.failure == failure for each in found].count(True) == 5
