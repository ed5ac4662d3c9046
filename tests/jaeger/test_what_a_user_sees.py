"""A real Jaeger, looked at as a user does: finding a running flow, and telling waits from work."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from tests.support.flow_processes import FlowProcess, run_code
from tests.support.run_queries import flow_runs, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.jaeger import Jaeger, JaegerSpan
    from tests.support.service import ServiceProcess

# A build of Jaeger takes minutes and happens within the first test.
pytestmark = [pytest.mark.jaeger, pytest.mark.timeout(3600)]

LONG = """
    from flowspan import flow, task

    @task
    def load():
        return 1

    @flow
    def nightly():
        load()
        print("running", flush=True)
        input()

    nightly()
"""

POOLED = """
    import time

    from flowspan import flow, task
    from flowspan.task_runners import ProcessPoolTaskRunner

    @task
    def crunch():
        time.sleep(0.05)

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
    def pooled():
        crunch.submit().result()

    if __name__ == "__main__":
        pooled()
"""

RETRIED = """
    import time

    from flowspan import flow, task

    calls = []

    @task(retries=1, retry_delay_seconds=0.4)
    def flaky():
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("no")

    @task
    def source():
        time.sleep(0.3)

    @task
    def sink(value):
        pass

    @flow
    def inner():
        sink.submit(source.submit()).result()

    @flow
    def outer():
        flaky()
        inner()

    outer()
"""

FAILED = """
    from flowspan import flow, task

    @task
    def check():
        raise ValueError("no")

    @flow
    def import_orders():
        check()

    import_orders()
"""


@pytest.fixture
def service(start_service: Callable[..., ServiceProcess], jaeger: Jaeger) -> ServiceProcess:
    """Return a service that exports to Jaeger; its clients do not."""
    return start_service(grace_s=1.0, arguments=("--otlp-endpoint", jaeger.endpoint))


def search(jaeger: Jaeger, service_name: str, **query: Any) -> list[str]:
    """Return the ids of the traces that Jaeger's search finds."""
    now_us, hour_us = time.time_ns() // 1000, 3_600_000_000
    asked = {"service": service_name, "start": now_us - hour_us, "end": now_us + hour_us, **query}
    found = jaeger.get(f"/api/traces?{urlencode(asked)}&limit=20")["data"]
    return [trace["traceID"] for trace in found]


def trace_of(service: ServiceProcess, jaeger: Jaeger, flow_name: str, names: list[str]) -> Any:
    """Wait until the trace of a flow has spans of these names; return them by name."""
    (run,) = [run for run in flow_runs(service.channel) if run.flow_name == flow_name]
    spans = jaeger.wait_for_trace(run.trace.traceparent.split("-")[1], names)
    assert [span.warnings for span in spans] == [[]] * len(spans)
    return {span.name: span for span in spans}


def test_a_running_flow_can_be_found(
    service: ServiceProcess, jaeger: Jaeger, flowspan_home: Path
) -> None:
    env = {"OTEL_SERVICE_NAME": "found-while-running"}
    with FlowProcess(LONG, home=flowspan_home, address=service.address, env=env) as process:
        process.wait_for_line("running")

        def is_listed() -> bool:
            found = jaeger.get("/api/services/found-while-running/operations")["data"]
            return "nightly started" in (found or [])

        wait_until(is_listed, "the running flow")
        assert process.process.poll() is None
        (found,) = search(jaeger, "found-while-running", operation="nightly started")
        assert search(jaeger, "found-while-running", tags='{"flowspan.flow.name":"nightly"}') == [
            found
        ]
        process.say("")
        process.finish()
    spans = trace_of(service, jaeger, "nightly", ["nightly", "nightly started", "load"])
    started, nightly = spans["nightly started"], spans["nightly"]
    assert found == flow_runs(service.channel)[0].trace.traceparent.split("-")[1]
    assert started.tags["flowspan.span.pending"] is True
    assert started.duration_us <= 1  # Jaeger's least
    assert started.parent_id == nightly.span_id
    assert nightly.start_us <= started.start_us <= nightly.start_us + nightly.duration_us
    assert not started.is_error


def test_a_short_flow_sends_no_pending_span(
    service: ServiceProcess, jaeger: Jaeger, flowspan_home: Path
) -> None:
    with FlowProcess(LONG, home=flowspan_home, address=service.address) as process:
        process.wait_for_line("running")
        process.say("")
        process.finish()
    trace_of(service, jaeger, "nightly", ["nightly", "load"])


