"""The logs of runs over OTLP: real programs, and real receivers over gRPC and HTTP."""

from __future__ import annotations

import inspect
import json
import time
from typing import TYPE_CHECKING

import pytest
from opentelemetry._logs import Logger
from tests.support.flow_processes import FlowProcess
from tests.support.otlp import HttpOtlpReceiver, OtlpReceiver

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.support.otlp import ReceivedLog, ReceivedSpans
    from tests.support.service import ServiceProcess

PROGRAM = """
    import logging
    from flowspan import flow, get_run_logger, task
    from flowspan.task_runners import ProcessPoolTaskRunner

    log = logging.getLogger("mine")

    @task(retries=1)
    def failing():
        log.warning("of the module")
        try:
            1 / 0
        except ZeroDivisionError:
            log.exception("with a traceback")
        raise ValueError("no")

    @task(log_prints=True)
    def printing():
        print("a print")

    @task
    def remote():
        get_run_logger().error("from a worker process")

    @flow(flow_run_name="mine")
    def outer():
        failing(return_state=True)
        printing()
        get_run_logger().debug("too low")

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
    def in_processes():
        remote.submit().result()

    if __name__ == "__main__":
        log.warning("outside")
        outer()
        in_processes()
"""


def run(code: str, home: Path, service: ServiceProcess, env: Mapping[str, str]) -> FlowProcess:
    with FlowProcess(code, home=home, address=service.address, env=env) as process:
        process.finish()
    return process


def check(receiver: ReceivedSpans, spans: ReceivedSpans | None = None) -> dict[str, ReceivedLog]:
    """Check the records of PROGRAM, and their spans; return them by the first line of the body."""
    receiver.wait_for_log("from a worker process")
    receiver.wait_for_log("Completed")
    logs = receiver.logs
    bodies = [log.body for log in logs]
    assert not [text for text in bodies if "outside" in text or "too low" in text]
    assert bodies.count("of the module") == 2
    assert bodies.count("a print") == 1
    by_span = {span.span_id: span for span in (spans or receiver).all_spans}
    for log in logs:
        assert log.trace_id
        assert by_span[log.span_id].trace_id == log.trace_id
        assert by_span[log.span_id].run_id in (log.run_id, "")
        assert log.flags & 1
        assert 0 < log.time_ns <= log.observed_ns
        assert log.attributes["flowspan.flow.name"] in ("outer", "in-processes")
        assert log.attributes["flowspan.attempt"] in (1, 2)
    return {log.body.split("\n")[0]: log for log in logs}


def test_otel_logs_exporter_sends_the_logs_of_runs(service: ServiceProcess, tmp_path: Path) -> None:
    with OtlpReceiver() as receiver:
        endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}
        run(PROGRAM, tmp_path, service, {**endpoint, "OTEL_LOGS_EXPORTER": "otlp"})
        found = check(receiver)
    error = found["with a traceback"]
    assert error.severity == (17, "ERROR")
    assert error.scope == "mine"
    assert error.attributes["exception.type"] == "ZeroDivisionError"
    assert "1 / 0" in error.attributes["exception.stacktrace"]
    assert error.attributes["code.function.name"] == "failing"
    assert error.attributes["code.line.number"] > 1
    own = [log for log in receiver.logs if log.body.startswith(("Begins", "Completed"))]
    assert own
    assert not [key for log in own for key in log.attributes if key.startswith("code.")]
    assert found["of the module"].severity == (13, "WARN")
    assert found["a print"].scope == "print"
    assert found["a print"].severity == (9, "INFO")
    remote = found["from a worker process"].resource
    assert remote["service.name"] == error.resource["service.name"]
    assert len([log for log in receiver.logs if log.body == "from a worker process"]) == 1
    failed = next(log for text, log in found.items() if text.startswith("Failed after"))
    assert failed.attributes["flowspan.run.name"] == "failing-0"
    begins = next(log for text, log in found.items() if text.startswith("Begins (flow 'outer')"))
    span = receiver.one("outer")
    assert (begins.trace_id, begins.span_id) == (span.trace_id, span.span_id)


