"""Programs that runs start become parts of their trees: real processes, over three levels."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from tests.support.cli import flowspan
from tests.support.flow_processes import FlowProcess, run_code
from tests.support.otlp import OtlpReceiver
from tests.support.run_queries import flow_history, flow_runs, task_runs, wait_until

from flowspan.client import get_client
from flowspan.v1 import state_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

    from tests.support.service import ServiceProcess

RUNNING = state_pb2.STATE_TYPE_RUNNING

LEVELS = """
    import os, subprocess, sys
    from flowspan import flow, task
    from flowspan.context import run_environ, run_headers

    level = int(os.environ.get("LEVEL", "0"))

    def start_next(**options):
        variables = {**os.environ, **run_environ(), "LEVEL": str(level + 1)}
        return subprocess.Popen([sys.executable, __file__], env=variables, **options)
"""
"""What the programs of each level begin with."""

TREE = (
    LEVELS
    + """
    @task
    def call():
        assert start_next().wait() == 0

    @task
    def leaf():
        pass

    @flow(name=f"level-{level}")
    def run():
        call() if level < 2 else leaf()

    assert (run_environ(), run_headers()) == ({}, {})
    run()
    """
)

WAITING = (
    LEVELS
    + """
    import asyncio, time

    @task
    def tick():
        time.sleep(0.02)

    def wait_plain():
        child = start_next() if level < 2 else None
        while child is None or child.poll() is None:
            tick()  # plain code stops where it calls a task

    async def wait_async():
        child = start_next()
        while child.poll() is None:
            await asyncio.sleep(0.02)

    if level == 1:
        async def main():
            await flow(name="level-1")(wait_async)(return_state=True)
        asyncio.run(main())
    else:
        flow(name=f"level-{level}")(wait_plain)(return_state=True)
    """
)


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver


def levels_of(service: ServiceProcess) -> list[Any]:
    """Return the flow runs of the three levels."""
    runs = sorted(flow_runs(service.channel), key=lambda run: run.flow_name)
    assert [run.flow_name for run in runs] == ["level-0", "level-1", "level-2"]
    return runs


def all_running(service: ServiceProcess) -> Callable[[], bool]:
    return lambda: [run.state.type for run in flow_runs(service.channel)] == [RUNNING] * 3


def check_tree(service: ServiceProcess) -> tuple[list[Any], list[Any]]:
    """Check parents, roots and flow runs; return the flow runs and the task runs of the levels."""
    flows = levels_of(service)
    by_flow = {run.flow_run_id: run for run in task_runs(service.channel)}
    tasks = [by_flow[run.id] for run in flows]
    assert [run.parent_run_id for run in flows] == ["", tasks[0].id, tasks[1].id]
    assert [run.parent_run_id for run in tasks] == [run.id for run in flows]
    assert {run.root_run_id for run in (*flows, *tasks)} == {flows[0].id}
    return flows, tasks


def test_programs_over_three_levels_are_one_tree(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    run_code(TREE, home=flowspan_home, address=service.address)
    flows, _ = check_tree(service)
    assert [flow_history(service.channel, run.id)[-1] for run in flows] == ["Completed"] * 3
    shown = flowspan("run", "show", flows[0].id, env={"FLOWSPAN_ADDRESS": service.address})
    places = [shown.out.index(name) for name in ("level-0", "level-1", "level-2", "leaf")]
    assert places == sorted(places)


@pytest.mark.parametrize("provider", ["flowspan", "program"])
def test_programs_over_three_levels_are_one_trace(
    service: ServiceProcess, receiver: OtlpReceiver, flowspan_home: Path, provider: str
) -> None:
    code = TREE
    if provider == "program":
        code = (
            """
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    trace.set_tracer_provider(TracerProvider())
    trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
