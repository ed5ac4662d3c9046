"""The spans of processes that were killed or only silent, at the receivers of these processes."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.flow_processes import FlowProcess
from tests.support.otlp import ERROR, HttpOtlpReceiver, OtlpReceiver
from tests.support.report_client import ReportStream, created, entered, new_id
from tests.support.run_queries import flow_history, flow_runs, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.otlp import ReceivedSpans
    from tests.support.service import ServiceProcess

HTTP = {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}

WAITING = """
    from flowspan import flow, task

    @task
    def wait():
        print("waiting", flush=True)
        input()

    @flow
    def doomed():
        wait()

    doomed()
"""

UNTIL_TOLD = """
    import sys, time
    import flowspan

    @flowspan.flow
    def first():
        pass

    while "opentelemetry.sdk.trace" not in sys.modules:
        first()
        time.sleep(0.05)
"""

OWN_PROVIDER = """
    import os
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": "shop"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(os.environ["RECEIVER"])))
    trace.set_tracer_provider(provider)
"""


@pytest.fixture(params=["grpc", "http"])
def receiver(request: pytest.FixtureRequest) -> Iterator[OtlpReceiver | HttpOtlpReceiver]:
    with OtlpReceiver() if request.param == "grpc" else HttpOtlpReceiver() as receiver:
        yield receiver


@pytest.fixture
def grpc_receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver


def to(receiver: OtlpReceiver | HttpOtlpReceiver, **environ: str) -> dict[str, str]:
    """The environment of a program that exports to a receiver."""
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, **environ}
    return variables | HTTP if isinstance(receiver, HttpOtlpReceiver) else variables


def kill_waiting(
    service: ServiceProcess, home: Path, env: dict[str, str], *, code: str = WAITING
) -> int:
    """Start a program, and kill it while its runs wait; return the time, in nanoseconds."""
    known = {run.id for run in flow_runs(service.channel)}
    with FlowProcess(code, home=home, address=service.address, env=env) as process:
        process.wait_for_line("waiting")
        wait_until(
            lambda: any(
                run.id not in known and (run.flow_name, run.state.name) == ("doomed", "Running")
                for run in flow_runs(service.channel)
            ),
            "the flow to be reported",
        )
        time.sleep(0.3)  # its last report
        process.kill()
        return time.time_ns()


def wait_for_crash(receiver: ReceivedSpans) -> None:
    receiver.wait_for(
        lambda spans: {"doomed", "wait"} <= {span.name for span in spans if span.is_synthetic},
        "spans of the crashed runs",
    )


def test_promise_no_trace_hole_though_the_service_was_told_nothing(
    start_service: Callable[..., ServiceProcess],
    receiver: OtlpReceiver | HttpOtlpReceiver,
    flowspan_home: Path,
) -> None:
    """It exports where the program does, over the same protocol, with the program's resource."""
    service = start_service(grace_s=1.5)
    env = to(receiver, OTEL_SERVICE_NAME="shop", OTEL_EXPORTER_OTLP_HEADERS="secret=1")
    killed_ns = kill_waiting(service, flowspan_home, env)
    wait_for_crash(receiver)
    doomed, wait = receiver.one("doomed"), receiver.one("wait")
    assert wait.parent_id == doomed.span_id
    for span in (doomed, wait):
        assert span.status == ERROR
        assert span.attributes["error.type"] == "flowspan.crashed"
        assert span.service_name == "shop"
        assert abs(span.end_ns - killed_ns) < 1e9, "the bar ends with the process"
        ((_, declared_ns, _),) = [e for e in span.events if e[0] == "flowspan.declared_crashed"]
        assert declared_ns - span.end_ns > 1.4e9, "it was declared dead after the grace"
        length_s = (span.end_ns - span.start_ns) / 1e9
        parts_s = span.attributes["flowspan.queued_s"] + span.attributes["flowspan.run_s"]
        assert parts_s == pytest.approx(length_s, abs=1e-5)
        assert span.attributes["flowspan.flow.name"] == "doomed"
        assert span.attributes["flowspan.flow_run.id"] == doomed.run_id
        assert span.attributes["flowspan.root_run.id"] == doomed.run_id
    assert all("secret" not in metadata for metadata in receiver.metadata[-1:])


