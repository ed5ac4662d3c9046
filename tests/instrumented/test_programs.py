"""Flows in instrumented programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
from tests.support.otlp import HttpOtlpReceiver, OtlpReceiver
from tests.support.run_queries import flow_runs, task_runs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.flow_processes import FlowProcess
    from tests.support.service import ServiceProcess

    Run = Callable[..., FlowProcess]

FLOW = """
    from flowspan import flow, get_run_logger, task
    from opentelemetry import trace

    @task
    def query(number):
        with trace.get_tracer("database").start_as_current_span("SELECT"):
            get_run_logger().info("number %s", number)
        return number

    @flow
    def report():
        return query(1) + query(2)

    with trace.get_tracer("program").start_as_current_span("cron"):
        print(report())
"""


def test_a_flow_is_stored_by_a_local_service_that_is_not_instrumented(
    run_instrumented: Run, receiver: OtlpReceiver, flowspan_home: Path
) -> None:
    process = run_instrumented(FLOW)
    assert process.lines == ["3\n"]
    with grpc.insecure_channel(f"unix:{flowspan_home / 'service.sock'}") as channel:
        (run,) = flow_runs(channel)
        assert len(task_runs(channel)) == 2
    report = receiver.one("report")
    assert report.run_id == run.id
    assert report.parent_id == receiver.one("cron").span_id
    queries, selects = receiver.named("query"), receiver.named("SELECT")
    assert [span.parent_id for span in queries] == [report.span_id] * 2
    assert [span.parent_id for span in selects] == [span.span_id for span in queries]
    # Neither reports nor exports have spans, and the service makes none.
    assert len(receiver.spans) == 6, receiver.names
    assert {span.service_name for span in receiver.spans} == {"program"}


def test_log_records_pass_the_handler_of_opentelemetry(
    run_instrumented: Run, service: ServiceProcess
) -> None:
    with HttpOtlpReceiver() as receiver:
        env = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_LOGS_EXPORTER": "otlp",
            "OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED": "true",
        }
        process = run_instrumented(FLOW, address=service.address, env=env)
    assert "recursive logging" not in process.errors
    assert "Invalid type" not in process.errors
    logs = b"".join(body for path, body in receiver.bodies if path == "/v1/logs")
    assert b"number 2" in logs
    assert {*receiver.names} == {"SELECT", "query", "report", "cron"}


CONCURRENT = """
    import asyncio
    from concurrent.futures import ThreadPoolExecutor
    from flowspan import flow, task
    from flowspan.context import with_context
    from flowspan.task_runners import ProcessPoolTaskRunner

    @task
    def submitted(number):
        return number

    @task
    async def awaited(number):
        await asyncio.sleep(0)
        return number

    @task
    def in_pool(path):
        import sqlite3
        with sqlite3.connect(path) as database:
            return database.cursor().execute("SELECT 7").fetchone()[0]

    @flow
    def threads():
        with ThreadPoolExecutor() as pool:
            of_pool = list(pool.map(with_context(submitted), [1, 2]))
        return of_pool + submitted.map([3, 4, 5]).result() + [submitted.submit(6).result()]

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
    def processes():
        return in_pool.submit(":memory:").result()

    @flow
    async def loop():
        direct = await asyncio.gather(*(awaited(number) for number in range(3)))
        children = [asyncio.create_task(awaited(number)) for number in range(3)]
        return direct + [await child for child in children] + [await awaited.submit(1)]

    if __name__ == "__main__":
        print(threads(), processes(), asyncio.run(loop()))
"""


def test_spans_nest_under_instrumented_threads_processes_and_loops(
    run_instrumented: Run, service: ServiceProcess, receiver: OtlpReceiver
) -> None:
    process = run_instrumented(CONCURRENT, address=service.address)
    assert process.lines == ["[1, 2, 3, 4, 5, 6] 7 [0, 1, 2, 0, 1, 2, 1]\n"]
    for flow, task, count in [
        ("threads", "submitted", 6),
        ("processes", "in_pool", 1),
        ("loop", "awaited", 7),
    ]:
        parent = receiver.one(flow)
        assert parent.parent_id == ""
        assert [span.parent_id for span in receiver.named(task)] == [parent.span_id] * count
    # The worker process is instrumented as the program is.
    assert receiver.one("SELECT").parent_id == receiver.one("in_pool").span_id


CLIENT = """
    import asyncio
    from flowspan import flow
    from flowspan.api.client import FlowspanClient, SyncFlowspanClient
    from opentelemetry import trace

    @flow(log_prints=True)
    def report():
        print("hello")

    tracer = trace.get_tracer("program")
    report()
    with tracer.start_as_current_span("blocking"), SyncFlowspanClient() as client:
        (run,) = client.read_flow_runs()
        assert "hello" in [line.message for line in client.tail_logs(run.id)]
        next(iter(client.watch(run.id)))
        assert client.wait_for_flow_run(run.id).id == run.id

    async def ask():
        with tracer.start_as_current_span("async"):
            async with FlowspanClient() as client:
                assert len(await client.read_flow_runs()) == 1
                lines = [line.message async for line in client.tail_logs(run.id)]
                assert "hello" in lines
                async for _ in client.watch(run.id):
                    break

    asyncio.run(ask())
"""


def test_the_api_client_works_and_its_requests_are_traced(
    run_instrumented: Run, service: ServiceProcess, receiver: OtlpReceiver
) -> None:
    run_instrumented(CLIENT, address=service.address)
    for above in ("blocking", "async"):
        names = {s.name for s in receiver.spans if s.parent_id == receiver.one(above).span_id}
        assert names >= {
            "/flowspan.v1.FlowRunService/ListFlowRuns",
            "/flowspan.v1.LogService/TailLogs",
            "/flowspan.v1.WatchService/Watch",
        }
    assert not [name for name in receiver.names if "Report" in name]


STRANGER = """
    import logging
    from flowspan import flow
    from opentelemetry import trace

    spans = []

    class Handler(logging.Handler):
        def emit(self, record):
            if record.threadName == "flowspan-reporter":
                spans.append(trace.get_current_span().get_span_context().span_id)

    logging.getLogger("flowspan").addHandler(Handler())

    @flow
    def report():
        pass

    with trace.get_tracer("program").start_as_current_span("cron"):
        report()
    assert spans, "the reporter must warn"
    print(set(spans))
"""


def test_messages_of_the_reporter_belong_to_no_span(run_instrumented: Run) -> None:
    """The instrumentation of threads gives each thread the span in which it was started."""
    with HttpOtlpReceiver() as stranger:  # the reporter warns that it is no service
        process = run_instrumented(STRANGER, address=f"127.0.0.1:{stranger.port}")
    assert process.lines == ["{0}\n"]
