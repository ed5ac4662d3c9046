"""Runs in a real Jaeger, through its query API."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from tests.support.flow_processes import FlowProcess, run_code
from tests.support.run_queries import flow_runs, task_runs, wait_until

from flowspan.v1 import log_service_pb2, log_service_pb2_grpc, state_pb2

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.jaeger import Jaeger
    from tests.support.service import ServiceProcess

# A build of Jaeger takes minutes and happens within the first test.
pytestmark = [pytest.mark.jaeger, pytest.mark.timeout(3600)]

NESTED = """
    from flowspan import flow, get_run_logger, task

    calls = []

    @task(retries=1)
    def flaky():
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("the first time")

    @task
    def square(number):
        get_run_logger().info("squared")
        return number * number

    @flow
    def inner():
        return sum(square.map([1, 2]).result())

    @flow
    def outer():
        flaky()
        return inner()

    outer()
"""

LINKED = """
    from flowspan import flow, task

    @task
    def load(day):
        return day

    @task
    def total(days):
        return sum(days)

    @task
    def show(result):
        return str(result)

    @flow
    def linked():
        show(total.submit(load.map([1, 2, 3])))

    linked()
"""

WAITING = """
    from flowspan import flow, task

    @task
    def done():
        return 1

    @task
    def wait():
        print("waiting", flush=True)
        input()

    @flow
    def doomed():
        done()
        wait()

    doomed()
