"""FlowRunService, TaskRunService and FlowService."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from tests.support.harness import refused
from tests.support.report_client import (
    ReportStream,
    created,
    entered,
    new_id,
    now,
    state,
    whole_run,
)

from flowspan.v1 import (
    failure_pb2,
    flow_run_pb2,
    flow_run_service_pb2,
    flow_service_pb2,
    payload_pb2,
    run_filter_pb2,
    run_service_pb2,
    state_pb2,
    task_run_service_pb2,
    trace_pb2,
    transition_pb2,
    verdict_pb2,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.harness import Harness, Stubs

INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND


def flow_run(**fields: Any) -> flow_run_pb2.FlowRun:
    """Return a flow run to create, PENDING, with every field that a creator may set."""
    values = {
        "id": new_id(),
        "flow_name": "etl",
        "name": "brave-otter",
        "state": state("PENDING"),
        "tags": ["b", "a"],
        "parameters": payload_pb2.Payload(encoding="json", data=b'{"n": 1}'),
        "trace": trace_pb2.TraceContext(
            traceparent=f"00-{'a' * 32}-{'b' * 16}-01", tracestate="x=y", parent_span_id="c" * 16
        ),
        "flow_version": "v7",
        **fields,
    }
    return flow_run_pb2.FlowRun(**values)


def create(stubs: Stubs, run: flow_run_pb2.FlowRun) -> flow_run_service_pb2.CreateFlowRunResponse:
    return stubs.flow_runs.CreateFlowRun(flow_run_service_pb2.CreateFlowRunRequest(flow_run=run))


def get(stubs: Stubs, run_id: str) -> flow_run_pb2.FlowRun:
    return stubs.flow_runs.GetFlowRun(flow_run_service_pb2.GetFlowRunRequest(id=run_id)).flow_run


def set_state(stubs: Stubs, run_id: str, kind: str, **fields: Any) -> Any:
    wanted = state_pb2.State(type=f"STATE_TYPE_{kind}", **fields)
    return stubs.flow_runs.SetFlowRunState(
        flow_run_service_pb2.SetFlowRunStateRequest(id=run_id, state=wanted)
    )


def list_ids(stubs: Stubs, **fields: Any) -> list[str]:
    """Return the ids of all pages."""
    ids, token = [], ""
    while True:
        page = stubs.flow_runs.ListFlowRuns(
            flow_run_service_pb2.ListFlowRunsRequest(page_token=token, **fields)
        )
        ids += [run.id for run in page.flow_runs]
        token = page.next_page_token
        if not token:
            return ids


def test_created_run_is_as_asked_for(stubs: Stubs) -> None:
    asked = flow_run()
    answer = create(stubs, asked)
    assert answer.created
    run = get(stubs, asked.id)
    assert run == answer.flow_run
    for field in ("id", "flow_name", "name", "tags", "parameters", "trace", "flow_version"):
        assert getattr(run, field) == getattr(asked, field), field
    assert run.root_run_id == run.id
    assert run.flow_id
    assert (run.state.type, run.state.name) == (state_pb2.STATE_TYPE_PENDING, "Pending")
    assert run.state.time == run.create_time == asked.state.time
    assert (run.attempt, run.transition_count, run.session_id) == (1, 1, "")
    assert not run.HasField("start_time")
    assert not run.HasField("end_time")


def test_promise_creating_is_idempotent_for_64_creators(harness: Harness, stubs: Stubs) -> None:
    asked = flow_run()
    with ThreadPoolExecutor(64) as threads:
        answers = list(threads.map(lambda _: create(stubs, asked), range(64)))
    assert sum(answer.created for answer in answers) == 1
    assert {answer.flow_run.id for answer in answers} == {asked.id}
    assert list_ids(stubs) == [asked.id]


@pytest.mark.parametrize(
    "change",
    [
        {"flow_name": "other"},
        {"name": "other"},
        {"tags": ["a", "b"]},
        {"parameters": payload_pb2.Payload(encoding="json", data=b"{}")},
        {"parameters": None},
        {"flow_version": ""},
        {"parent_run_id": "018f4b1e-7c1a-7000-8000-000000000000"},
    ],
)
def test_promise_creating_refuses_another_content(stubs: Stubs, change: dict[str, Any]) -> None:
    asked = flow_run()
    create(stubs, asked)
    other = flow_run(**{"id": asked.id, **change})
    metadata = refused(
        lambda: create(stubs, other), grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS"
    )
    assert metadata["run_id"] == asked.id
    assert get(stubs, asked.id).name == "brave-otter"


def test_created_run_may_be_taken_by_a_session(harness: Harness, stubs: Stubs) -> None:
    run_id = new_id()
    create(stubs, flow_run_pb2.FlowRun(id=run_id, flow_name="f", state=state("PENDING")))
    stream = ReportStream(harness.channel)
    stream.wait_for_ack(stream.report(*whole_run(run_id)))
    stream.goodbye()
    assert [verdict.kind for verdict in stream.verdicts] == [verdict_pb2.VERDICT_KIND_DUPLICATE]
    assert get(stubs, run_id).session_id == stream.session_id
    assert get(stubs, run_id).state.name == "Completed"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"id": "018F4B1E-7C1A-7000-8000-000000000000"}, "flow_run.id"),
        ({"id": "not-an-id"}, "flow_run.id"),
        ({"flow_name": ""}, "flow_run.flow_name"),
        ({"flow_name": "é" * 129}, "flow_run.flow_name"),
        ({"name": "n" * 257}, "flow_run.name"),
        ({"parent_run_id": "x"}, "flow_run.parent_run_id"),
        ({"root_run_id": "x"}, "flow_run.root_run_id"),
        ({"tags": ["t"] * 65}, "flow_run.tags"),
        ({"tags": [""]}, "flow_run.tags"),
        ({"tags": ["t" * 257]}, "flow_run.tags"),
        ({"flow_version": "v" * 257}, "flow_run.flow_version"),
        ({"state": None}, "flow_run.state"),
        ({"state": state_pb2.State()}, "flow_run.state.type"),
        ({"state": state("RUNNING")}, "flow_run.state.type"),
        ({"state": state("PENDING", name="n" * 129)}, "flow_run.state.name"),
        ({"state": state("PENDING", message="m" * 32_769)}, "flow_run.state.message"),
        ({"state": state("PENDING", time={"seconds": -5})}, "flow_run.state.time"),
        ({"state": state("PENDING", time={"nanos": -5})}, "flow_run.state.time"),
        ({"parameters": payload_pb2.Payload(data=b"{}")}, "flow_run.parameters.encoding"),
        (
            {"parameters": payload_pb2.Payload(encoding="json", data=bytes((512 << 10) + 1))},
            "flow_run.parameters.data",
        ),
        ({"trace": trace_pb2.TraceContext(traceparent="00-x")}, "flow_run.trace.traceparent"),
    ],
)
def test_bad_field_is_named(stubs: Stubs, change: dict[str, Any], field: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        create(stubs, flow_run(**change))
    assert caught.value.code() is INVALID
    assert caught.value.details().startswith(f"{field}: ")
    assert list_ids(stubs) == []


def test_missing_runs_are_not_found(stubs: Stubs) -> None:
    run_id = new_id()
    task_runs, flow_runs = task_run_service_pb2, flow_run_service_pb2
    pending = state_pb2.State(type=state_pb2.STATE_TYPE_CANCELLING)
    calls: list[Callable[[], object]] = [
        lambda: get(stubs, run_id),
        lambda: set_state(stubs, run_id, "CANCELLING"),
        lambda: stubs.flow_runs.ListFlowRunTransitions(
            flow_runs.ListFlowRunTransitionsRequest(id=run_id)
        ),
        lambda: stubs.task_runs.GetTaskRun(task_runs.GetTaskRunRequest(id=run_id)),
        lambda: stubs.task_runs.SetTaskRunState(
            task_runs.SetTaskRunStateRequest(id=run_id, state=pending)
        ),
        lambda: stubs.task_runs.ListTaskRunTransitions(
            task_runs.ListTaskRunTransitionsRequest(id=run_id)
        ),
        lambda: stubs.flows.GetFlow(flow_service_pb2.GetFlowRequest(id=run_id)),
        lambda: stubs.flows.GetFlow(flow_service_pb2.GetFlowRequest(name="nobody")),
    ]
    for call in calls:
        refused(call, NOT_FOUND, "NOT_FOUND")


def test_flow_run_is_no_task_run(stubs: Stubs) -> None:
    asked = flow_run()
    create(stubs, asked)
    request = task_run_service_pb2.GetTaskRunRequest(id=asked.id)
    refused(lambda: stubs.task_runs.GetTaskRun(request), NOT_FOUND, "NOT_FOUND")


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("page_size", [1, 3, 100])
def test_pages_have_every_run_once_and_in_order(stubs: Stubs, order: int, page_size: int) -> None:
    ids = sorted(create(stubs, flow_run()).flow_run.id for _ in range(7))
    found = list_ids(stubs, order=order, page_size=page_size)
    assert found == (ids if order == 2 else ids[::-1])


def test_page_ends_before_it_is_too_large_for_a_message(stubs: Stubs) -> None:
    big = payload_pb2.Payload(encoding="json", data=b'"' + b"x" * 500_000 + b'"')
    ids = [create(stubs, flow_run(parameters=big)).flow_run.id for _ in range(12)]
    page = stubs.flow_runs.ListFlowRuns(flow_run_service_pb2.ListFlowRunsRequest())
    assert 0 < len(page.flow_runs) < 12
    assert page.ByteSize() < 4 << 20
    assert sorted(list_ids(stubs)) == sorted(ids)


def test_filters_select(stubs: Stubs) -> None:
    parent = create(stubs, flow_run(tags=["x", "y"])).flow_run
    child = create(
        stubs,
        flow_run(
            flow_name="other", name="", parent_run_id=parent.id, root_run_id=parent.id, tags=[]
        ),
    ).flow_run
    scheduled = create(
        stubs, flow_run(tags=["x"], state=state("SCHEDULED", name="Late", scheduled_time=now()))
    ).flow_run
    later = now()
    later.seconds += 3600

    def found(**fields: Any) -> set[str]:
        return set(list_ids(stubs, filter=run_filter_pb2.RunFilter(**fields)))

    assert found() == {parent.id, child.id, scheduled.id}
    assert found(state_types=[state_pb2.STATE_TYPE_SCHEDULED]) == {scheduled.id}
    assert found(state_names=["Late", "Pending"]) == {parent.id, child.id, scheduled.id}
    assert found(state_names=["Late"]) == {scheduled.id}
    assert found(function_names=["other"]) == {child.id}
    assert found(tags=["x"]) == {parent.id, scheduled.id}
    assert found(tags=["x", "y"]) == {parent.id}
    assert found(parent_run_id=parent.id) == {child.id}
    assert found(root_run_id=parent.id) == {parent.id, child.id}
    assert found(top_level_only=True) == {parent.id, scheduled.id}
    assert found(run_name="brave-otter") == {parent.id, scheduled.id}
    assert found(id_prefix=parent.id) == {parent.id}
    assert found(id_suffix=parent.id[-12:]) == {parent.id}
    assert found(id_suffix=parent.id) == {parent.id}
    assert found(created_after=later) == set()
    assert len(found(created_before=later)) == 3


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"page_size": -1}, "page_size"),
        ({"page_size": 1001}, "page_size"),
        ({"order": 9}, "order"),
        ({"filter": run_filter_pb2.RunFilter(state_types=[0])}, "filter.state_types"),
        ({"filter": run_filter_pb2.RunFilter(state_types=[77])}, "filter.state_types"),
        ({"filter": run_filter_pb2.RunFilter(id_prefix="zz%")}, "filter.id_prefix"),
        ({"filter": run_filter_pb2.RunFilter(id_prefix="0" * 36)}, "filter.id_prefix"),
        ({"filter": run_filter_pb2.RunFilter(id_suffix="0" * 33)}, "filter.id_suffix"),
        ({"filter": run_filter_pb2.RunFilter(id_suffix="%abc")}, "filter.id_suffix"),
        ({"filter": run_filter_pb2.RunFilter(id_suffix="abc")}, "filter.id_suffix"),
        ({"filter": run_filter_pb2.RunFilter(root_run_id="me")}, "filter.root_run_id"),
        ({"filter": run_filter_pb2.RunFilter(tags=["t"] * 101)}, "filter.tags"),
        ({"filter": run_filter_pb2.RunFilter(tags=[""])}, "filter.tags"),
        ({"filter": run_filter_pb2.RunFilter(state_names=[""])}, "filter.state_names"),
        ({"filter": run_filter_pb2.RunFilter(function_names=["a", ""])}, "filter.function_names"),
        ({"filter": run_filter_pb2.RunFilter(id_prefix="----")}, "filter.id_prefix"),
        ({"filter": run_filter_pb2.RunFilter(id_prefix="01a-----")}, "filter.id_prefix"),
        ({"filter": run_filter_pb2.RunFilter(id_prefix="    ")}, "filter.id_prefix"),
        ({"filter": run_filter_pb2.RunFilter(id_prefix="0" * 33)}, "filter.id_prefix"),
        ({"filter": run_filter_pb2.RunFilter(parent_run_id=" ")}, "filter.parent_run_id"),
    ],
)
def test_bad_lists_are_refused(stubs: Stubs, fields: dict[str, Any], field: str) -> None:
    requests = [
        lambda: stubs.flow_runs.ListFlowRuns(flow_run_service_pb2.ListFlowRunsRequest(**fields)),
        lambda: stubs.task_runs.ListTaskRuns(task_run_service_pb2.ListTaskRunsRequest(**fields)),
    ]
    for request in requests:
        with pytest.raises(grpc.RpcError) as caught:
            request()
        assert caught.value.code() is INVALID
        assert caught.value.details().startswith(field)


def test_page_token_belongs_to_its_query(stubs: Stubs) -> None:
    for _ in range(3):
        create(stubs, flow_run())
    Request = flow_run_service_pb2.ListFlowRunsRequest  # noqa: N806 - a class
    token = stubs.flow_runs.ListFlowRuns(Request(page_size=1)).next_page_token
    others = [
        Request(page_token=token, order=2),
        Request(page_token=token, filter=run_filter_pb2.RunFilter(run_name="x")),
        Request(page_token=token + "A"),
        Request(page_token=token[:-2]),
        Request(page_token="é"),
        Request(page_token="A" * 10_000),
    ]
    for request in others:
        refused(lambda r=request: stubs.flow_runs.ListFlowRuns(r), INVALID, "BAD_TOKEN")
    wrong = task_run_service_pb2.ListTaskRunsRequest(page_token=token)
    refused(lambda: stubs.task_runs.ListTaskRuns(wrong), INVALID, "BAD_TOKEN")
    assert stubs.flow_runs.ListFlowRuns(Request(page_size=2, page_token=token)).flow_runs


def test_counts_are_by_type(stubs: Stubs) -> None:
    for _ in range(3):
        create(stubs, flow_run())
    cancelled = create(stubs, flow_run()).flow_run.id
    set_state(stubs, cancelled, "CANCELLING")
    counts = stubs.flow_runs.CountFlowRuns(flow_run_service_pb2.CountFlowRunsRequest()).counts
    assert [(each.type, each.count) for each in counts] == [
        (state_pb2.STATE_TYPE_PENDING, 3),
        (state_pb2.STATE_TYPE_CANCELLED, 1),
    ]


def test_run_that_nobody_executes_is_cancelled_directly(stubs: Stubs) -> None:
    run = create(stubs, flow_run()).flow_run
    answer = set_state(stubs, run.id, "CANCELLING", message="not needed")
    assert answer.verdict.kind == verdict_pb2.VERDICT_KIND_ACCEPTED
    assert answer.flow_run.state.name == "Cancelled"
    assert answer.flow_run.state.message == "not needed"
    assert answer.flow_run == get(stubs, run.id)
    history = stubs.flow_runs.ListFlowRunTransitions(
        flow_run_service_pb2.ListFlowRunTransitionsRequest(id=run.id)
    ).transitions
    assert [each.ordinal for each in history] == [1, 2]
    assert history[1].cause == transition_pb2.TRANSITION_CAUSE_REQUESTED
    assert history[0].position < history[1].position
    assert history[1].HasField("commit_time")


def test_wish_against_the_rules_is_a_verdict(stubs: Stubs) -> None:
    run = create(stubs, flow_run()).flow_run
    set_state(stubs, run.id, "CANCELLING")
    answer = set_state(stubs, run.id, "RUNNING")
    assert answer.verdict.kind == verdict_pb2.VERDICT_KIND_REJECTED
    assert answer.verdict.rule == "terminal_is_final"
    assert answer.verdict.reason
    assert answer.verdict.current_state.name == "Cancelled"
    assert answer.flow_run.transition_count == 2


def test_task_run_is_cancelled_too(harness: Harness, stubs: Stubs) -> None:
    run_id = new_id()
    stream = ReportStream(harness.channel)
    stream.wait_for_ack(stream.report(created(run_id, kind="TASK"), entered(run_id, "RUNNING")))
    wanted = state_pb2.State(type=state_pb2.STATE_TYPE_CANCELLING)
    answer = stubs.task_runs.SetTaskRunState(
        task_run_service_pb2.SetTaskRunStateRequest(id=run_id, state=wanted)
    )
    assert answer.task_run.state.name == "Cancelling"
    assert stream.receive("command").cancel_run.run_id == run_id
    stream.wait_for_ack(stream.report(entered(run_id, "CANCELLED")))
    stream.goodbye()


def read_history(stubs: Stubs, kind: str, **fields: Any) -> Any:
    if kind == "FLOW":
        flow_request = flow_run_service_pb2.ListFlowRunTransitionsRequest(**fields)
        return stubs.flow_runs.ListFlowRunTransitions(flow_request)
    task_request = task_run_service_pb2.ListTaskRunTransitionsRequest(**fields)
    return stubs.task_runs.ListTaskRunTransitions(task_request)


@pytest.mark.parametrize("kind", ["FLOW", "TASK"])
def test_history_comes_whole_or_in_pages(harness: Harness, stubs: Stubs, kind: str) -> None:
    run_id, other_id = new_id(), new_id()
    stream = ReportStream(harness.channel)
    retries = [
        event
        for attempt in range(2, 5)
        for event in (
            entered(run_id, "SCHEDULED", attempt=attempt - 1),
            entered(run_id, "RUNNING", attempt=attempt),
        )
    ]
    events = [created(run_id, kind=kind), entered(run_id, "RUNNING"), *retries]
    stream.wait_for_ack(stream.report(*events, *whole_run(other_id, kind=kind)))
    stream.goodbye()

    whole = read_history(stubs, kind, id=run_id)
    ordinals = [each.ordinal for each in whole.transitions]
    assert ordinals == list(range(1, len(ordinals) + 1))
    assert len(ordinals) >= len(events)
    assert whole.next_page_token == ""
    for page_size in (1, 3, len(ordinals), 10_000):
        found, token = [], ""
        while True:
            page = read_history(stubs, kind, id=run_id, page_size=page_size, page_token=token)
            assert 1 <= len(page.transitions) <= page_size
            found += page.transitions
            token = page.next_page_token
            if not token:
                break
        assert found == list(whole.transitions)

    token = read_history(stubs, kind, id=run_id, page_size=1).next_page_token
    for bad in ({"id": other_id, "page_token": token}, {"id": run_id, "page_token": "AAAA"}):
        with pytest.raises(grpc.RpcError) as caught:
            read_history(stubs, kind, **bad)
        assert caught.value.code() is INVALID
    for page_size in (-1, 10_001):
        with pytest.raises(grpc.RpcError) as caught:
            read_history(stubs, kind, id=run_id, page_size=page_size)
        assert caught.value.details().startswith("page_size")


def test_deleting_takes_the_tree_and_is_idempotent(harness: Harness, stubs: Stubs) -> None:
    parent, child = new_id(), new_id()
    stream = ReportStream(harness.channel)
    stream.report(*whole_run(parent))
    below = {"kind": "TASK", "parent_run_id": parent, "root_run_id": parent}
    stream.wait_for_ack(stream.report(*whole_run(child, **below, flow_run_id=parent)))
    stream.goodbye()
    request = flow_run_service_pb2.DeleteFlowRunRequest(id=parent)
    assert stubs.flow_runs.DeleteFlowRun(request).deleted_run_count == 2
    assert stubs.flow_runs.DeleteFlowRun(request).deleted_run_count == 0
    refused(lambda: get(stubs, parent), NOT_FOUND, "NOT_FOUND")
    task = task_run_service_pb2.GetTaskRunRequest(id=child)
    refused(lambda: stubs.task_runs.GetTaskRun(task), NOT_FOUND, "NOT_FOUND")


def test_failure_and_result_come_back_as_reported(harness: Harness, stubs: Stubs) -> None:
    failed, done = new_id(), new_id()
    cause = failure_pb2.Failure(type="KeyError", message="'x'")
    failure = failure_pb2.Failure(type="m.Oops", message="é", stack_trace="at …", cause=cause)
    result = payload_pb2.Payload(encoding="json", data=b"[1]")
    stream = ReportStream(harness.channel)
    stream.report(created(failed), entered(failed, "FAILED", name="TimedOut", failure=failure))
    stream.wait_for_ack(stream.report(created(done), entered(done, "COMPLETED", result=result)))
    stream.goodbye()
    assert get(stubs, failed).state.failure == failure
    assert get(stubs, failed).state.name == "TimedOut"
    assert get(stubs, done).state.result == result


def test_flows_are_known_by_their_runs(stubs: Stubs) -> None:
    names = [f"flow-{number}" for number in range(5)]
    ids = {}
    for name in reversed(names):
        ids[name] = create(stubs, flow_run(flow_name=name)).flow_run.flow_id
    found, token = [], ""
    while True:
        page = stubs.flows.ListFlows(
            flow_service_pb2.ListFlowsRequest(page_size=2, page_token=token)
        )
        found += [(flow.name, flow.id) for flow in page.flows]
        token = page.next_page_token
        if not token:
            break
    assert found == sorted(ids.items())
    by_name = stubs.flows.GetFlow(flow_service_pb2.GetFlowRequest(name="flow-3")).flow
    by_id = stubs.flows.GetFlow(flow_service_pb2.GetFlowRequest(id=ids["flow-3"])).flow
    assert by_name == by_id
    assert by_name.HasField("create_time")
    empty = flow_service_pb2.GetFlowRequest()
    refused(lambda: stubs.flows.GetFlow(empty), INVALID, "INVALID_FIELD")


def test_a_run_of_either_kind_is_found_by_its_id(harness: Harness, stubs: Stubs) -> None:
    flow, task = new_id(), new_id()
    stream = ReportStream(harness.channel)
    stream.report(*whole_run(flow), *whole_run(task, kind="TASK"))
    stream.goodbye()
    found = stubs.runs.GetRun(run_service_pb2.GetRunRequest(id=flow))
    got_flow = stubs.flow_runs.GetFlowRun(flow_run_service_pb2.GetFlowRunRequest(id=flow))
    assert found.flow_run == got_flow.flow_run
    found = stubs.runs.GetRun(run_service_pb2.GetRunRequest(id=task))
    got_task = stubs.task_runs.GetTaskRun(task_run_service_pb2.GetTaskRunRequest(id=task))
    assert found.task_run == got_task.task_run
    for bad, code, reason in (
        (new_id(), NOT_FOUND, "NOT_FOUND"),
        ("", INVALID, "INVALID_FIELD"),
        ("latest", INVALID, "INVALID_FIELD"),
    ):
        request = run_service_pb2.GetRunRequest(id=bad)
        refused(lambda r=request: stubs.runs.GetRun(r), code, reason)