def test_over_http_with_settings_of_the_signal(service: ServiceProcess, tmp_path: Path) -> None:
    with HttpOtlpReceiver() as receiver, OtlpReceiver() as spans:
        env = {
            "OTEL_LOGS_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_ENDPOINT": spans.endpoint,
            "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": f"{receiver.endpoint}/v1/logs",
            "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_LOGS_HEADERS": "x-token=a%20b",
            "OTEL_EXPORTER_OTLP_LOGS_COMPRESSION": "gzip",
        }
        run(PROGRAM, tmp_path, service, env)
        for name in ("outer", "failing", "printing", "in-processes", "remote"):
            spans.wait_for(lambda found, name=name: any(s.name == name for s in found), name)
        check(receiver, spans)
        assert {headers["x-token"] for headers in receiver.metadata} == {"a b"}
        assert not spans.logs


def test_without_the_variable_no_log_is_sent(service: ServiceProcess, tmp_path: Path) -> None:
    with OtlpReceiver() as receiver:
        run(PROGRAM, tmp_path, service, {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint})
        receiver.wait_for(lambda spans: any(s.name == "remote" for s in spans), "span")
    assert not receiver.logs


def test_the_console_gets_one_line_of_json_for_each(
    service: ServiceProcess, tmp_path: Path
) -> None:
    code = """
        from flowspan import flow, get_run_logger

        @flow
        def outer():
            get_run_logger().warning("größer \\x1b[31m")

        outer()
    """
    with FlowProcess(
        code, home=tmp_path, address=service.address, env={"OTEL_LOGS_EXPORTER": "console"}
    ) as process:
        lines = [json.loads(line) for line in process.finish().splitlines()]
    assert [line["severity_text"] for line in lines] == ["INFO", "WARN", "INFO"]
    assert lines[1]["text"] == "größer \x1b[31m"
    assert lines[1]["attributes"]["flowspan.flow.name"] == "outer"


OWN_PROVIDER = """
    import logging, warnings
    from opentelemetry._logs import set_logger_provider
    from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
    from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
    from flowspan import flow, get_run_logger, task

    warnings.simplefilter("ignore", DeprecationWarning)
    provider = LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(OTLPLogExporter()))
    set_logger_provider(provider)
    logging.basicConfig(level="INFO", handlers=[LoggingHandler(), logging.StreamHandler()])

    @task(log_prints=True)
    def step():
        print("a print")
        raise ValueError("no")

    @flow
    def outer():
        logging.getLogger("mine").warning("of the module")
        step(return_state=True)

    outer()
"""


def test_a_logger_provider_of_the_program_sends_each_line_once(
    service: ServiceProcess, tmp_path: Path
) -> None:
    with OtlpReceiver() as receiver:
        env = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
            "OTEL_LOGS_EXPORTER": "otlp",
        }
        process = run(OWN_PROVIDER, tmp_path, service, env)
        receiver.wait_for_log("Completed")
    assert "Invalid type" not in process.errors
    assert "Traceback" not in process.errors.replace(
        "Traceback (most recent call last):\n  File", ""
    )
    assert len(receiver.logs) == 5
    spans = {span.span_id: span.run_id for span in receiver.spans}
    for log in receiver.logs:
        assert spans[log.span_id] == log.run_id
        assert not [key for key in log.attributes if key.startswith("flowspan_")]


def test_the_receiver_that_the_service_tells_gets_all_lines(
    start_service: Callable[..., ServiceProcess], tmp_path: Path
) -> None:
    with OtlpReceiver() as receiver:
        env = {"FLOWSPAN_OTLP_LOGS": "true", "FLOWSPAN_OTLP_ENDPOINT": receiver.endpoint}
        service = start_service(env=env)
        run(PROGRAM, tmp_path, service, {})
        found = check(receiver)
    assert len([text for text in found if text.startswith("Begins")]) == 2


def test_a_dead_receiver_costs_no_more_than_two_seconds(
    service: ServiceProcess, tmp_path: Path
) -> None:
    code = """
        from flowspan import flow, get_run_logger

        @flow
        def outer():
            get_run_logger().warning("a line")

        outer()
    """
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "OTEL_LOGS_EXPORTER": "otlp",
    }
    quiet = run(code, tmp_path, service, {"OTEL_SDK_DISABLED": "true"})
    began_s = time.monotonic()
    quiet = run(code, tmp_path, service, {"OTEL_SDK_DISABLED": "true"})
    quiet_s = time.monotonic() - began_s
    began_s = time.monotonic()
    process = run(code, tmp_path, service, env)
    assert time.monotonic() - began_s < quiet_s + 4
    assert "Log records cannot be delivered" in process.errors
    assert "Log records" not in quiet.errors


