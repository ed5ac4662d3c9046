"""Traces from the outside: the real client and the real service, and a span receiver."""

from __future__ import annotations

import socket
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from tests.support.flow_processes import FlowProcess, run_code
from tests.support.otlp import ERROR, OtlpReceiver
from tests.support.report_client import Reporter
from tests.support.run_queries import flow_runs, task_runs, wait_until

from flowspan.v1 import log_service_pb2, log_service_pb2_grpc, state_pb2, trace_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.service import ServiceProcess

NESTED = """
    from flowspan import flow, get_run_logger, task
    from opentelemetry import trace

    @task
    def query(number):
        with trace.get_tracer("database").start_as_current_span("SELECT"):
            get_run_logger().info("query %s", number)
        return number

    @flow
    def inner():
        return sum(query.map([1, 2, 3]).result())

    @flow
    def outer():
        query(0)
        return inner()

    outer()
"""


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver


def endpoint_of(receiver: OtlpReceiver) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}


def test_the_nesting_of_runs_is_the_nesting_of_spans(
    service: ServiceProcess, receiver: OtlpReceiver, flowspan_home: Path
) -> None:
    run_code(NESTED, home=flowspan_home, address=service.address, env=endpoint_of(receiver))

    outer, inner = receiver.one("outer"), receiver.one("inner")
    queries, selects = receiver.named("query"), receiver.named("SELECT")
    assert len({span.trace_id for span in receiver.spans}) == 1
    assert outer.parent_id == ""
    assert inner.parent_id == outer.span_id
    assert [span.parent_id for span in queries] == [outer.span_id] + [inner.span_id] * 3
    assert sorted(span.parent_id for span in selects) == sorted(span.span_id for span in queries)
    assert len(receiver.spans) == 10
    (service_name,) = {span.service_name for span in receiver.spans}
    assert service_name.startswith("program-"), "it is the name of the script"

    runs = {run.id: run for run in (*flow_runs(service.channel), *task_runs(service.channel))}
    for span in (outer, inner, *queries):
        trace = runs[span.run_id].trace
        assert trace.traceparent.split("-")[1:3] == [span.trace_id, span.span_id]
        assert trace.parent_span_id == span.parent_id


def test_log_records_carry_the_ids_of_the_innermost_span(
    service: ServiceProcess, receiver: OtlpReceiver, flowspan_home: Path
) -> None:
    run_code(NESTED, home=flowspan_home, address=service.address, env=endpoint_of(receiver))

    (top,) = [run for run in flow_runs(service.channel) if run.flow_name == "outer"]
    logs = log_service_pb2_grpc.LogServiceStub(service.channel).ListLogs(
        log_service_pb2.ListLogsRequest(run_id=top.id, include_descendants=True), timeout=30
    )
    ids = [
        (record.trace_id, record.span_id)
        for record in logs.logs
        if record.message.startswith("query ")
    ]
    selects = [(span.trace_id, span.span_id) for span in receiver.named("SELECT")]
    assert sorted(ids) == sorted(selects)
    assert {record.trace_id for record in logs.logs} == {receiver.one("outer").trace_id}


def test_attempts_in_their_order(
    service: ServiceProcess, receiver: OtlpReceiver, flowspan_home: Path
) -> None:
    code = """
        import asyncio
        from flowspan import flow, task

        def fail_twice(calls):
            calls.append(1)
            if len(calls) < 3:
                raise ValueError(f"call {len(calls)}")

        @task(retries=2, retry_delay_seconds=0.01)
        def flaky(calls=[]):
            fail_twice(calls)

        @flow
        def patient():
            flaky()

        @task(retries=2, retry_delay_seconds=0.01)
        async def flaky_later(calls=[]):
            fail_twice(calls)

        @flow
        async def patient_later():
            await flaky_later()

        patient()
        asyncio.run(patient_later())
    """
    run_code(code, home=flowspan_home, address=service.address, env=endpoint_of(receiver))
    check_attempts(receiver, "flaky", "patient")
    check_attempts(receiver, "flaky_later", "patient-later")


