"""Every run has one span that shows its end, however it ends."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from tests.support.flow_processes import FlowProcess, run_code
from tests.support.otlp import ERROR, OtlpReceiver
from tests.support.run_queries import flow_runs, task_runs

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.service import ServiceProcess

ENDINGS = """
    import asyncio
    import time
    from flowspan import flow, task
    from flowspan.states import Failed

    @task
    def fails():
        raise ValueError("no")

    @task
    def needs(value):
        return value

    @task(timeout_seconds=0.05)
    def slow():
        time.sleep(0.2)

    @task(timeout_seconds=0.05)
    async def slow_too():
        await asyncio.sleep(60)

    @task
    def refuses():
        return Failed(message="not today")

    @flow(retries=1)
    def second_time_lucky(calls=[]):
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("once")

    @flow
    def wrong_arguments(number: int):
        return number

    @task
    async def fails_later():
        raise ValueError("no")

    @task
    async def needs_later(value):
        return value

    @task
    async def refuses_later():
        return Failed(message="not today")

    @flow(retries=1)
    async def later_lucky(calls=[]):
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("once")

    @flow
    async def wrong_arguments_later(number: int):
        return number

    @flow
    async def everything_later():
        failed = fails_later.submit()
        needs_later.submit(failed).wait()
        await refuses_later(return_state=True)
        await later_lucky()
        await wrong_arguments_later("x", return_state=True)
        raise LookupError("at the end")

    @flow
    def everything():
        failed = fails.submit()
        needs.submit(failed).wait()
        slow(return_state=True)
        slow_too.submit().wait()
        refuses(return_state=True)
        second_time_lucky()
        wrong_arguments("x", return_state=True)

    everything(return_state=True)
    asyncio.run(everything_later(return_state=True))
"""


def test_every_ending_has_its_span(service: ServiceProcess, flowspan_home: Path) -> None:
    with OtlpReceiver() as receiver:
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}
        run_code(ENDINGS, home=flowspan_home, address=service.address, env=env)

    ended = [span for span in receiver.spans if span.run_id]
    shown = {
        span.name: (
            span.attributes["flowspan.state.name"],
            span.status == ERROR,
            span.attributes.get("error.type"),
        )
        for span in ended
    }
    timeout = "flowspan.exceptions.RunTimeout"
    assert shown == {
        "fails": ("Failed", True, "ValueError"),
        "needs": ("NotReady", False, None),
        "slow": ("TimedOut", True, timeout),
        "slow_too": ("TimedOut", True, timeout),
        "refuses": ("Failed", True, "Failed"),
        "second-time-lucky": ("Completed", False, None),
        "wrong-arguments": ("Failed", True, "flowspan.exceptions.ParameterError"),
        "everything": ("Completed", False, None),
        "fails_later": ("Failed", True, "ValueError"),
        "needs_later": ("NotReady", False, None),
        "refuses_later": ("Failed", True, "Failed"),
        "later-lucky": ("Completed", False, None),
        "wrong-arguments-later": ("Failed", True, "flowspan.exceptions.ParameterError"),
        "everything-later": ("Failed", True, "LookupError"),
    }
    runs = [*flow_runs(service.channel), *task_runs(service.channel)]
    assert sorted(span.run_id for span in ended) == sorted(run.id for run in runs)
    for name in ("second-time-lucky", "later-lucky"):
        assert [span.status for span in receiver.named(f"{name} attempt")] == [ERROR, 0]


def test_a_flow_that_is_interrupted_has_its_span(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    code = """
        import os
        import signal
        from flowspan import flow, task

        @task
        def interrupts():
            os.kill(os.getpid(), signal.SIGINT)
            for _ in range(1_000_000):
                pass

        @flow
        def broken_off():
            interrupts()

        broken_off()
    """
    with OtlpReceiver() as receiver:
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}
        with FlowProcess(code, home=flowspan_home, address=service.address, env=env) as process:
            process.finish(expected_code=None)
    for name in ("interrupts", "broken-off"):
        span = receiver.one(name)
        assert span.attributes["flowspan.state.type"] == "CRASHED"
        assert span.attributes["error.type"] == "KeyboardInterrupt"
        assert span.status == ERROR
        assert not span.is_synthetic


IN_A_WORKER = """
    import os
    import signal
    from flowspan import flow, task
    from flowspan.task_runners import ProcessPoolTaskRunner

    @task
    def done():
        pass

    @task
    def killed():
        done()
        # Wait until the spans of what has ended are exported.
        from flowspan.telemetry import flush
        flush()
        os.kill(os.getpid(), signal.SIGKILL)

    @flow
    def inner():
        killed()

    @task
    def runs_inner():
        inner()

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
    def outer():
        runs_inner.submit().wait()
        return "the end"

    if __name__ == "__main__":
        outer()
