"""The recipes of docs/tracing.md for instrumented libraries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.flow_processes import FlowProcess
from tests.support.run_queries import flow_runs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.otlp import OtlpReceiver
    from tests.support.service import ServiceProcess

    Run = Callable[..., FlowProcess]

SERVER = """
    import socket
    import threading

    import httpx
    import requests
    import uvicorn
    from fastapi import FastAPI
    from flowspan import flow, task
    {set_up}

    app = FastAPI()
    {instrument}

    @flow
    def order(item):
        return item

    @app.post("/orders/{{item}}")
    def take(item: str) -> str:
        return order(item)

    @task
    def with_requests(url):
        return requests.post(url, timeout=60).json()

    @task
    async def with_httpx(url):
        async with httpx.AsyncClient() as client:
            return (await client.post(url, timeout=60)).json()

    @flow
    async def shop(base):
        return with_requests(f"{{base}}/orders/pen") + await with_httpx(f"{{base}}/orders/ink")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={{"sockets": [listener]}})
        thread.start()
        base = f"http://127.0.0.1:{{listener.getsockname()[1]}}"
        {client}
        server.should_exit = True
        thread.join()
"""
CALL_FLOW = "import asyncio; print(asyncio.run(shop(base)))"
CALL_SERVER = "print(requests.post(f'{base}/orders/cup', timeout=60).json())"


def test_a_request_of_a_task_reaches_the_flow_of_the_server(
    run_instrumented: Run, service: ServiceProcess, receiver: OtlpReceiver
) -> None:
    code = SERVER.format(set_up="", instrument="", client=CALL_FLOW)
    process = run_instrumented(code, address=service.address)
    assert process.lines == ["penink\n"]
    spans = {span.span_id: span for span in receiver.spans}
    shop = receiver.one("shop")
    orders = receiver.named("order")
    assert len(orders) == 2
    for order, task in zip(orders, ["with_requests", "with_httpx"], strict=True):
        request = spans[order.parent_id]
        assert request.name == "POST /orders/{item}"
        call = spans[request.parent_id]
        assert call.name == "POST"
        assert spans[call.parent_id].name == task
        assert spans[call.parent_id].parent_id == shop.span_id
    # The calls carried their runs, too.
    runs = {run.flow_name: run.parent_run_id for run in flow_runs(service.channel)}
    tasks = {receiver.one(name).run_id for name in ("with_requests", "with_httpx")}
    assert runs["order"] in tasks


def test_a_request_is_above_its_flow_with_the_provider_of_flowspan(
    service: ServiceProcess,
    receiver: OtlpReceiver,
    flowspan_home: Path,
    environment: dict[str, str],
) -> None:
    """The first request as well, which comes before the first flow."""
    code = SERVER.format(
        set_up="from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor",
        instrument="FastAPIInstrumentor.instrument_app(app)",
        client=CALL_SERVER,
    )
    with FlowProcess(code, home=flowspan_home, address=service.address, env=environment) as process:
        assert process.finish() == "cup\n"
    order = receiver.one("order")
    assert order.parent_id == receiver.one("POST /orders/{item}").span_id


DATABASE = """
    from flowspan import flow, task
    from sqlalchemy import create_engine, text

    engine = create_engine("sqlite://")

    @task
    def count():
        with engine.connect() as connection:
            return connection.execute(text("SELECT 3")).scalar_one()

    @flow
    def report():
        return count()

    print(report())
"""


def test_statements_of_sqlalchemy_are_below_the_task(
    run_instrumented: Run, service: ServiceProcess, receiver: OtlpReceiver
) -> None:
    run_instrumented(DATABASE, address=service.address)
    count = receiver.one("count")
    below = [span for span in receiver.spans if span.parent_id == count.span_id]
    scopes = {span.scope for span in below}
    assert "opentelemetry.instrumentation.sqlalchemy" in scopes, receiver.names


OWN_PROVIDER = """
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.grpc import GrpcInstrumentorClient
    from opentelemetry.instrumentation.requests import RequestsInstrumentor
    from opentelemetry.instrumentation.threading import ThreadingInstrumentor
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource({"service.name": "mine"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    for instrumentor in (GrpcInstrumentorClient, RequestsInstrumentor, ThreadingInstrumentor):
        instrumentor().instrument()

    import os
    from flowspan import flow, task, telemetry

    @task
    def double(number):
        return 2 * number

    @flow
    def report():
        return sum(double.map([1, 2]).result())

    print(report())
    assert telemetry.flush()
    os._exit(0)     # nothing else is sent
"""


def test_a_provider_of_the_program_creates_the_spans_and_flush_exports_them(
    service: ServiceProcess,
    receiver: OtlpReceiver,
    flowspan_home: Path,
    environment: dict[str, str],
) -> None:
    with FlowProcess(
        OWN_PROVIDER, home=flowspan_home, address=service.address, env=environment
    ) as process:
        assert "6" in process.finish()
    report = receiver.one("report")
    assert [span.parent_id for span in receiver.named("double")] == [report.span_id] * 2
    assert len(receiver.spans) == 3, receiver.names
    assert {span.service_name for span in receiver.spans} == {"mine"}