def check_attempts(receiver: OtlpReceiver, task: str, flow: str) -> None:
    flaky, attempts = receiver.one(task), receiver.named(f"{task} attempt")
    assert [span.attributes["flowspan.attempt"] for span in attempts] == [1, 2, 3]
    assert [span.status for span in attempts] == [ERROR, ERROR, 0]
    assert [span.status_message for span in attempts][:2] == [
        "ValueError: call 1",
        "ValueError: call 2",
    ]
    assert {span.parent_id for span in attempts} == {flaky.span_id}
    assert flaky.status == 0
    assert flaky.attributes["flowspan.attempts"] == 3
    names = [name for name, _, _ in flaky.events]
    # A wait before its start is an event as well.
    assert [name for name in names if name != "flowspan.running"] == [
        "flowspan.awaiting_retry",
        "flowspan.retrying",
        "flowspan.awaiting_retry",
        "flowspan.retrying",
    ]
    assert receiver.one(flow).status == 0
    for before, after in pairwise(attempts):
        assert before.end_ns <= after.start_ns


def test_asynchronous_tasks_keep_their_parents_apart(
    service: ServiceProcess, receiver: OtlpReceiver, flowspan_home: Path
) -> None:
    code = """
        import asyncio
        from flowspan import flow, task
        from opentelemetry import trace

        @task
        async def step(name):
            await asyncio.sleep(0.01)
            with trace.get_tracer("library").start_as_current_span(name):
                await asyncio.sleep(0.01)

        @flow
        async def both():
            await asyncio.gather(step("a"), step("b"))

        asyncio.run(both())
    """
    run_code(code, home=flowspan_home, address=service.address, env=endpoint_of(receiver))

    both, steps = receiver.one("both"), receiver.named("step")
    assert {span.parent_id for span in steps} == {both.span_id}
    parents = {receiver.one("a").parent_id, receiver.one("b").parent_id}
    assert parents == {span.span_id for span in steps}


