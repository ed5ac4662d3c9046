"""The logs that the service exports for clients without an OpenTelemetry SDK."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from tests.support.otlp import HttpOtlpReceiver, OtlpReceiver
from tests.support.report_client import ReportStream, created, entered, new_id, now

from flowspan.v1 import failure_pb2, log_pb2, report_pb2, trace_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.service import ServiceProcess

RESOURCE = {"service.name": "etl", "process.pid": "42"}


def line(run_id: str, message: str, **fields) -> report_pb2.Event:
    values = {"level": 30, "logger": "jobs.load", "time": now(), "attempt": 1} | fields
    return report_pb2.Event(log=log_pb2.LogRecord(run_id=run_id, message=message, **values))


def target(receiver: OtlpReceiver | HttpOtlpReceiver | str) -> trace_pb2.OtlpTarget:
    if isinstance(receiver, HttpOtlpReceiver):
        url = f"{receiver.endpoint}/v1/logs"
        return trace_pb2.OtlpTarget(protocol="http/protobuf", logs_url=url)
    return trace_pb2.OtlpTarget(
        logs_url=receiver if isinstance(receiver, str) else receiver.endpoint
    )


def report(service: ServiceProcess, *messages: str, **hello) -> str:
    """Report a flow run with a task that logs messages; return the id of the task run."""
    hello = {"logs_by_service": True, "spans_by_service": True, "resource": RESOURCE} | hello
    stream = ReportStream(service.channel, client_name="flowspan-go", **hello)
    flow_id, task_id = new_id(), new_id()
    events = [
        created(flow_id, function_name="nightly"),
        entered(flow_id, "RUNNING"),
        created(
            task_id,
            kind="TASK",
            function_name="load",
            run_name="load-0",
            parent_run_id=flow_id,
            root_run_id=flow_id,
            flow_run_id=flow_id,
        ),
        entered(task_id, "RUNNING"),
        *(line(task_id, message) for message in messages),
        entered(task_id, "COMPLETED"),
        entered(flow_id, "COMPLETED"),
    ]
    stream.wait_for_ack(stream.report(*events))
    assert not stream.verdicts
    stream.goodbye()
    return task_id


def test_to_the_receiver_of_the_service(start_service: Callable[..., ServiceProcess]) -> None:
    with OtlpReceiver() as receiver:
        env = {
            "FLOWSPAN_OTLP_ENDPOINT": receiver.endpoint,
            "OTEL_LOGS_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_HEADERS": "x-token=t",
        }
        service = start_service(env=env)
        task_id = report(service, "größer", "second")
        report(service, "not wanted", logs_by_service=False)
        record = receiver.wait_for_log("größer")
        receiver.wait_for_log("second")
        receiver.wait_for(lambda spans: any(s.name == "load" for s in spans), "span")
        span = next(s for s in receiver.spans if s.run_id == task_id)
        assert (record.trace_id, record.span_id) == (span.trace_id, span.span_id)
        assert record.flags == 3
        assert record.severity == (13, "WARN")
        assert record.scope == "jobs.load"
        assert record.resource == {"service.name": "etl", "process.pid": 42}
        assert 0 < record.time_ns <= record.observed_ns
        flow_id = record.attributes["flowspan.flow_run.id"]
        assert record.attributes == {
            "flowspan.run.id": task_id,
            "flowspan.run.name": "load-0",
            "flowspan.flow.name": "nightly",
            "flowspan.flow_run.id": flow_id,
            "flowspan.root_run.id": flow_id,
            "flowspan.attempt": 1,
        }
        assert [log.body for log in receiver.logs] == ["größer", "second"]
        of_logs = [each for each in receiver.metadata if "x-token" in each]
        assert of_logs


def test_to_the_receivers_that_clients_name(start_service: Callable[..., ServiceProcess]) -> None:
    env = {"OTEL_EXPORTER_OTLP_HEADERS": "x-token=t"}
    with OtlpReceiver() as one, HttpOtlpReceiver() as other:
        service = start_service(env=env)
        report(service, "to one", otlp_target=target(one))
        report(service, "to the other", otlp_target=target(other))
        one.wait_for_log("to one")
        other.wait_for_log("to the other")
        assert [log.body for log in one.logs] == ["to one"]
        assert [log.body for log in other.logs] == ["to the other"]
        assert not [each for each in [*one.metadata, *other.metadata] if "x-token" in each]


def test_a_dead_receiver_holds_up_no_other_and_gets_all_when_it_is_back(
    start_service: Callable[..., ServiceProcess],
) -> None:
    dead = OtlpReceiver()
    with dead:
        pass  # it has a port now, on which nothing listens
    with OtlpReceiver() as alive:
        service = start_service()
        report(service, "waits", "too", otlp_target=target(dead))
        report(service, "arrives", otlp_target=target(alive))
        alive.wait_for_log("arrives")
        with dead:
            dead.wait_for_log("waits")
            dead.wait_for_log("too")
            assert [log.body for log in dead.logs] == ["waits", "too"]


def test_what_waits_survives_a_kill(start_service: Callable[..., ServiceProcess]) -> None:
    receiver = OtlpReceiver()
    with receiver:
        pass
    env = {"FLOWSPAN_OTLP_ENDPOINT": receiver.endpoint, "FLOWSPAN_OTLP_LOGS": "true"}
    service = start_service(env=env)
    messages = [f"line {number:04}" for number in range(1200)]
    report(service, *messages)
    service.kill()
    with receiver:
        service.restart()
        receiver.wait_for_log(messages[-1])
        arrived = [log.body for log in receiver.logs]
    assert sorted(set(arrived)) == messages


def test_without_a_receiver_nothing_waits(start_service: Callable[..., ServiceProcess]) -> None:
    service = start_service(env={"FLOWSPAN_CLIENT_OTLP": "never"})
    with OtlpReceiver() as receiver:
        report(service, "nowhere", otlp_target=target(receiver))
        time.sleep(1)
        assert not receiver.logs
    assert "logs_wait" not in service.log


@pytest.mark.parametrize(("opt_in", "has_events"), [("logs", False), ("logs/dup", True)])
def test_exceptions_on_spans_of_the_service(
    start_service: Callable[..., ServiceProcess], opt_in: str, has_events: bool
) -> None:
    with OtlpReceiver() as receiver:
        env = {
            "FLOWSPAN_OTLP_ENDPOINT": receiver.endpoint,
            "OTEL_LOGS_EXPORTER": "otlp",
            "OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN": opt_in,
        }
        service = start_service(env=env)
        stream = ReportStream(service.channel, spans_by_service=True, resource=RESOURCE)
        run_id = new_id()
        error = failure_pb2.Failure(
            type="ValueError", message="no", cause=failure_pb2.Failure(type="OSError", message="x")
        )
        failed = entered(run_id, "FAILED", failure=error)
        events = created(run_id, function_name="etl"), entered(run_id, "RUNNING"), failed
        stream.wait_for_ack(stream.report(*events))
        stream.goodbye()
        receiver.wait_for(lambda spans: any(s.name == "etl" for s in spans), "span")
        span = receiver.one("etl")
    first, cause = receiver.logs
    assert (first.trace_id, first.span_id) == (span.trace_id, span.span_id)
    assert first.event_name == cause.event_name == "flowspan.run.exception"
    assert first.body == "ValueError: no"
    assert first.severity == (17, "ERROR")
    assert first.scope == "flowspan-service"
    assert first.resource["service.name"] == "etl"
    assert first.attributes["flowspan.run.id"] == run_id
    assert first.attributes["exception.type"] == "ValueError"
    assert cause.attributes["flowspan.cause.depth"] == 1
    assert span.attributes["error.type"] == "ValueError"
    assert [name for name, *_ in span.events if name == "exception"] == [
        "exception"
    ] * 2 * has_events