"""


@pytest.fixture
def service(start_service: Callable[..., ServiceProcess], jaeger: Jaeger) -> ServiceProcess:
    """Return a service that exports to Jaeger; its clients do not."""
    return start_service(grace_s=1.0, arguments=("--otlp-endpoint", jaeger.endpoint))


def trace_id_of(service: ServiceProcess, flow_name: str) -> str:
    (run,) = [run for run in flow_runs(service.channel) if run.flow_name == flow_name]
    trace_id: str = run.trace.traceparent.split("-")[1]
    return trace_id


def test_jaeger_shows_runs_as_they_were_nested(
    service: ServiceProcess, jaeger: Jaeger, flowspan_home: Path
) -> None:
    run_code(NESTED, home=flowspan_home, address=service.address)

    names = ["outer", "flaky", "flaky attempt", "flaky attempt", "inner", "square", "square"]
    spans = jaeger.wait_for_trace(trace_id_of(service, "outer"), names)
    by_name = {span.name: span for span in spans}
    outer, inner, flaky = by_name["outer"], by_name["inner"], by_name["flaky"]
    assert outer.parent_id == ""
    assert inner.parent_id == flaky.parent_id == outer.span_id
    assert {span.parent_id for span in spans if span.name == "square"} == {inner.span_id}
    first, second = [span for span in spans if span.name == "flaky attempt"]
    assert first.parent_id == second.parent_id == flaky.span_id
    assert [span.is_error for span in (outer, flaky, first, second)] == [False, False, True, False]
    assert first.events[0]["exception.message"] == "the first time"
    (service_name,) = {span.service_name for span in spans}
    assert service_name.startswith("program-"), "it is the name of the script"
    assert [span.warnings for span in spans] == [[]] * len(spans)
    assert "outer" in jaeger.get(f"/api/services/{service_name}/operations")["data"]


def test_jaeger_shows_what_a_task_took_its_input_from(
    service: ServiceProcess, jaeger: Jaeger, flowspan_home: Path
) -> None:
    run_code(LINKED, home=flowspan_home, address=service.address)

    names = ["linked", "load", "load", "load", "total", "show"]
    spans = jaeger.wait_for_trace(trace_id_of(service, "linked"), names)
    by_name = {span.name: span for span in spans}
    linked, total, show = by_name["linked"], by_name["total"], by_name["show"]
    loads = [span for span in spans if span.name == "load"]
    assert {span.parent_id for span in (*loads, total, show)} == {linked.span_id}
    assert sorted(span.tags["flowspan.map.index"] for span in loads) == [0, 1, 2]
    assert sorted(total.links) == sorted(span.span_id for span in loads)
    assert show.links == [total.span_id]
    assert [span.links for span in loads] == [[]] * 3
    assert [span.warnings for span in spans] == [[]] * len(spans)


def test_logs_lead_to_jaeger(service: ServiceProcess, jaeger: Jaeger, flowspan_home: Path) -> None:
    run_code(NESTED, home=flowspan_home, address=service.address)

    (top,) = [run for run in flow_runs(service.channel) if run.flow_name == "outer"]
    logs = log_service_pb2_grpc.LogServiceStub(service.channel).ListLogs(
        log_service_pb2.ListLogsRequest(run_id=top.id, include_descendants=True), timeout=30
    )
    squared = {(log.trace_id, log.span_id) for log in logs.logs if log.message == "squared"}
    trace_id = trace_id_of(service, "outer")
    wait_until(lambda: len(jaeger.trace(trace_id)) == 7, "the whole trace")
    spans = [span for span in jaeger.trace(trace_id) if span.name == "square"]
    assert squared == {(trace_id, span.span_id) for span in spans}


def test_jaeger_finds_runs_by_their_attributes(
    service: ServiceProcess, jaeger: Jaeger, flowspan_home: Path
) -> None:
    run_code(NESTED, home=flowspan_home, address=service.address)

    trace_id = trace_id_of(service, "outer")
    wait_until(lambda: len(jaeger.trace(trace_id)) == 7, "the whole trace")
    (top,) = [run for run in flow_runs(service.channel) if run.flow_name == "outer"]
    tags = quote(f'{{"flowspan.run.id":"{top.id}"}}')
    now_us = time.time_ns() // 1000
    hour_us = 3_600_000_000
    (name,) = {span.service_name for span in jaeger.trace(trace_id)}
    query = f"service={name}&tags={tags}&start={now_us - hour_us}&end={now_us + hour_us}&limit=9"
    (found,) = jaeger.get(f"/api/traces?{query}")["data"]
    assert found["traceID"] == trace_id


@pytest.mark.parametrize(
    ("name", "value", "is_found"),
    [
        ("flowspan.state.type", "FAILED", True),
        ("flowspan.state.type", "COMPLETED", False),
        ("flowspan.flow.name", "broken", True),
        ("error.type", "ZeroDivisionError", True),
        ("error.type", "KeyError", False),
    ],
)
def test_the_filters_of_the_page_on_traces(
    service: ServiceProcess,
    jaeger: Jaeger,
    flowspan_home: Path,
    name: str,
    value: str,
    is_found: bool,
) -> None:
    own = f"filters-{os.getpid()}-{time.time_ns()}"
    run_code(
        """
        from flowspan import flow

        @flow
        def broken():
            1 / 0

        broken(return_state=True)
        """,
        home=flowspan_home,
        address=service.address,
        env={"OTEL_SERVICE_NAME": own},
    )
    jaeger.wait_for_trace(trace_id_of(service, "broken"), ["broken"])
    tags = quote(f'{{"{name}":"{value}"}}')
    now_us = time.time_ns() // 1000
    hour_us = 3_600_000_000
    query = f"service={own}&tags={tags}&start={now_us - hour_us}&end={now_us + hour_us}&limit=9"
    assert len(jaeger.get(f"/api/traces?{query}")["data"]) == is_found


def test_promise_no_trace_hole_in_jaeger(
    service: ServiceProcess, jaeger: Jaeger, flowspan_home: Path
) -> None:
    with FlowProcess(WAITING, home=flowspan_home, address=service.address) as process:
        process.wait_for_line("waiting")
        running = {"done": state_pb2.STATE_TYPE_COMPLETED, "wait": state_pb2.STATE_TYPE_RUNNING}
        wait_until(
            lambda: {r.task_name: r.state.type for r in task_runs(service.channel)} == running,
            "the tasks to be reported",
        )
        trace_id = trace_id_of(service, "doomed")
        jaeger.wait_for_trace(trace_id, ["done"])
        process.kill()
        spans = jaeger.wait_for_trace(trace_id, ["doomed", "done", "wait"])

    doomed, done, wait = (next(s for s in spans if s.name == n) for n in ("doomed", "done", "wait"))
    assert doomed.parent_id == ""
    assert done.parent_id == wait.parent_id == doomed.span_id
    assert [span.is_error for span in (doomed, done, wait)] == [True, False, True]
    assert [span.is_synthetic for span in (doomed, done, wait)] == [True, False, True]
    assert wait.tags["error.type"] == "flowspan.crashed"
    assert [span.warnings for span in spans] == [[]] * 3, (
        "each span must have its parent in the trace"
    )


def test_a_process_that_was_only_silent(
    start_service: Callable[..., ServiceProcess], jaeger: Jaeger, flowspan_home: Path
) -> None:
    """It was declared dead, came back and completed: its own spans are the only ones."""
    service = start_service(lease_s=1.0, arguments=("--otlp-endpoint", jaeger.endpoint))
    with FlowProcess(WAITING, home=flowspan_home, address=service.address) as process:
        process.wait_for_line("waiting")
        wait_until(lambda: len(task_runs(service.channel)) == 2, "the tasks to be reported")
        trace_id = trace_id_of(service, "doomed")
        jaeger.wait_for_trace(trace_id, ["done"])
        os.kill(process.pid, signal.SIGSTOP)
        wait_until(
            lambda: {run.state.name for run in flow_runs(service.channel)} == {"Crashed"},
            "the end of the lease",
        )
        os.kill(process.pid, signal.SIGCONT)
        process.say("")
        process.finish()
    spans = jaeger.wait_for_trace(trace_id, ["doomed", "done", "wait"])
    assert not any(span.is_synthetic or span.is_error for span in spans)


def test_over_http(
    start_service: Callable[..., ServiceProcess], jaeger: Jaeger, flowspan_home: Path
) -> None:
    service = start_service()
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": jaeger.http_endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_SERVICE_NAME": "over-http",
    }
    run_code(NESTED, home=flowspan_home, address=service.address, env=env)
    wait_until(
        lambda: len(jaeger.trace(trace_id_of(service, "outer"))) == 7,
        "the whole trace",
    )
    assert "over-http" in jaeger.get("/api/services")["data"]
