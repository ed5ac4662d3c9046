"""Sessions whose spans the service exports: their resource, and derived trace contexts."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from tests.support.harness import GRACE_S, refused
from tests.support.report_client import ReportStream, created, entered, new_id, whole_run
from tests.support.run_queries import wait_until

from flowspan.v1 import (
    flow_run_service_pb2,
    report_pb2,
    state_pb2,
    task_run_service_pb2,
    trace_pb2,
    watch_service_pb2,
)
from flowspan.v1 import report_service_pb2 as pb
from flowspan_service.api import limits
from flowspan_service.process.live_processes import mark_of

if TYPE_CHECKING:
    from tests.support.harness import Harness, Stubs

    from flowspan_service.domain.sessions import SessionEnd

SENT = trace_pb2.TraceContext(traceparent=f"00-{'a' * 32}-{'b' * 16}-01")


def get(stubs: Stubs, run_id: str) -> Any:
    return stubs.flow_runs.GetFlowRun(flow_run_service_pb2.GetFlowRunRequest(id=run_id)).flow_run


def digits(run_id: str) -> str:
    return run_id.replace("-", "")


def report(stream: ReportStream, *events: report_pb2.Event) -> None:
    stream.wait_for_ack(stream.report(*events))
    assert not stream.verdicts


def test_answers_show_derived_trace_contexts(harness: Harness, stubs: Stubs) -> None:
    stream = ReportStream(harness.channel, spans_by_service=True)
    root, task = new_id(), new_id()
    report(
        stream,
        *whole_run(root),
        *whole_run(task, kind="TASK", parent_run_id=root, root_run_id=root, flow_run_id=root),
    )
    of_root = trace_pb2.TraceContext(
        traceparent=f"00-{digits(root)}-{digits(root)[16:]}-03", exported_by_service=True
    )
    of_task = trace_pb2.TraceContext(
        traceparent=f"00-{digits(root)}-{digits(task)[16:]}-03",
        parent_span_id=digits(root)[16:],
        exported_by_service=True,
    )
    assert get(stubs, root).trace == of_root
    runs = stubs.flow_runs.ListFlowRuns(flow_run_service_pb2.ListFlowRunsRequest()).flow_runs
    assert [run.trace for run in runs] == [of_root]
    tasks = stubs.task_runs.ListTaskRuns(task_run_service_pb2.ListTaskRunsRequest()).task_runs
    assert [run.trace for run in tasks] == [of_task]
    watched = stubs.watch.Watch(watch_service_pb2.WatchRequest(run_id=root))
    snapshot = [next(watched), next(watched)]
    assert [snapshot[0].flow_run.trace, snapshot[1].task_run.trace] == [of_root, of_task]
    watched.cancel()
    stream.goodbye()


def test_a_requested_state_answers_with_the_trace_context_too(
    harness: Harness, stubs: Stubs
) -> None:
    stream = ReportStream(harness.channel, spans_by_service=True)
    run_id = new_id()
    report(stream, created(run_id), entered(run_id, "RUNNING"))
    request = flow_run_service_pb2.SetFlowRunStateRequest(
        id=run_id, state=state_pb2.State(type=state_pb2.STATE_TYPE_CANCELLED)
    )
    answer = stubs.flow_runs.SetFlowRunState(request)
    assert answer.flow_run.trace == get(stubs, run_id).trace
    assert digits(run_id) in answer.flow_run.trace.traceparent
    stream.goodbye()


def test_a_run_of_another_process_joins_the_trace_of_its_caller(
    harness: Harness, stubs: Stubs
) -> None:
    caller, called = new_id(), new_id()
    with_sdk = ReportStream(harness.channel)
    without = ReportStream(harness.channel, spans_by_service=True)
    report(without, *whole_run(called, parent_run_id=caller, root_run_id=caller))
    assert get(stubs, called).trace.traceparent.split("-")[1] == digits(caller)
    listed = flow_run_service_pb2.ListFlowRunsRequest()
    stubs.flow_runs.ListFlowRuns(listed)
    report(with_sdk, *whole_run(caller, trace=SENT))
    trace = get(stubs, called).trace
    assert trace.traceparent == f"00-{'a' * 32}-{digits(called)[16:]}-01"
    assert trace.parent_span_id == "b" * 16
    runs = stubs.flow_runs.ListFlowRuns(listed).flow_runs
    assert [run.trace for run in runs if run.id == called] == [trace]
    with_sdk.goodbye()
    without.goodbye()


def test_a_client_that_chose_the_ids_keeps_them(harness: Harness, stubs: Stubs) -> None:
    stream = ReportStream(harness.channel, spans_by_service=True)
    run_id = new_id()
    report(stream, *whole_run(run_id, trace=SENT))
    trace = get(stubs, run_id).trace
    assert (trace.traceparent, trace.exported_by_service) == (SENT.traceparent, True)
    stream.goodbye()


def test_runs_of_other_sessions_have_no_derived_context(harness: Harness, stubs: Stubs) -> None:
    stream = ReportStream(harness.channel)
    run_id = new_id()
    report(stream, *whole_run(run_id))
    assert not get(stubs, run_id).HasField("trace")
    stream.goodbye()


def test_the_resource_is_kept_with_the_session(harness: Harness) -> None:
    resource = {"service.name": "etl", "host.name": "h"}
    stream = ReportStream(harness.channel, resource=resource, client_name="flowspan-go")
    again = ReportStream(harness.channel, session_id=stream.session_id, recovering=True)
    found = harness.store.sessions.span_sources([stream.session_id])
    assert found[stream.session_id][:3] == ("flowspan-go", resource, None)
    assert not harness.session(stream.session_id).spans_by_service
    again.goodbye()


def test_the_largest_resource_is_taken(harness: Harness) -> None:
    resource = {
        f"{number:03}".ljust(limits.RESOURCE_KEY, "k"): "v" * limits.RESOURCE_VALUE
        for number in range(limits.RESOURCE_COUNT)
    }
    stream = ReportStream(harness.channel, resource=resource)
    found = harness.store.sessions.span_sources([stream.session_id])
    assert found[stream.session_id].resource == resource
    stream.goodbye()


@pytest.mark.parametrize(
    ("resource", "reason"),
    [
        ({f"k{number}": "v" for number in range(limits.RESOURCE_COUNT + 1)}, "TOO_LARGE"),
        ({"k" * (limits.RESOURCE_KEY + 1): "v"}, "TOO_LARGE"),
        ({"k": "v" * (limits.RESOURCE_VALUE + 1)}, "TOO_LARGE"),
        ({"": "v"}, "INVALID_FIELD"),
        ({"k": "a\0b"}, "INVALID_FIELD"),
    ],
    ids=["too many", "long key", "long value", "no key", "NUL"],
)
def test_resources_have_limits(stubs: Stubs, resource: dict[str, str], reason: str) -> None:
    hello = report_pb2.Hello(session_id=new_id(), resource=resource)
    metadata = refused(
        lambda: stubs.reports.ReportBatch(pb.ReportBatchRequest(hello=hello)),
        grpc.StatusCode.INVALID_ARGUMENT,
        reason,
    )
    assert metadata["field"].startswith("hello.resource")


def test_a_run_that_a_session_takes_over_gets_its_exporter(harness: Harness, stubs: Stubs) -> None:
    run_id = new_id()
    first = ReportStream(harness.channel)
    report(first, created(run_id), entered(run_id, "RUNNING"))
    first.goodbye()
    second = ReportStream(harness.channel, spans_by_service=True)
    report(second, entered(run_id, "COMPLETED"))
    assert get(stubs, run_id).trace.exported_by_service
    ((found,), *_) = harness.store.runs.needing_spans(after=0, since_us=0, limit=9)
    assert found.id == run_id
    second.goodbye()


TARGET = {
    "protocol": "http/protobuf",
    "traces_url": "http://collector:4318/v1/traces",
    "logs_url": "http://collector:4318/v1/logs",
}


def target_of(harness: Harness, session_id: str) -> Any:
    return harness.store.sessions.span_sources([session_id])[session_id].target


def test_each_hello_replaces_the_receivers_of_the_client(harness: Harness, stubs: Stubs) -> None:
    session_id, secret = new_id(), b"s" * 16

    def say(**fields: Any) -> None:
        hello = report_pb2.Hello(session_id=session_id, secret=secret, **fields)
        stubs.reports.ReportBatch(pb.ReportBatchRequest(hello=hello))

    say(otlp_target=TARGET)
    assert target_of(harness, session_id)._asdict() == TARGET
    say(otlp_target=trace_pb2.OtlpTarget(traces_url="http://other:4317"))
    assert target_of(harness, session_id) == ("grpc", "http://other:4317", "")
    say(recovering=True)
    assert target_of(harness, session_id) is not None, "another process said that"
    say()
    assert target_of(harness, session_id) is None
    say(otlp_target=trace_pb2.OtlpTarget(protocol="grpc"))
    assert target_of(harness, session_id) is None


@pytest.mark.parametrize(
    ("target", "field"),
    [
        ({"protocol": "http/json", "traces_url": "http://c"}, "protocol"),
        ({"traces_url": "c:4317"}, "traces_url"),
        ({"traces_url": "ftp://c"}, "traces_url"),
        ({"traces_url": "http://"}, "traces_url"),
        ({"traces_url": "http://user@c"}, "traces_url"),
        ({"traces_url": "http://c?key=secret"}, "traces_url"),
        ({"traces_url": "http://c#part"}, "traces_url"),
        ({"traces_url": "http://c:port"}, "traces_url"),
        ({"traces_url": "http://c/a b"}, "traces_url"),
        ({"logs_url": "unix:/socket"}, "logs_url"),
        ({"logs_url": f"http://{'c' * limits.OTLP_URL}"}, "logs_url"),
    ],
)
def test_receivers_are_checked(stubs: Stubs, target: dict[str, str], field: str) -> None:
    hello = report_pb2.Hello(session_id=new_id(), otlp_target=target)
    reason = "TOO_LARGE" if len(str(target)) > 1000 else "INVALID_FIELD"
    metadata = refused(
        lambda: stubs.reports.ReportBatch(pb.ReportBatchRequest(hello=hello)),
        grpc.StatusCode.INVALID_ARGUMENT,
        reason,
    )
    assert metadata["field"] == f"hello.otlp_target.{field}"


def end_of(harness: Harness, session_id: str) -> SessionEnd:
    end = harness.store.sessions.span_sources([session_id])[session_id].end
    assert end is not None
    return end


def test_a_connection_that_the_client_ends_is_broken_off(harness: Harness) -> None:
    stream = ReportStream(harness.channel)
    run_id = new_id()
    report(stream, created(run_id), entered(run_id, "RUNNING"))
    assert not end_of(harness, stream.session_id).is_broken_off
    stream.break_off()
    wait_until(lambda: end_of(harness, stream.session_id).is_broken_off, "the end to be stored")
    again = ReportStream(harness.channel, session_id=stream.session_id)
    assert not end_of(harness, stream.session_id).is_broken_off
    again.goodbye()


def test_a_connection_that_the_service_ends_is_not_broken_off(harness: Harness) -> None:
    stream = ReportStream(harness.channel)
    stream.next_sequence = 100
    stream.report(*whole_run(new_id()))
    with pytest.raises(grpc.RpcError):
        stream.receive("ack")

    def is_in_grace() -> bool:
        session = harness.store.sessions.get(stream.session_id)
        return session is not None and session.silence_us == GRACE_S * 1_000_000

    wait_until(is_in_grace, "the grace to begin")
    assert not end_of(harness, stream.session_id).is_broken_off


@pytest.mark.parametrize("is_here", [True, False])
def test_the_process_of_a_client_on_this_machine_is_marked(harness: Harness, is_here: bool) -> None:
    hostname = socket.gethostname() if is_here else "elsewhere"
    stream = ReportStream(harness.channel, hostname=hostname, process_id=os.getpid())
    end = end_of(harness, stream.session_id)
    stream.goodbye()
    assert (end.hostname, end.process_id) == (hostname, os.getpid())
    assert end.process_mark == mark_of(os.getpid(), hostname)
    if not is_here:
        assert end.process_mark == ""
