"""Spans before the first run: real programs and a span receiver."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.flow_processes import FlowProcess, run_code
from tests.support.otlp import OtlpReceiver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.service import ServiceProcess

REQUEST = """
    from opentelemetry import trace
    library = trace.get_tracer("library")       # libraries take theirs when they are imported
    {first}
    from flowspan import flow, task
    {second}

    @task
    def query():
        with library.start_as_current_span("SELECT"):
            pass

    @flow
    def order():
        query()

    with library.start_as_current_span("connect"):
        pass
    with trace.get_tracer("server").start_as_current_span("POST /orders"):
        order()
    with library.start_as_current_span("disconnect"):
        pass
"""
START = "from flowspan import telemetry; print(telemetry.start(), telemetry.start())"
OWN_PROVIDER = """
    from flowspan import flow
    from opentelemetry import trace

    @flow
    def order():
        pass

    with trace.get_tracer("library").start_as_current_span("connect"):
        pass

    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource({"service.name": "mine"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    order()
    assert trace.get_tracer_provider() is provider
    print("done")
"""


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver


def check_request(receiver: OtlpReceiver) -> None:
    names = ["POST /orders", "SELECT", "connect", "disconnect", "order", "query"]
    assert sorted(receiver.names) == names
    order = receiver.one("order")
    assert order.parent_id == receiver.one("POST /orders").span_id
    assert receiver.one("query").parent_id == order.span_id
    assert receiver.one("SELECT").parent_id == receiver.one("query").span_id
    assert len({span.service_name for span in receiver.spans}) == 1


def test_start_up_code_is_traced_if_the_environment_asks_for_spans(
    service: ServiceProcess, receiver: OtlpReceiver, flowspan_home: Path
) -> None:
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}
    code = REQUEST.format(first="", second="")
    run_code(code, home=flowspan_home, address=service.address, env=env)
    check_request(receiver)


@pytest.mark.parametrize("place", ["first", "second"])
def test_start_traces_start_up_code(
    start_service: Callable[..., ServiceProcess],
    receiver: OtlpReceiver,
    flowspan_home: Path,
    place: str,
) -> None:
    """Here, only the service knows the receiver."""
    service = start_service(arguments=("--otlp-endpoint", receiver.endpoint))
    code = REQUEST.format(**{"first": "", "second": "", place: START})
    output = run_code(code, home=flowspan_home, address=service.address)
    assert output.split() == ["True", "True"]
    check_request(receiver)


def test_start_says_that_nothing_is_recorded(service: ServiceProcess, flowspan_home: Path) -> None:
    code = REQUEST.format(first="", second=START)
    output = run_code(code, home=flowspan_home, address=service.address)
    assert output.split() == ["False", "False"]


def test_a_provider_that_the_program_installs_later_wins(
    service: ServiceProcess, receiver: OtlpReceiver, flowspan_home: Path
) -> None:
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "OTEL_SERVICE_NAME": "early"}
    with FlowProcess(OWN_PROVIDER, home=flowspan_home, address=service.address, env=env) as process:
        assert process.finish().split() == ["done"]
        assert "Overriding" not in process.errors
    assert {span.name: span.service_name for span in receiver.spans} == {
        "connect": "early",
        "order": "mine",
    }


FIRST_SPAN = """
    import sys
    from flowspan import flow, telemetry
    from flowspan.task_runners import ProcessPoolTaskRunner

    begin = telemetry.start_run

    def start_run(*args):
        global before
        before = set(sys.modules)
        return begin(*args)

    telemetry.start_run = start_run

    {decorator}
    {kind} job():
        print(sorted(set(sys.modules) - before))

    {call}
"""


@pytest.mark.parametrize(
    ("decorator", "kind", "call"),
    [
        ("@flow", "def", "job()"),
        ("@flow(log_prints=True, timeout_seconds=60)", "def", "job()"),
        ("@flow(retries=1, persist_result=True)", "def", "job()"),
        ("@flow", "async def", "import asyncio; asyncio.run(job())"),
        ("from flowspan import task; task_ = task\n    @task_", "def", "job()"),
    ],
)
def test_the_first_span_is_free_of_imports(
    service: ServiceProcess,
    receiver: OtlpReceiver,
    flowspan_home: Path,
    decorator: str,
    kind: str,
    call: str,
) -> None:
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}
    code = FIRST_SPAN.format(decorator=decorator, kind=kind, call=call)
    output = run_code(code, home=flowspan_home, address=service.address, env=env)
    assert "[]" in output
    receiver.one("job")


WORKER_PROVIDER = """
    from flowspan import flow, task
    from flowspan.task_runners import ProcessPoolTaskRunner
    from opentelemetry import trace

    def install():
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor

        provider = TracerProvider(resource=Resource({"service.name": "mine"}))
        provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(provider)

    @task
    def query():
        with trace.get_tracer("library").start_as_current_span("SELECT"):
            return type(trace.get_tracer_provider()).__module__

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1, initializer=install))
    def order():
        return query.submit().result()

    if __name__ == "__main__":
        print(order())
"""


def test_a_provider_that_the_initializer_of_a_worker_process_installs_wins(
    service: ServiceProcess, receiver: OtlpReceiver, flowspan_home: Path
) -> None:
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "OTEL_SERVICE_NAME": "parent"}
    with FlowProcess(
        WORKER_PROVIDER, home=flowspan_home, address=service.address, env=env
    ) as process:
        assert process.finish() == "opentelemetry.sdk.trace\n"
        assert "Overriding" not in process.errors
    query = receiver.one("query")
    assert receiver.one("SELECT").service_name == "mine"
    assert receiver.one("SELECT").parent_id == query.span_id
    assert query.parent_id == receiver.one("order").span_id


def test_only_the_decorators_import_opentelemetry(flowspan_home: Path) -> None:
    code = """
        import sys
        import flowspan
        import flowspan.cli.main
        assert not any(name.startswith("opentelemetry") for name in sys.modules)
        from flowspan import flow
        assert "opentelemetry.trace" in sys.modules
        assert "opentelemetry.sdk.trace" not in sys.modules, "the first span imports it"
    """
    run_code(code, home=flowspan_home, env={"OTEL_TRACES_EXPORTER": "otlp"})
