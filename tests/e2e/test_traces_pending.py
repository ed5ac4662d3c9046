"""A flow that runs for long can be found in the trace viewer while it runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from tests.e2e.test_traces_waiting import FLOWSPANS_PROVIDER, OWN_PROVIDER
from tests.support.flow_processes import FlowProcess, run_code
from tests.support.otlp import OtlpReceiver
from tests.support.run_queries import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.service import ServiceProcess


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver


def names_in(receiver: OtlpReceiver) -> set[str]:
    """Return the names of all spans."""
    return {span.name for span in list(receiver.all_spans)}


LONG = """
    import asyncio
    import threading
    from flowspan import flow, task

    @task
    def wait():
        input()

    @flow
    def inner():
        wait()

    @flow
    def in_thread(event):
        event.wait()

    @flow
    def short():
        pass

    @flow
    async def outer(event):
        await asyncio.to_thread(inner)
        event.set()

    event = threading.Event()
    thread = threading.Thread(target=in_thread, args=(event,))
    thread.start()
    short()
    with trace.get_tracer("web").start_as_current_span("GET /"):
        asyncio.run(outer(event))
    thread.join()
"""


@pytest.mark.parametrize(
    "provider",
    [FLOWSPANS_PROVIDER + "    from opentelemetry import trace\n", OWN_PROVIDER],
    ids=["fast", "own provider"],
)
def test_running_flows_are_found(
    service: ServiceProcess, receiver: OtlpReceiver, flowspan_home: Path, provider: str
) -> None:
    """Synchronous, asynchronous, in a thread, and below the span of a request."""
    code = provider + LONG
    # Without hurry, nothing would be sent while the program runs.
    env = {"MINE": receiver.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "60000"}
    with FlowProcess(code, home=flowspan_home, address=service.address, env=env) as process:
        expected = {"outer started", "in-thread started"}
        wait_until(lambda: expected <= names_in(receiver), "the spans of the running flows")
        assert not {"outer", "in-thread"} & names_in(receiver)
        process.say("go on")
        process.finish()

    for name in ("outer", "in-thread"):
        started, run = receiver.one(f"{name} started"), receiver.one(name)
        assert started.parent_id == run.span_id
        assert started.trace_id == run.trace_id
        assert started.start_ns == started.end_ns - 1 == run.start_ns
        assert started.attributes["flowspan.span.pending"] is True
        for key in ("flowspan.run.id", "flowspan.run.name", "flowspan.run.kind"):
            assert started.attributes[key] == run.attributes[key]
    assert receiver.one("outer").parent_id == receiver.one("GET /").span_id
    found = [span.name for span in receiver.all_spans if span.name.endswith(" started")]
    assert sorted(found) == ["in-thread started", "outer started"]


def test_the_trace_of_a_killed_flow_was_found_before(
    service: ServiceProcess, receiver: OtlpReceiver, flowspan_home: Path
) -> None:
    code = """
        from flowspan import flow

        @flow
        def doomed():
            input()

        doomed()
    """
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}
    with FlowProcess(code, home=flowspan_home, address=service.address, env=env) as process:
        wait_until(lambda: names_in(receiver), "the span of the running flow")
        process.kill()
    assert names_in(receiver) == {"doomed started"}


def test_a_forked_child_shows_its_own_flows_and_not_those_of_its_parent(
    service: ServiceProcess, receiver: OtlpReceiver, flowspan_home: Path
) -> None:
    code = """
        import os
        import time
        from flowspan import flow

        @flow
        def below():
            time.sleep(2.5)

        @flow
        def above():
            child = os.fork()
            if not child:
                below()
                os._exit(0)
            os.waitpid(child, 0)

        above()
        print("over")
    """
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}
    output = run_code(code, home=flowspan_home, address=service.address, env=env)
    assert "over" in output
    started = [span.name for span in receiver.all_spans if span.name.endswith(" started")]
    # The flow of the child is nested in the flow of its parent.
    assert started == ["above started"]


def test_a_receiver_that_is_away_does_not_hold_up_the_program(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    code = """
        import time
        from flowspan import flow

        @flow
        def long():
            time.sleep(2.2)

        long()
    """
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    began_s = time.monotonic()
    run_code(code, home=flowspan_home, address=service.address, env=env)
    assert time.monotonic() - began_s < 15