def test_promise_no_trace_hole_for_a_provider_of_the_program(
    start_service: Callable[..., ServiceProcess],
    grpc_receiver: OtlpReceiver,
    flowspan_home: Path,
) -> None:
    service = start_service(grace_s=0.3)
    env = {
        "RECEIVER": grpc_receiver.endpoint,
        "FLOWSPAN_OTLP_ENDPOINT": grpc_receiver.endpoint,
    }
    kill_waiting(service, flowspan_home, env, code=OWN_PROVIDER + WAITING)
    wait_for_crash(grpc_receiver)
    assert {span.service_name for span in grpc_receiver.spans} == {"shop"}


def test_a_crash_without_a_receiver_is_one_warning(
    start_service: Callable[..., ServiceProcess],
    grpc_receiver: OtlpReceiver,
    flowspan_home: Path,
) -> None:
    service = start_service(grace_s=0.3)
    env = {"RECEIVER": grpc_receiver.endpoint}
    kill_waiting(service, flowspan_home, env, code=OWN_PROVIDER + WAITING)
    wait_until(lambda: "spans_have_no_receiver" in service.log, "the warning")
    time.sleep(0.5)
    assert service.log.count("spans_have_no_receiver") == 1
    assert "FLOWSPAN_OTLP_ENDPOINT" in service.log


@pytest.mark.parametrize("client_otlp", ["never", "always"])
def test_the_receiver_of_the_service_and_those_of_programs(
    start_service: Callable[..., ServiceProcess],
    grpc_receiver: OtlpReceiver,
    flowspan_home: Path,
    client_otlp: str,
) -> None:
    with HttpOtlpReceiver() as own:
        arguments = ("--otlp-endpoint", own.endpoint, "--otlp-protocol", "http/protobuf")
        service = start_service(grace_s=0.3, arguments=(*arguments, "--client-otlp", client_otlp))
        kill_waiting(service, flowspan_home, to(grpc_receiver))
        expected, other = (own, grpc_receiver) if client_otlp == "never" else (grpc_receiver, own)
        wait_for_crash(expected)
        assert not any(span.is_synthetic for span in other.spans)


def test_a_receiver_over_http_is_told_to_programs(
    start_service: Callable[..., ServiceProcess], flowspan_home: Path
) -> None:
    with HttpOtlpReceiver() as own:
        arguments = ("--otlp-endpoint", own.endpoint, "--otlp-protocol", "http/protobuf")
        service = start_service(grace_s=0.3, arguments=arguments)
        kill_waiting(service, flowspan_home, {}, code=UNTIL_TOLD + WAITING)
        wait_for_crash(own)


def test_a_dead_receiver_holds_up_no_other(
    start_service: Callable[..., ServiceProcess],
    grpc_receiver: OtlpReceiver,
    flowspan_home: Path,
) -> None:
    dead = OtlpReceiver()
    with dead:
        pass  # it reserves a port, and goes down
    service = start_service(grace_s=0.3)
    for name in ("first", "second"):
        kill_waiting(service, flowspan_home, to(dead, OTEL_SERVICE_NAME=name))
    kill_waiting(service, flowspan_home, to(grpc_receiver, OTEL_SERVICE_NAME="alive"))
    wait_for_crash(grpc_receiver)
    service.kill()
    with dead:
        service.restart()
        dead.wait_for(
            lambda spans: (
                {(span.service_name, span.name) for span in spans}
                == {(each, name) for each in ("first", "second") for name in ("doomed", "wait")}
            ),
            "spans for the receiver that came back",
        )
        grpc_receiver.wait_for(lambda spans: len(spans) == 4, "the same spans again")
    again = {(span.span_id, span.end_ns, str(span.events)) for span in grpc_receiver.spans}
    assert len(again) == 2, "a span that is exported again must be identical"


