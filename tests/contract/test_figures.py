"""The figures of /metrics follow what clients report."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from tests.support.harness import Harness
from tests.support.raw_http import get
from tests.support.report_client import (
    ReportStream,
    created,
    entered,
    new_id,
    short_run,
    whole_run,
)

from flowspan.v1 import report_pb2, trace_pb2, watch_service_pb2
from flowspan.v1 import report_service_pb2 as pb

if TYPE_CHECKING:
    from pathlib import Path

    from prometheus_client.samples import Sample
    from tests.support.harness import Stubs

OPENMETRICS = {"accept": "application/openmetrics-text"}


@pytest.fixture
def port(harness: Harness) -> int:
    return harness.start_http()


def samples(port: int) -> list[Sample]:
    answer = get(port, "/metrics", OPENMETRICS)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.headers["vary"] == "accept"
    found = text_string_to_metric_families(answer.body.decode())
    return [sample for metric in found for sample in metric.samples]


def value(port: int, name: str, **labels: str) -> float | None:
    """Return the only sample of these labels; None without one."""
    found = [each.value for each in samples(port) if (each.name, each.labels) == (name, labels)]
    assert len(found) < 2
    return found[0] if found else None


def report(stream: ReportStream, *events: report_pb2.Event) -> None:
    stream.wait_for_ack(stream.report(*events))
    assert not stream.verdicts


def test_ended_runs_have_counts_times_and_exemplars(harness: Harness, port: int) -> None:
    stream = ReportStream(harness.channel)
    flow, task, failed = new_id(), new_id(), new_id()
    trace = trace_pb2.TraceContext(traceparent=f"00-{'a' * 32}-{'b' * 16}-01")
    family = {"parent_run_id": flow, "root_run_id": flow, "flow_run_id": flow}
    report(stream, *whole_run(flow, function_name="etl", trace=trace))
    report(stream, *whole_run(task, kind="TASK", **family), short_run(new_id(), function_name="b"))
    report(stream, created(failed, function_name="etl"), entered(failed, "FAILED"))
    assert value(port, "flowspan_flow_runs_ended_total", flow="etl", state="COMPLETED") == 1
    assert value(port, "flowspan_flow_runs_ended_total", flow="etl", state="FAILED") == 1
    assert value(port, "flowspan_flow_runs_ended_total", flow="b", state="COMPLETED") == 1
    assert value(port, "flowspan_task_runs_ended_total", state="COMPLETED") == 1
    # The failed run never began.
    assert value(port, "flowspan_flow_run_duration_seconds_count", flow="etl") == 1
    assert value(port, "flowspan_flow_run_queue_wait_seconds_count", flow="etl") == 1
    assert value(port, "flowspan_task_run_duration_seconds_count") == 1
    exemplars = [each.exemplar for each in samples(port) if each.exemplar is not None]
    assert [each.labels for each in exemplars] == [{"trace_id": "a" * 32, "span_id": "b" * 16}] * 2


def test_resent_events_and_rollbacks_are_not_counted_again(harness: Harness, port: int) -> None:
    stream = ReportStream(harness.channel)
    flow, task, late = new_id(), new_id(), new_id()
    family = {"kind": "TASK", "parent_run_id": flow, "root_run_id": flow, "flow_run_id": flow}
    events = whole_run(flow)
    report(stream, *events)
    stream.send(batch=report_pb2.Batch(first_sequence=1, events=events))
    report(stream, *whole_run(late, **family))
    report(stream, entered(late, "COMPLETED", name="RolledBack"))
    # The end and the rollback arrive together.
    report(stream, *whole_run(task, **family), entered(task, "COMPLETED", name="RolledBack"))
    assert value(port, "flowspan_flow_runs_ended_total", flow="f", state="COMPLETED") == 1
    assert value(port, "flowspan_task_runs_ended_total", state="COMPLETED") == 2
    assert value(port, "flowspan_batches_total") == 5


def test_batches_of_single_calls_count(stubs: Stubs, port: int) -> None:
    batch = report_pb2.Batch(first_sequence=1, events=whole_run(new_id()))
    hello = report_pb2.Hello(session_id=new_id())
    for _ in range(2):  # the second one is sent again
        stubs.reports.ReportBatch(pb.ReportBatchRequest(hello=hello, batch=batch))
    assert value(port, "flowspan_batches_total") == 2
    assert value(port, "flowspan_flow_runs_ended_total", flow="f", state="COMPLETED") == 1
    assert value(port, "flowspan_committed_transitions_total") == 3


def test_a_crash_and_the_end_that_overrules_it_both_count(harness: Harness, port: int) -> None:
    stream = ReportStream(harness.channel)
    run_id = new_id()
    report(stream, created(run_id), entered(run_id, "RUNNING"))
    session_id = stream.session_id
    stream.call.cancel()
    while harness.connected():
        pass
    assert harness.pass_time(60) == [session_id]
    assert value(port, "flowspan_flow_runs_ended_total", flow="f", state="CRASHED") == 1
    back = ReportStream(harness.channel, session_id=session_id)
    report(back, entered(run_id, "COMPLETED"))
    assert value(port, "flowspan_flow_runs_ended_total", flow="f", state="CRASHED") == 1
    assert value(port, "flowspan_flow_runs_ended_total", flow="f", state="COMPLETED") == 1


def test_open_runs_sessions_and_watchers_follow(harness: Harness, stubs: Stubs, port: int) -> None:
    before = value(port, "flowspan_watchers") or 0
    stream = ReportStream(harness.channel)
    flow, other = new_id(), new_id()
    report(stream, created(flow), entered(flow, "RUNNING"), created(other))
    watched = stubs.watch.Watch(watch_service_pb2.WatchRequest(run_id=flow))
    assert next(watched).flow_run.id == flow
    next(watched)
    report(stream, entered(other, "RUNNING"))
    while value(port, "flowspan_watchers") != before + 1:  # the stream joins its feed soon
        pass
    assert value(port, "flowspan_open_runs", kind="flow", state="RUNNING") == 2
    assert value(port, "flowspan_open_runs", kind="flow", state="PENDING") is None
    assert value(port, "flowspan_sessions") == 1
    report(stream, entered(flow, "COMPLETED"), entered(other, "CANCELLED"))
    assert value(port, "flowspan_open_runs", kind="flow", state="RUNNING") is None
    watched.cancel()


def test_commits_have_times_and_sizes(harness: Harness, port: int) -> None:
    stream = ReportStream(harness.channel)
    for _ in range(3):
        report(stream, *whole_run(new_id()))
    harness.wait_for_store()
    found = {each.name: each.value for each in samples(port) if not each.labels}
    commits = found["flowspan_commit_duration_seconds_count"]
    assert commits >= 4  # the session, and three batches
    assert found["flowspan_commit_wait_seconds_count"] == commits
    assert found["flowspan_commit_operations_sum"] >= commits
    assert found["flowspan_commit_transitions_sum"] == 9
    assert 0 < found["flowspan_commit_duration_seconds_sum"] < 60
    assert 0 <= found["flowspan_commit_wait_seconds_sum"] < 60
    assert found["flowspan_database_size_bytes"] > 1_000
    assert "flowspan_spans_waiting" not in found


def test_a_database_that_does_not_answer_hides_only_its_own_figures(
    harness: Harness, port: int
) -> None:
    harness.run(harness.server.set_problem("The file was deleted."))
    names = {each.name for each in samples(port)}
    assert "flowspan_database_problem" in names
    assert "flowspan_database_size_bytes" not in names
    harness.run(harness.server.set_problem(""))


def test_figures_of_postgresql(tmp_path: Path, postgres_url: str) -> None:
    harness = Harness(tmp_path, db=postgres_url)
    try:
        harness.backend.about = replace(harness.backend.about, database="postgresql")
        port = harness.start_http()
        stream = ReportStream(harness.channel)
        report(stream, created(new_id(), kind="FLOW"), *whole_run(new_id(), function_name="etl"))
        assert value(port, "flowspan_open_runs", kind="flow", state="PENDING") == 1
        assert value(port, "flowspan_flow_runs_ended_total", flow="etl", state="COMPLETED") == 1
        assert (value(port, "flowspan_database_size_bytes") or 0) > 1_000
        assert value(port, "flowspan_database_disk_free_bytes") is None
    finally:
        harness.close()