@pytest.mark.parametrize(
    ("env", "complaint"),
    [
        ({"OTEL_LOGS_EXPORTER": "kafka"}, "OTEL_LOGS_EXPORTER='kafka'"),
        (
            {"OTEL_LOGS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "smtp"},
            "PROTOCOL='smtp'",
        ),
    ],
    ids=["exporter", "protocol"],
)
def test_a_wrong_setting_is_one_warning(
    service: ServiceProcess, tmp_path: Path, env: dict[str, str], complaint: str
) -> None:
    process = run(PROGRAM, tmp_path, service, env)
    main = [line for line in process.errors.splitlines() if "Logs are not exported" in line]
    assert len(main) == 2, "one of the program, one of its worker process"
    assert complaint in main[0]


FAILING = """
    from flowspan import flow, task

    @task(retries=1)
    def hopeless():
        raise ValueError("no")

    @flow
    def outer():
        hopeless(return_state=True)

    outer()
"""


@pytest.mark.parametrize(
    ("opt_in", "exporter", "has_records", "has_events"),
    [
        ("logs", "otlp", True, False),
        ("logs/dup", "otlp", True, True),
        ("logs", "none", False, True),
        ("", "otlp", False, True),
    ],
    ids=["logs", "both", "without a receiver of logs", "default"],
)
def test_exceptions_as_log_records(
    service: ServiceProcess,
    tmp_path: Path,
    opt_in: str,
    exporter: str,
    has_records: bool,
    has_events: bool,
) -> None:
    with OtlpReceiver() as receiver:
        env = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
            "OTEL_LOGS_EXPORTER": exporter,
            "OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN": opt_in,
        }
        run(FAILING, tmp_path, service, env)
        receiver.wait_for(lambda spans: any(s.name == "outer" for s in spans), "span")
        if exporter == "otlp":
            receiver.wait_for_log("Completed")
    records = [log for log in receiver.logs if log.event_name == "flowspan.run.exception"]
    assert [log.severity[1] for log in records] == (["WARN", "ERROR"] if has_records else [])
    spans = {span.span_id: span for span in receiver.spans}
    for number, log in enumerate(records, 1):
        assert log.attributes["exception.type"] == "ValueError"
        assert log.attributes["exception.message"] == "no"
        assert log.attributes["flowspan.attempt"] == number
        assert log.attributes["flowspan.flow.name"] == "outer"
        assert spans[log.span_id].name == "hopeless attempt"
        assert log.scope == "flowspan"
    run_span = receiver.one("hopeless")
    assert run_span.attributes["error.type"] == "ValueError"
    of_failed = [*receiver.named("hopeless attempt"), run_span]
    assert len(of_failed) == 3
    for span in of_failed:
        assert ("exception" in [name for name, *_ in span.events]) == has_events


@pytest.mark.skipif(
    "event_name" not in inspect.signature(Logger.emit).parameters,
    reason="loggers of this version of the SDK take no keyword arguments",
)
def test_exceptions_go_through_the_logger_provider_of_the_program(
    service: ServiceProcess, tmp_path: Path
) -> None:
    with OtlpReceiver() as receiver:
        env = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
            "OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN": "logs",
        }
        run(OWN_PROVIDER, tmp_path, service, env)
        receiver.wait_for(lambda spans: any(s.name == "outer" for s in spans), "span")
        receiver.wait_for_log("ValueError: no")
    span = receiver.one("step")
    [record] = [log for log in receiver.logs if log.event_name]
    assert (record.trace_id, record.span_id) == (span.trace_id, span.span_id)
    assert record.attributes["flowspan.run.id"] == span.run_id
    assert not [name for name, *_ in span.events if name == "exception"]