def test_the_span_of_a_request_outside_is_the_parent(
    service: ServiceProcess, receiver: OtlpReceiver, flowspan_home: Path
) -> None:
    """The program has its own provider, with its exporter, sampler and parent."""
    code = """
        import os
        from flowspan import flow
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider = TracerProvider()
        exporter = OTLPSpanExporter(endpoint=os.environ["MINE"])
        provider.add_span_processor(BatchSpanProcessor(exporter))
        trace.set_tracer_provider(provider)

        @flow
        def handler():
            return 1

        with trace.get_tracer("web").start_as_current_span("GET /"):
            handler()
    """
    env = {"MINE": receiver.endpoint, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    run_code(code, home=flowspan_home, address=service.address, env=env)

    assert receiver.one("handler").parent_id == receiver.one("GET /").span_id


def test_the_environment_of_the_process_is_the_parent(
    service: ServiceProcess, receiver: OtlpReceiver, flowspan_home: Path
) -> None:
    env = {"TRACEPARENT": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    run_code(NESTED, home=flowspan_home, address=service.address, env=env | endpoint_of(receiver))
    outer = receiver.one("outer")
    assert outer.trace_id == "0af7651916cd43dd8448eb211c80319c"
    assert outer.parent_id == "b7ad6b7169203331"


def test_the_service_tells_its_clients_where_spans_go(
    start_service: Callable[..., ServiceProcess], receiver: OtlpReceiver, flowspan_home: Path
) -> None:
    service = start_service(arguments=("--otlp-endpoint", receiver.endpoint))
    run_code(NESTED, home=flowspan_home, address=service.address)
    assert len(receiver.named("query")) == 4


def test_a_local_service_passes_on_what_its_starter_knew(
    receiver: OtlpReceiver, flowspan_home: Path
) -> None:
    run_code(NESTED, home=flowspan_home, env={"FLOWSPAN_OTLP_ENDPOINT": receiver.endpoint})
    assert len(receiver.spans) == 10
    run_code(NESTED, home=flowspan_home)
    assert len(receiver.spans) == 20


@pytest.mark.parametrize(
    "env",
    [
        {"FLOWSPAN_TRACING": "false"},
        {"OTEL_SDK_DISABLED": "true"},
        {"OTEL_TRACES_EXPORTER": "none"},
    ],
    ids=lambda env: next(iter(env)),
)
def test_tracing_can_be_switched_off(
    service: ServiceProcess, receiver: OtlpReceiver, flowspan_home: Path, env: dict[str, str]
) -> None:
    env = endpoint_of(receiver) | env
    run_code(NESTED, home=flowspan_home, address=service.address, env=env)
    assert receiver.spans == []
    assert {run.trace.traceparent for run in flow_runs(service.channel)} == {""}


def test_without_tracing_a_flow_does_not_load_opentelemetry(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    code = """
        import sys
        from flowspan import flow, task

        @task
        def one():
            return 1

        @flow
        def untraced():
            return one()

        untraced()
        print([name for name in sys.modules if name.startswith("opentelemetry")])
    """
    output = run_code(code, home=flowspan_home, address=service.address)
    assert output.splitlines()[-1] == "[]"


def test_what_is_not_sampled_is_not_exported(
    start_service: Callable[..., ServiceProcess], receiver: OtlpReceiver, flowspan_home: Path
) -> None:
    """Neither the client nor, when the client's process dies, the service exports it."""
    service = start_service(grace_s=0.2, arguments=("--otlp-endpoint", receiver.endpoint))
    env = {"OTEL_TRACES_SAMPLER": "always_off"}
    with FlowProcess(WAITING, home=flowspan_home, address=service.address, env=env) as process:
        process.wait_for_line("waiting")
        wait_for_runs(service, state_pb2.STATE_TYPE_RUNNING)
        process.kill()
    wait_for_runs(service, state_pb2.STATE_TYPE_CRASHED)
    for run in flow_runs(service.channel):
        assert run.trace.traceparent, "the ids must be reported even without sampling"
    # The span of another run that crashes later must arrive alone.
    reporter = Reporter(service.channel)
    late = reporter.flow_run("late", trace=trace_of(1, sampled=True))
    reporter.state(late, "RUNNING")
    reporter.finish()
    receiver.wait_for(lambda spans: len(spans) > 0, "span of the late run")
    assert receiver.names == ["late"]


def test_a_receiver_that_is_away_fails_nothing(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{unused.getsockname()[1]}"}
        with FlowProcess(NESTED, home=flowspan_home, address=service.address, env=env) as process:
            process.finish()
            assert process.errors.count("Spans cannot be delivered") == 1
    states = {run.state.type for run in flow_runs(service.channel)}
    assert states == {state_pb2.STATE_TYPE_COMPLETED}


def test_children_that_were_forked_or_spawned_export_their_own_spans(
    service: ServiceProcess, receiver: OtlpReceiver, flowspan_home: Path
) -> None:
    code = """
        import multiprocessing
        import sys
        from flowspan import flow
        from flowspan.telemetry.propagation import continued, inject

        METHODS = ["spawn", "fork"] if sys.platform == "linux" else ["spawn", "spawn"]

        @flow
        def child(name):
            return name

        def in_child(carrier, name):
            with continued(carrier):
                child(name)

        @flow
        def parent():
            for method in METHODS:
                context = multiprocessing.get_context(method)
                process = context.Process(target=in_child, args=(inject(), method))
                process.start()
                process.join()
                assert process.exitcode == 0, (method, process.exitcode)

        if __name__ == "__main__":
            parent()
    """
    run_code(code, home=flowspan_home, address=service.address, env=endpoint_of(receiver))
    parent, children = receiver.one("parent"), receiver.named("child")
    assert [span.parent_id for span in children] == [parent.span_id] * 2


WAITING = """
    import asyncio
    from flowspan import flow, task

    @task
    def done():
        return 1

    @task
    async def wait():
        print("waiting", flush=True)
        input()

    @flow
    async def inner():
        await wait()

    @flow
    def outer():
        done()
        asyncio.run(inner())

    outer()
"""


def wait_for_runs(service: ServiceProcess, state_type: int) -> None:
    """Wait until all runs except those in `done` are in such a state."""

    def met() -> bool:
        tasks = [run for run in task_runs(service.channel) if run.task_name != "done"]
        runs = [*flow_runs(service.channel), *tasks]
        return len(runs) == 3 and {run.state.type for run in runs} == {state_type}

    wait_until(met, f"the runs to be in state {state_type}")


def trace_of(number: int, *, sampled: bool, by_service: bool = False) -> trace_pb2.TraceContext:
    return trace_pb2.TraceContext(
        traceparent=f"00-{number:032x}-{number:016x}-0{int(sampled)}",
        exported_by_service=by_service,
    )


def test_promise_no_trace_hole_when_a_process_is_killed(
    start_service: Callable[..., ServiceProcess], receiver: OtlpReceiver, flowspan_home: Path
) -> None:
    service = start_service(grace_s=0.5, arguments=("--otlp-endpoint", receiver.endpoint))
    with FlowProcess(WAITING, home=flowspan_home, address=service.address) as process:
        process.wait_for_line("waiting")
        wait_for_runs(service, state_pb2.STATE_TYPE_RUNNING)
        receiver.wait_for(lambda spans: len(spans) == 1, "span of the task that ended")
        process.kill()
        receiver.wait_for(lambda spans: len(spans) >= 4, "spans of the crashed runs")

    done, outer = receiver.one("done"), receiver.one("outer")
    inner, wait = receiver.one("inner"), receiver.one("wait")
    assert (wait.parent_id, inner.parent_id) == (inner.span_id, outer.span_id)
    assert (done.parent_id, outer.parent_id) == (outer.span_id, "")
    assert len({span.trace_id for span in receiver.spans}) == 1
    assert not done.is_synthetic
    for span in (outer, inner, wait):
        assert span.is_synthetic
        assert span.status == ERROR
        assert span.attributes["error.type"] == "flowspan.crashed"
        assert span.attributes["flowspan.state.type"] == "CRASHED"
        assert span.service_name == done.service_name
        assert span.start_ns < span.end_ns
    assert outer.start_ns <= inner.start_ns <= wait.start_ns
    runs = {run.id: run for run in (*flow_runs(service.channel), *task_runs(service.channel))}
    assert {span.run_id for span in receiver.spans} == set(runs)
    for span in receiver.spans:
        ids = runs[span.run_id].trace.traceparent.split("-")[1:3]
        assert ids == [span.trace_id, span.span_id]


def test_promise_no_trace_hole_when_the_service_dies_too(
    start_service: Callable[..., ServiceProcess], flowspan_home: Path
) -> None:
    """Committed, but killed before the export: the span is exported after the restart."""
    receiver = OtlpReceiver()
    with receiver:
        pass  # The receiver reserves a port and goes down.
    service = start_service(grace_s=0.2, arguments=("--otlp-endpoint", receiver.endpoint))
    with FlowProcess(WAITING, home=flowspan_home, address=service.address) as process:
        process.wait_for_line("waiting")
        wait_for_runs(service, state_pb2.STATE_TYPE_RUNNING)
        process.kill()
    wait_for_runs(service, state_pb2.STATE_TYPE_CRASHED)
    service.kill()
    with receiver:
        service.restart()
        crashed = {"outer", "inner", "wait"}
        receiver.wait_for(
            lambda spans: crashed <= {span.name for span in spans}, "spans of the crashed runs"
        )
    assert all(span.is_synthetic for span in receiver.spans)
    copies = {(span.span_id, span.end_ns, span.name) for span in receiver.spans}
    assert len(copies) == 3, "a span that is exported again must be identical"


def test_a_client_without_an_sdk_has_its_spans_exported(
    start_service: Callable[..., ServiceProcess], receiver: OtlpReceiver
) -> None:
    service = start_service(arguments=("--otlp-endpoint", receiver.endpoint))
    reporter = Reporter(service.channel)
    flow = reporter.flow_run("etl", "etl-1", trace=trace_of(1, sampled=True, by_service=True))
    trace = trace_of(1, sampled=True, by_service=True)
    trace.traceparent = f"00-{1:032x}-{2:016x}-01"
    trace.parent_span_id = f"{1:016x}"
    task = reporter.task_run("load", parent=flow, trace=trace, tags=["slow"])
    reporter.state(flow, "RUNNING")
    reporter.state(task, "RUNNING", wait_s=2.0)
    reporter.state(task, "FAILED", message="disk full")
    reporter.state(flow, "COMPLETED")
    reporter.send()

    receiver.wait_for(lambda spans: len(spans) == 2, "spans of both runs")
    load, etl = receiver.one("load"), receiver.one("etl")
    assert (load.trace_id, load.parent_id) == (etl.trace_id, etl.span_id)
    assert (load.status, load.status_message) == (ERROR, "disk full")
    assert load.attributes["error.type"] == "Failed"
    assert load.attributes["flowspan.tags"] == ["slow"]
    assert load.events[0][0] == "flowspan.running"
    assert etl.status == 0
    assert not etl.is_synthetic
    assert etl.attributes["flowspan.run.name"] == "etl-1"