"""
            + TREE
        )
        pytest.importorskip("opentelemetry.exporter.otlp.proto.grpc")
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}
    run_code(code, home=flowspan_home, address=service.address, env=env)
    flows, tasks = check_tree(service)
    spans = {span.run_id: span for span in receiver.spans}
    assert len({span.trace_id for span in spans.values()}) == 1
    assert len(spans) == len(receiver.spans) == 6
    for run in (*flows, *tasks):
        expected = spans[run.parent_run_id].span_id if run.parent_run_id else ""
        assert spans[run.id].parent_id == run.trace.parent_span_id == expected
        assert run.trace.tracestate == ""


def test_program_is_in_the_trace_of_a_run_without_spans(
    service: ServiceProcess, receiver: OtlpReceiver, flowspan_home: Path
) -> None:
    code = """
    import os, sys
    if os.environ["LEVEL"] == "0":
        os.environ["FLOWSPAN_TRACING"] = "false"
    else:
        os.environ.pop("FLOWSPAN_TRACING", None)
    """
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "LEVEL": "0"}
    run_code(code + TREE, home=flowspan_home, address=service.address, env=env)
    flows, tasks = check_tree(service)
    span = receiver.one("level-1")
    # The ids that every run without a trace context has.
    assert span.trace_id == flows[0].id.replace("-", "")
    assert span.parent_id == tasks[0].id.replace("-", "")[16:]
    assert {each.trace_id for each in receiver.spans} == {span.trace_id}


def test_cancellation_from_the_top_reaches_the_last_program(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    with FlowProcess(WAITING, home=flowspan_home, address=service.address) as process:
        wait_until(all_running(service), "three running flows")
        runs = levels_of(service)
        with get_client(sync_client=True, address=service.address) as client:
            answer = client.cancel_flow_run(runs[0].id, reason="enough")
            assert answer.asked_run_count == 3
            for run in runs:
                client.wait_for_flow_run(run.id, timeout=60)
        process.finish()
    for run in runs:
        assert flow_history(service.channel, run.id)[-2:] == ["Cancelling", "Cancelled"]


def test_program_outlives_the_run_that_started_it(
    start_service: Callable[..., ServiceProcess], flowspan_home: Path
) -> None:
    service = start_service(grace_s=0.5)
    code = """
        import os, subprocess, sys, time
        from pathlib import Path
        from flowspan import flow
        from flowspan.context import run_environ

        end = Path(os.environ["FLOWSPAN_HOME"], "end")

        @flow
        def child():
            while not end.exists():
                time.sleep(0.01)
            return "done"

        @flow
        def parent():
            env = {**os.environ, **run_environ(), "IS_CHILD": "1"}
            subprocess.Popen([sys.executable, __file__], env=env).wait()

        child() if "IS_CHILD" in os.environ else parent()
    """
    with FlowProcess(code, home=flowspan_home, address=service.address) as process:
        wait_until(
            lambda: [run.state.type for run in flow_runs(service.channel)] == [RUNNING] * 2,
            "two running flows",
        )
        os.kill(process.pid, signal.SIGKILL)
        parent, child = flow_runs(service.channel)
        wait_until(lambda: flow_history(service.channel, parent.id)[-1] == "Crashed", "the crash")
        (flowspan_home / "end").touch()
        wait_until(
            lambda: flow_history(service.channel, child.id)[-1] == "Completed", "the child's end"
        )
    assert child.parent_run_id == child.root_run_id == parent.id
    assert flow_history(service.channel, child.id) == ["Pending", "Running", "Completed"]


def test_first_child_finds_the_local_service_that_its_parent_starts(flowspan_home: Path) -> None:
    # The child does not start a service, like the clients in other languages.
    code = """
        import os, subprocess, sys
        from flowspan import flow
        from flowspan.context import run_environ

        CHILD = '''
        import os
        from pathlib import Path
        from flowspan.connection.local_service import find_local_service
        print("found:", find_local_service(Path(os.environ["FLOWSPAN_HOME"])), flush=True)
        '''

        @flow
        def parent():
            command = [sys.executable, "-c", "\\n".join(map(str.strip, CHILD.splitlines()))]
            subprocess.run(command, env={**os.environ, **run_environ()}, check=True)

        parent()
    """
    output = run_code(code, home=flowspan_home)
    assert "found: " in output
    assert "found: None" not in output


@pytest.mark.parametrize("tracing", ["false", "true"])
def test_called_server_continues_the_tree(
    service: ServiceProcess, receiver: OtlpReceiver, flowspan_home: Path, tracing: str
) -> None:
    server = """
        from http.server import BaseHTTPRequestHandler, HTTPServer
        from flowspan import flow
        from flowspan.telemetry.propagation import continued

        @flow
        def served():
            pass

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                with continued(self.headers):
                    served()
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        print("port", server.server_port, flush=True)
        for _ in range(3):
            server.handle_request()
    """
    caller = """
        import os, urllib.request
        from flowspan import flow
        from flowspan.context import run_headers

        def ask(headers):
            request = urllib.request.Request(os.environ["URL"], headers=headers)
            urllib.request.urlopen(request).close()

        @flow
        def asking():
            headers = run_headers()
            ask(headers)
            # As a library that propagates only the trace context of W3C does.
            headers.pop("flowspan-run")
            ask(headers)

        asking()
        ask(run_headers())
    """
    env = {"FLOWSPAN_TRACING": tracing, "FLOWSPAN_OTLP_ENDPOINT": receiver.endpoint}
    home, address = flowspan_home, service.address
    with FlowProcess(server, home=home / "server", address=address, env=env) as process:
        port = process.wait_for_line("port").split()[1]
        env["URL"] = f"http://127.0.0.1:{port}/"
        run_code(caller, home=home / "caller", address=address, env=env)
        process.finish()
    caller_run, *served = flow_runs(service.channel)
    by_tracestate = caller_run.id if tracing == "true" else ""
    assert [run.parent_run_id for run in served] == [caller_run.id, by_tracestate, ""]


def test_run_created_through_the_api_is_a_child_of_the_caller(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    code = """
        import asyncio
        from flowspan import flow, get_client, task

        @task
        def create():
            with get_client(sync_client=True) as client:
                client.create_flow_run("plain")

        @flow
        async def creating():
            create()
            async with get_client() as client:
                await client.create_flow_run("asynchronous")

        asyncio.run(creating())
        with get_client(sync_client=True) as client:
            client.create_flow_run("outside")
    """
    run_code(code, home=flowspan_home, address=service.address)
    runs = {run.flow_name: run for run in flow_runs(service.channel)}
    (task_run,) = task_runs(service.channel)
    parents = {name: run.parent_run_id for name, run in runs.items()}
    flow_id = runs["creating"].id
    assert parents == {
        "creating": "",
        "plain": task_run.id,
        "asynchronous": flow_id,
        "outside": "",
    }
    assert runs["plain"].root_run_id == flow_id


def test_malformed_context_is_one_warning(service: ServiceProcess, flowspan_home: Path) -> None:
    code = """
        from flowspan import flow

        @flow
        def alone():
            pass

        alone()
        alone()
    """
    env = {"FLOWSPAN_RUN": "r:42"}
    with FlowProcess(code, home=flowspan_home, address=service.address, env=env) as process:
        process.finish()
        assert process.errors.count("FLOWSPAN_RUN is ignored") == 1
    assert [run.parent_run_id for run in flow_runs(service.channel)] == ["", ""]


def test_harness_and_local_service_do_not_inherit_the_context(flowspan_home: Path) -> None:
    code = """
        import os
        from flowspan import flow, get_client
        from flowspan.testing import flowspan_test_harness

        @flow
        def tested():
            pass

        @flow
        def ordinary():
            pass

        with flowspan_test_harness() as harness:
            tested()
            with get_client(sync_client=True) as client:
                (run,) = client.read_flow_runs()
                assert run.parent_run_id is None, run
        ordinary()
        import json
        from pathlib import Path
        facts = json.loads(Path(os.environ["FLOWSPAN_HOME"], "service.json").read_text())
        environ = Path(f"/proc/{facts['pid']}/environ").read_bytes()
        assert b"FLOWSPAN_HOME=" in environ
        assert b"FLOWSPAN_RUN=" not in environ
        assert b"TRACEPARENT=" not in environ
        with get_client(sync_client=True) as client:
            (run,) = client.read_flow_runs()
            assert str(run.parent_run_id) == "0199c0de-0000-7000-8000-000000000001", run
            assert str(run.root_run_id) == "0199c0de-0000-7000-8000-0000000000ff", run
    """
    env = {
        "FLOWSPAN_RUN": "r:0199c0de000070008000000000000001;t:0199c0de0000700080000000000000ff",
        "TRACEPARENT": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
    run_code(code, home=flowspan_home, env=env)