"""

OWN_PROVIDER = """
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(insecure=True)))
    trace.set_tracer_provider(provider)
"""


@pytest.mark.parametrize("provider", ["", OWN_PROVIDER], ids=["flowspan", "own"])
def test_runs_inside_a_worker_process_that_is_killed_have_spans(
    service: ServiceProcess, flowspan_home: Path, provider: str
) -> None:
    with OtlpReceiver() as receiver:
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}
        run_code(provider + IN_A_WORKER, home=flowspan_home, address=service.address, env=env)
        names = ("outer", "runs_inner", "inner", "killed", "done")
        spans = [receiver.one(name) for name in names]
        above = ["", *(span.span_id for span in spans[:-1])]
        assert [span.parent_id for span in spans] == above
        assert [span.is_synthetic for span in spans] == [False, False, True, True, False]
        for span in spans[2:4]:
            assert span.status == ERROR
            assert span.attributes["error.type"] == "flowspan.crashed"
            assert span.attributes["flowspan.state.type"] == "CRASHED"
            assert span.resource["service.name"] == spans[0].resource["service.name"]


ENDED_BY_A_SIGNAL = {
    "sync": """
    from flowspan import flow, get_run_logger, task
    from opentelemetry import trace
    import time

    @task
    def sleeps():
        with trace.get_tracer("library").start_as_current_span("query"):
            print("sleeping", flush=True)
            try:
                time.sleep(600)
            finally:
                get_run_logger().warning("cleaning up")

    @flow
    def inner():
        sleeps()

    @flow
    def outer():
        inner()

    outer()
    """,
    "async": """
    import asyncio
    from flowspan import flow, get_run_logger, task
    from opentelemetry import trace

    @task
    async def sleeps():
        with trace.get_tracer("library").start_as_current_span("query"):
            print("sleeping", flush=True)
            try:
                await asyncio.sleep(600)
            finally:
                get_run_logger().warning("cleaning up")

    @flow
    async def inner():
        await sleeps()

    @flow
    async def outer():
        await inner()

    asyncio.run(outer())
    """,
}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_process_that_a_signal_ends_exports_its_last_spans_and_logs(
    service: ServiceProcess, flowspan_home: Path, way: str, number: signal.Signals
) -> None:
    with OtlpReceiver() as receiver:
        env = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
            "OTEL_LOGS_EXPORTER": "otlp",
            # Nothing is exported before the end of the process, however long it takes.
            "OTEL_BSP_SCHEDULE_DELAY": "600000",
            "OTEL_BLRP_SCHEDULE_DELAY": "600000",
        }
        with FlowProcess(
            ENDED_BY_A_SIGNAL[way], home=flowspan_home, address=service.address, env=env
        ) as process:
            process.wait_for_line("sleeping")
            process.send_signal(number)
            process.finish(expected_code=-number)
        outer, inner, sleeps = (receiver.one(name) for name in ("outer", "inner", "sleeps"))
        query = receiver.one("query")
        assert [span.parent_id for span in (outer, inner, sleeps, query)] == [
            "",
            outer.span_id,
            inner.span_id,
            sleeps.span_id,
        ]
        states = {span.attributes["flowspan.state.type"] for span in (outer, inner, sleeps)}
        assert states == {"CRASHED"}
        (cleaning,) = [log for log in receiver.logs if log.body == "cleaning up"]
        assert cleaning.span_id == query.span_id
