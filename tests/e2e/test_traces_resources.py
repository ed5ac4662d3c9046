"""The resource of spans: the program, the host and the process that a span comes from."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from tests.support.flow_processes import run_code
from tests.support.otlp import OtlpReceiver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.service import ServiceProcess


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver


def test_worker_processes_have_the_name_of_the_program_and_their_own_process_id(
    service: ServiceProcess, receiver: OtlpReceiver, flowspan_home: Path
) -> None:
    code = """
        import os
        from flowspan import flow, task
        from flowspan.task_runners import ProcessPoolTaskRunner
        from opentelemetry import trace

        @task
        def inner():
            return os.getpid()

        @task
        def outer():
            return inner()

        @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
        def parallel():
            return outer.submit().result()

        print(os.getpid(), parallel())
    """
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}
    output = run_code(code, home=flowspan_home, address=service.address, env=env)

    parent, worker = map(int, output.split())
    spans = [receiver.one(name) for name in ("parallel", "outer", "inner")]
    assert [span.resource["process.pid"] for span in spans] == [parent, parent, worker]
    assert {span.resource["host.name"] for span in spans} == {os.uname().nodename}
    (name,) = {span.service_name for span in spans}
    assert name.startswith("program-")


def test_the_name_of_the_programs_own_provider_reaches_its_workers(
    service: ServiceProcess, receiver: OtlpReceiver, flowspan_home: Path
) -> None:
    code = """
        import os
        from flowspan import flow, task
        from flowspan.task_runners import ProcessPoolTaskRunner
        from opentelemetry import trace
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider

        trace.set_tracer_provider(TracerProvider(resource=Resource({"service.name": "mine"})))

        @task
        def inner():
            pass

        @task
        def outer():
            inner()

        @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
        def parallel():
            outer.submit().result()

        parallel()
    """
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}
    run_code(code, home=flowspan_home, address=service.address, env=env)
    assert receiver.one("inner").service_name == "mine"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_children_of_multiprocessing(
    service: ServiceProcess, receiver: OtlpReceiver, flowspan_home: Path, method: str
) -> None:
    """A child that was forked after the first span says its own process id, in all its spans."""
    code = f"""
        import multiprocessing
        import os
        from flowspan import flow
        from opentelemetry import trace

        @flow
        def there():
            with trace.get_tracer("library").start_as_current_span("SELECT"):
                pass

        @flow
        def here():
            trace.get_tracer("library").start_span("first").end()

        if __name__ == "__main__":
            here()
            context = multiprocessing.get_context("{method}")
            child = context.Process(target=there)
            child.start()
            child.join()
            print(os.getpid(), child.pid, child.exitcode)
    """
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}
    output = run_code(code, home=flowspan_home, address=service.address, env=env)

    parent, child, exit_code = map(int, output.split())
    assert exit_code == 0
    found = {name: receiver.one(name) for name in ("here", "first", "there", "SELECT")}
    assert {name: span.resource["process.pid"] for name, span in found.items()} == {
        "here": parent,
        "first": parent,
        "there": child,
        "SELECT": child,
    }
    instances = {name: span.resource.get("service.instance.id") for name, span in found.items()}
    assert instances["here"] == instances["first"]
    assert instances["there"] == instances["SELECT"]
    if instances["here"] is not None:  # which older releases of the SDK do not choose
        assert instances["there"] != instances["here"]
    (name,) = {span.service_name for span in found.values()}
    assert name.startswith("program-")


def test_a_flow_that_begins_after_the_main_thread_has_ended(
    service: ServiceProcess, receiver: OtlpReceiver, flowspan_home: Path
) -> None:
    """Python refuses new thread pools then, with which the SDK asks for the resource."""
    code = """
        import threading
        from flowspan import flow

        @flow
        def late():
            pass

        def run():
            threading.main_thread().join()
            late()

        threading.Thread(target=run).start()
    """
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
        "OTEL_RESOURCE_ATTRIBUTES": "team=a%20b",
    }
    run_code(code, home=flowspan_home, address=service.address, env=env)
    span = receiver.one("late")
    assert span.service_name.startswith("program-")
    assert span.resource["team"] == "a b"
    assert span.resource["telemetry.sdk.language"] == "python"
    assert {"host.name", "process.pid", "telemetry.sdk.version"} <= set(span.resource)