def test_a_forked_child_sends_its_own_lines_only(service: ServiceProcess, tmp_path: Path) -> None:
    code = """
        import os
        from flowspan import flow, get_run_logger

        @flow
        def outer():
            logger = get_run_logger()
            logger.warning("before the fork")
            child = os.fork()
            if child == 0:
                logger.warning("of the child")
                from flowspan import telemetry
                assert telemetry.flush(10)
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            logger.warning("after the fork")

        outer()
    """
    with OtlpReceiver() as receiver:
        endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}
        run(code, tmp_path, service, {**endpoint, "OTEL_LOGS_EXPORTER": "otlp"})
        receiver.wait_for_log("Completed")
    bodies = [log.body for log in receiver.logs]
    for text in ("before the fork", "of the child", "after the fork"):
        assert bodies.count(text) == 1
    assert len({log.run_id for log in receiver.logs}) == 1


EVERYWHERE = """
    import asyncio, logging, os, threading, warnings

    if os.environ.get("MINE"):
        from opentelemetry._logs import set_logger_provider
        from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
        from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
        from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter

        warnings.simplefilter("ignore", DeprecationWarning)
        provider = LoggerProvider()
        provider.add_log_record_processor(SimpleLogRecordProcessor(OTLPLogExporter()))
        set_logger_provider(provider)
        logging.basicConfig(level="INFO", handlers=[LoggingHandler()])

        # As OpenTelemetry's instrumentation of logging does.
        from opentelemetry import trace

        made_by = logging.getLogRecordFactory()

        def factory(*args, **kwargs):
            record = made_by(*args, **kwargs)
            record.otelSpanID = f"{trace.get_current_span().get_span_context().span_id:016x}"
            return record

        logging.setLogRecordFactory(factory)

    from flowspan import flow, get_run_logger, task

    log = logging.getLogger("mine")

    def hook(task, run, state):
        log.info("hook")
        get_run_logger().info("hook")

    @task(on_failure=[hook])
    def fails():
        raise ValueError("no")

    @task(on_completion=[hook])
    async def waits(number):
        log.info("async 1")
        await asyncio.sleep(0.01)
        get_run_logger().info("async 2")

    @task
    def yields():
        log.info("generator 1")
        yield 1
        log.info("generator 2")

    @task(log_prints=True)
    def threads():
        logger = get_run_logger()
        thread = threading.Thread(target=logger.info, args=("thread",))
        thread.start()
        thread.join()
        print("print")

    @flow
    async def inner():
        await asyncio.gather(waits(1), waits(2))

    @flow
    def outer():
        logger = get_run_logger()

        @task
        def other():
            logger.info("outer's line")

        fails(return_state=True)
        list(yields())
        threads.submit().result()
        other()
        asyncio.run(inner())

    outer()
"""


@pytest.mark.parametrize("is_own", [False, True], ids=["export of flowspan", "LoggingHandler"])
def test_every_line_has_the_span_of_its_run(
    service: ServiceProcess, tmp_path: Path, is_own: bool
) -> None:
    with OtlpReceiver() as receiver:
        env = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
            "OTEL_LOGS_EXPORTER": "otlp",
            "MINE": "1" if is_own else "",
        }
        process = run(EVERYWHERE, tmp_path, service, env)
        receiver.wait_for(lambda spans: any(s.name == "outer" for s in spans), "span")
    assert "Invalid type" not in process.errors
    runs = {span.span_id: span.run_id for span in receiver.all_spans}
    [trace_id] = {span.trace_id for span in receiver.all_spans}
    names = {span.run_id: span.name for span in receiver.all_spans if span.run_id}
    found = []
    for log in receiver.logs:
        assert log.trace_id == trace_id
        assert runs[log.span_id] == log.run_id
        assert log.attributes.get("otelSpanID") == (log.span_id if is_own else None)
        found.append((names[log.run_id], log.body.rpartition(":")[2] if is_own else log.body))
    counts = {
        ("fails", "hook"): 2,
        ("waits", "hook"): 4,
        ("waits", "async 1"): 2,
        ("waits", "async 2"): 2,
        ("yields", "generator 1"): 1,
        ("yields", "generator 2"): 1,
        ("threads", "thread"): 1,
        ("threads", "print"): 1,
        ("outer", "outer's line"): 1,
    }
    assert {line: found.count(line) for line in counts} == counts
    assert len(found) == sum(counts.values()) + 5, "the begin and end of two flows, and a failure"
