"""The OTLP requests with log records that the service sends."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)

from flowspan.telemetry import log_records
from flowspan_service.domain.logs import LogEntry
from flowspan_service.domain.runs import Run, RunKind, TraceContext
from flowspan_service.domain.sessions import SpanSource
from flowspan_service.domain.states import State, StateType
from flowspan_service.loops.log_requests import log_request, refused_records, severity_of

OF_RUN = TraceContext(f"00-{'a' * 32}-{'b' * 16}-01")


def run(run_id: str, kind: RunKind = RunKind.TASK, **values: Any) -> Run:
    defaults = {
        "function_name": "load",
        "run_name": "load-0",
        "parent_run_id": None,
        "root_run_id": "root",
        "flow_run_id": None,
        "tags": (),
        "parameters": None,
        "trace": OF_RUN,
        "version": "",
        "created_us": 0,
        "state": State(StateType.RUNNING, "Running", "", 0),
    }
    return Run(id=run_id, kind=kind, **(defaults | values))


def record_of(entry: LogEntry, *runs: Run) -> Any:
    request = log_request([entry], {each.id: each for each in runs}, None, 9)
    return (
        ExportLogsServiceRequest.FromString(request).resource_logs[0].scope_logs[0].log_records[0]
    )


def attributes_of(record: Any) -> dict[str, Any]:
    return {pair.key: pair.value.string_value or pair.value.int_value for pair in record.attributes}


def test_a_record_has_the_trace_of_its_run_or_its_own() -> None:
    entry = LogEntry("t", 1, 20, 5, "l", "text")
    record = record_of(entry, run("t"))
    assert (record.trace_id.hex(), record.span_id.hex(), record.flags) == ("a" * 32, "b" * 16, 1)
    entry.trace_id, entry.span_id = "c" * 32, "d" * 16
    record = record_of(entry, run("t"))
    assert (record.trace_id.hex(), record.span_id.hex(), record.flags) == ("c" * 32, "d" * 16, 1)
    record = record_of(entry)
    assert (record.trace_id.hex(), record.flags) == ("c" * 32, 0)
    entry.trace_id = ""
    assert record_of(entry, run("t", trace=None)).trace_id == b""


def test_the_names_of_spans() -> None:
    entry = LogEntry("t", 2, 20, 5, "l", "text", chunk_index=1, chunk_count=3)
    flow = run("f", RunKind.FLOW, function_name="nightly", flow_run_id="f")
    assert attributes_of(record_of(entry, run("t", flow_run_id="f"), flow)) == {
        "flowspan.run.id": "t",
        "flowspan.run.name": "load-0",
        "flowspan.flow_run.id": "f",
        "flowspan.flow.name": "nightly",
        "flowspan.root_run.id": "root",
        "flowspan.attempt": 2,
        "flowspan.log.chunk_index": 1,
        "flowspan.log.chunk_count": 3,
    }
    entry = LogEntry("t", 0, 20, 5, "l", "text")
    assert attributes_of(record_of(entry)) == {"flowspan.run.id": "t"}


def test_the_resource_is_that_of_the_client() -> None:
    resource = {"telemetry.sdk.name": "x", "host.name": "h", "process.pid": "7"}
    source = SpanSource("flowspan-go", resource)
    entry = LogEntry("t", 1, 20, 5, "l", "text")
    request = ExportLogsServiceRequest.FromString(log_request([entry], {}, source, 9))
    found = {pair.key: pair.value for pair in request.resource_logs[0].resource.attributes}
    assert found["service.name"].string_value == "flowspan-go"
    assert found["process.pid"].int_value == 7
    assert set(found) == {"service.name", "host.name", "process.pid"}


def test_each_logger_is_a_scope_and_keeps_its_order() -> None:
    entries = [LogEntry("t", 1, 20, 5, name, text) for name, text in ("a1", "b2", "a3")]
    request = ExportLogsServiceRequest.FromString(log_request(entries, {}, None, 9))
    assert [
        (scope.scope.name, [record.body.string_value for record in scope.log_records])
        for scope in request.resource_logs[0].scope_logs
    ] == [("a", ["1", "3"]), ("b", ["2"])]


@pytest.mark.parametrize("level", [1, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 60])
def test_severities_are_those_of_the_python_client(
    level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A program may name levels of its own, as uvicorn does, which the service does not know.
    standard = {number: name for number, name in logging._levelToName.items() if number % 10 == 0}
    monkeypatch.setattr(logging, "_levelToName", standard)
    assert severity_of(level) == log_records.severity_of(level)


def test_an_unset_level_is_info() -> None:
    assert severity_of(0) == (9, "INFO")


def test_refused_records_are_read_from_the_response() -> None:
    response = ExportLogsServiceResponse()
    response.partial_success.rejected_log_records = 2
    response.partial_success.error_message = "too old"
    assert refused_records(response.SerializeToString()) == (2, "too old")
    response.partial_success.error_message = "x" * 10_000
    assert refused_records(response.SerializeToString()) == (2, "x" * 200)
