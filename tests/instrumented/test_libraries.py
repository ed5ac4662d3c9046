"""The recipes of "Around other instrumentation" in docs/tracing.md."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.flow_processes import FlowProcess
from tests.support.otlp import HttpOtlpReceiver
from tests.support.run_queries import flow_runs

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.otlp import OtlpReceiver
    from tests.support.service import ServiceProcess

    Run = Callable[..., FlowProcess]

PAGE = Path(__file__).parents[2] / "docs" / "tracing.md"


def recipes(title: str) -> list[str]:
    """Return the Python code under a heading of the page."""
    (section,) = re.findall(rf"^### {re.escape(title)}\n(.*?)^##", PAGE.read_text(), re.M | re.S)
    found: list[str] = re.findall(r"^```python\n(.*?)^```", section, re.M | re.S)
    return found


def program(*parts: str) -> str:
    """Return a program of several parts, each with its own indentation."""
    return "\n".join(textwrap.dedent(part) for part in parts)


FASTAPI, START = recipes("FastAPI")
(LIBRARIES,) = recipes("requests, httpx and SQLAlchemy")
(OWN_PROVIDER,) = recipes("Your own tracer provider")

SERVE = """
    import socket, threading
    import requests, uvicorn

    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    base = f"http://127.0.0.1:{listener.getsockname()[1]}"
"""
STOP = """
    server.should_exit = True
    thread.join()
    listener.close()
"""
CALL = "print(requests.post(f'{base}/orders/cup', timeout=60).json())"
SHOP = """
    import asyncio
    import httpx
    from flowspan import task
    from sqlalchemy import create_engine, text

    @task
    def with_requests():
        return requests.post(f"{base}/orders/pen", timeout=60).json()

    @task
    async def with_httpx():
        async with httpx.AsyncClient() as client:
            return (await client.post(f"{base}/orders/ink", timeout=60)).json()

    @task
    def with_sqlalchemy():
        with create_engine("sqlite://").connect() as connection:
            return connection.execute(text("SELECT 3")).scalar_one()

    @flow
    async def shop():
        return with_requests(), await with_httpx(), with_sqlalchemy()

    print(asyncio.run(shop()))
"""
SHOPPED = "('one pen', 'one ink', 3)\n"


def check_shop(receiver: OtlpReceiver, service: ServiceProcess) -> None:
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
    parents = [run.parent_run_id for run in flow_runs(service.channel) if run.flow_name == "order"]
    assert parents == [receiver.one(name).run_id for name in ("with_requests", "with_httpx")]
    query = receiver.one("with_sqlalchemy")
    scopes = {span.scope for span in receiver.spans if span.parent_id == query.span_id}
    assert "opentelemetry.instrumentation.sqlalchemy" in scopes, receiver.names


def test_requests_and_statements_of_an_instrumented_program(
    run_instrumented: Run, service: ServiceProcess, receiver: OtlpReceiver
) -> None:
    code = program(FASTAPI, SERVE, SHOP, STOP)
    assert run_instrumented(code, address=service.address).lines == [SHOPPED]
    check_shop(receiver, service)


@pytest.fixture
def run(
    service: ServiceProcess, flowspan_home: Path, environment: dict[str, str]
) -> Callable[..., str]:
    """Run a program without opentelemetry-instrument; return its output."""

    def finished(code: str) -> str:
        with FlowProcess(
            code, home=flowspan_home, address=service.address, env=environment
        ) as process:
            return process.finish()

    return finished


def test_requests_and_statements_with_the_provider_of_flowspan(
    run: Callable[..., str], service: ServiceProcess, receiver: OtlpReceiver
) -> None:
    assert run(program(LIBRARIES, FASTAPI, SERVE, SHOP, STOP)) == SHOPPED
    check_shop(receiver, service)


@pytest.mark.parametrize("start_up", ["", START])
def test_the_first_request_is_above_its_flow(
    run: Callable[..., str], receiver: OtlpReceiver, start_up: str
) -> None:
    assert run(program(FASTAPI, start_up, SERVE, CALL, STOP)) == "one cup\n"
    order = receiver.one("order")
    assert order.parent_id == receiver.one("POST /orders/{item}").span_id


INSTRUMENTED = """
    from opentelemetry.instrumentation.grpc import GrpcInstrumentorClient
    from opentelemetry.instrumentation.threading import ThreadingInstrumentor
    GrpcInstrumentorClient().instrument()
    ThreadingInstrumentor().instrument()
"""
FLOW = """
    import os
    from flowspan import flow, task, telemetry

    @task
    def double(number):
        return 2 * number

    @flow
    def report():
        return sum(double.map([1, 2]).result())
"""
END = """
    print(report(), flush=True)
    assert telemetry.flush()
    os._exit(0)     # nothing else is sent
"""


@pytest.mark.parametrize("parts", [(OWN_PROVIDER, FLOW), (FLOW, OWN_PROVIDER)], ids=["a", "b"])
def test_a_provider_of_the_program_creates_the_spans_and_flush_exports_them(
    run: Callable[..., str], receiver: OtlpReceiver, parts: tuple[str, str]
) -> None:
    assert run(program(*parts, INSTRUMENTED, END)) == "6\n"
    report = receiver.one("report")
    assert [span.parent_id for span in receiver.named("double")] == [report.span_id] * 2
    assert len(receiver.spans) == 3, receiver.names
    assert {span.scope for span in receiver.spans} == {report.scope}


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_exports_of_flowspan_have_no_spans(
    run: Callable[..., str],
    receiver: OtlpReceiver,
    environment: dict[str, str],
    protocol: str,
) -> None:
    instrumented = """
        from opentelemetry.instrumentation.urllib import URLLibInstrumentor
        from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
        URLLibInstrumentor().instrument()
        URLLib3Instrumentor().instrument()
    """
    environment["OTEL_EXPORTER_OTLP_PROTOCOL"] = protocol
    with HttpOtlpReceiver() as over_http:
        if protocol != "grpc":
            environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = over_http.endpoint
        twice = "report(); telemetry.flush()"
        assert run(program(INSTRUMENTED, instrumented, FLOW, twice, END)) == "6\n"
    names = over_http.names or receiver.names
    assert sorted(names) == ["double"] * 4 + ["report"] * 2