def test_promise_a_process_that_was_only_silent_has_one_span(
    start_service: Callable[..., ServiceProcess],
    receiver: OtlpReceiver | HttpOtlpReceiver,
    flowspan_home: Path,
) -> None:
    service = start_service(lease_s=1.0)
    env = to(receiver)
    with FlowProcess(WAITING, home=flowspan_home, address=service.address, env=env) as process:
        process.wait_for_line("waiting")
        (run,) = wait_for_flow(service, "Running")
        process.send_signal(signal.SIGSTOP)
        wait_for_flow(service, "Crashed")
        time.sleep(2.5)  # the service looks at the process meanwhile
        process.send_signal(signal.SIGCONT)
        process.say("")
        process.finish()
    wait_until(lambda: flow_history(service.channel, run.id)[-1] == "Completed", "the true end")
    receiver.wait_for(lambda spans: len(spans) >= 2, "spans of the process")
    time.sleep(2.5)
    assert sorted(receiver.names) == ["doomed", "wait"]
    assert not any(span.is_synthetic or span.status == ERROR for span in receiver.spans)


def test_promise_a_stopped_process_that_is_killed_has_its_spans(
    start_service: Callable[..., ServiceProcess],
    grpc_receiver: OtlpReceiver,
    flowspan_home: Path,
) -> None:
    service = start_service(lease_s=1.0)
    env = to(grpc_receiver)
    with FlowProcess(WAITING, home=flowspan_home, address=service.address, env=env) as process:
        process.wait_for_line("waiting")
        wait_for_flow(service, "Running")
        process.send_signal(signal.SIGSTOP)
        stopped_ns = time.time_ns()
        wait_for_flow(service, "Crashed")
        time.sleep(1.5)
        assert not grpc_receiver.spans, "it may come back"
        process.kill()
        wait_for_crash(grpc_receiver)
    for span in grpc_receiver.spans:
        assert span.end_ns < stopped_ns + 1e9


def test_promise_a_process_that_died_while_the_service_was_down_has_its_spans(
    start_service: Callable[..., ServiceProcess],
    grpc_receiver: OtlpReceiver,
    flowspan_home: Path,
) -> None:
    """The stored mark says that it ran on this machine, where it does not exist any more."""
    service = start_service(lease_s=1.0)
    env = to(grpc_receiver)
    with FlowProcess(WAITING, home=flowspan_home, address=service.address, env=env) as process:
        process.wait_for_line("waiting")
        wait_for_flow(service, "Running")
        service.kill()
        killed_ns = time.time_ns()
        process.kill()
        time.sleep(1.0)
        service.restart()
        wait_for_crash(grpc_receiver)
    for span in grpc_receiver.spans:
        assert span.end_ns < killed_ns + 0.5e9, "the last sign was before"


def test_a_session_of_unknown_whereabouts_is_waited_for(
    start_service: Callable[..., ServiceProcess], grpc_receiver: OtlpReceiver
) -> None:
    """Its client sends nothing, and its connection stands: it may be cut off."""
    arguments = ("--otlp-endpoint", grpc_receiver.endpoint)
    service = start_service(lease_s=1.0, arguments=arguments)
    silent = ReportStream(service.channel, client_name="by-hand", spans_by_service=True)
    lost, gone = new_id(), new_id()
    silent.wait_for_ack(silent.report(created(lost), entered(lost, "RUNNING")))
    wait_until(lambda: flow_history(service.channel, lost)[-1] == "Crashed", "the end of the lease")
    other = ReportStream(service.channel, client_name="by-hand", spans_by_service=True)
    other.report(created(gone), entered(gone, "RUNNING"))
    other.goodbye()
    grpc_receiver.wait_for(bool, "span of the client that took leave")
    assert [span.run_id for span in grpc_receiver.spans] == [gone]


def wait_for_flow(service: ServiceProcess, state: str) -> list[Any]:
    runs: list[Any] = []

    def met() -> bool:
        runs[:] = flow_runs(service.channel)
        return [run.state.name for run in runs] == [state]

    wait_until(met, f"the flow to be {state}")
    return runs