def test_a_short_task_on_the_process_pool_is_no_long_bar_of_work(
    service: ServiceProcess, jaeger: Jaeger, flowspan_home: Path
) -> None:
    run_code(POOLED, home=flowspan_home, address=service.address)

    spans = trace_of(service, jaeger, "pooled", ["pooled", "crunch", "waiting"])
    crunch, waiting = spans["crunch"], spans["waiting"]
    assert waiting.parent_id == crunch.span_id
    assert waiting.tags["flowspan.wait.reason"] == "process"
    assert 0.05 <= crunch.tags["flowspan.run_s"] < crunch.duration_us / 1e6
    assert crunch.tags["flowspan.queued_s"] == pytest.approx(waiting.duration_us / 1e6, abs=0.02)
    total_s = crunch.tags["flowspan.queued_s"] + crunch.tags["flowspan.run_s"]
    assert total_s == pytest.approx(crunch.duration_us / 1e6, abs=0.001)


def test_waits_for_a_retry_and_for_an_input(
    service: ServiceProcess, jaeger: Jaeger, flowspan_home: Path
) -> None:
    run_code(RETRIED, home=flowspan_home, address=service.address)

    (run,) = [run for run in flow_runs(service.channel) if run.flow_name == "outer"]
    names = ["outer", "inner", "flaky", "flaky attempt", "flaky attempt", "source", "sink"]
    spans = jaeger.wait_for_trace(
        run.trace.traceparent.split("-")[1], [*names, "waiting", "waiting"]
    )
    by_id = {span.span_id: span for span in spans}
    waits = {
        by_id[span.parent_id].name: (span.tags["flowspan.wait.reason"], span.duration_us)
        for span in spans
        if span.name == "waiting"
    }
    assert {name: reason for name, (reason, _) in waits.items()} == {
        "flaky": "retry",
        "sink": "input",
    }
    assert waits["flaky"][1] >= 390_000
    assert waits["sink"][1] >= 290_000


def test_each_span_names_its_flow(
    service: ServiceProcess, jaeger: Jaeger, flowspan_home: Path
) -> None:
    run_code(RETRIED, home=flowspan_home, address=service.address)

    runs = {run.flow_name: run for run in flow_runs(service.channel)}
    trace_id = runs["outer"].trace.traceparent.split("-")[1]
    wait_until(lambda: any(s.name == "outer" for s in jaeger.trace(trace_id)), "the whole trace")
    spans = [span for span in jaeger.trace(trace_id) if "flowspan.run.id" in span.tags]
    flows = {"outer": "outer", "flaky": "outer", "inner": "inner", "source": "inner"}
    flows["sink"] = "inner"
    assert {span.name: span.tags["flowspan.flow.name"] for span in spans} == flows
    assert {span.name: span.tags["flowspan.flow_run.id"] for span in spans} == {
        name: runs[flow].id for name, flow in flows.items()
    }
    assert {span.tags["flowspan.root_run.id"] for span in spans} == {runs["outer"].id}
    assert all(_has_thread(span) for span in spans)


def _has_thread(span: JaegerSpan) -> bool:
    return bool(span.tags["thread.id"]) and bool(span.tags["thread.name"])


def test_a_service_is_named_after_its_program(
    service: ServiceProcess, jaeger: Jaeger, flowspan_home: Path
) -> None:
    with FlowProcess(LONG, home=flowspan_home, address=service.address) as process:
        process.wait_for_line("running")
        name = str(process.process.args[-1]).rsplit("/", 1)[-1].removesuffix(".py")  # type: ignore[index] # a list
        process.say("")
        process.finish()
    wait_until(lambda: name in jaeger.get("/api/services")["data"], f"the service {name!r}")
    (found,) = search(jaeger, name)
    assert {span.service_name for span in jaeger.trace(found)} == {name}


def test_failed_runs_are_found_by_their_state(
    service: ServiceProcess, jaeger: Jaeger, flowspan_home: Path
) -> None:
    """The page of tracing tells readers to search for these."""
    env = {"OTEL_SERVICE_NAME": "found-by-state"}
    run_code(FAILED, home=flowspan_home, address=service.address, env=env, expected_code=1)
    (run,) = flow_runs(service.channel)
    trace_id = run.trace.traceparent.split("-")[1]
    for tags in ('{"flowspan.state.type":"FAILED"}', '{"error.type":"ValueError"}'):
        wait_until(
            lambda tags=tags: search(jaeger, "found-by-state", tags=tags) == [trace_id],  # type: ignore[misc] # bound now
            f"the trace by {tags}",
        )
