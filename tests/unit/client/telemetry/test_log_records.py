"""The encoding of log lines as OTLP log records."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, SeverityNumber

from flowspan.telemetry.log_records import LogEncoder, severity_of
from flowspan.telemetry.logs import LogLine

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def line(**fields: Any) -> LogLine:
    values = {
        "time_ns": 5,
        "observed_ns": 7,
        "level": logging.WARNING,
        "logger": "mine",
        "text": "größer",
        "trace_id": TRACE_ID,
        "span_id": SPAN_ID,
        "flags": 3,
        "attributes": {"flowspan.run.id": "r", "flowspan.attempt": 2},
    }
    return LogLine(**(values | fields))


def encoded(*lines: LogLine, resource: dict[str, Any] | None = None) -> ExportLogsServiceRequest:
    encoder = LogEncoder(lambda: resource or {})
    return ExportLogsServiceRequest.FromString(encoder.request(lines))


def test_a_line_has_all_fields_of_the_data_model() -> None:
    request = encoded(line(event_name="e"), resource={"service.name": "s", "process.pid": 7})
    expected = LogRecord(
        time_unix_nano=5,
        observed_time_unix_nano=7,
        severity_number=SeverityNumber.SEVERITY_NUMBER_WARN,
        severity_text="WARN",
        body=AnyValue(string_value="größer"),
        attributes=[
            KeyValue(key="flowspan.run.id", value=AnyValue(string_value="r")),
            KeyValue(key="flowspan.attempt", value=AnyValue(int_value=2)),
        ],
        flags=3,
        trace_id=bytes.fromhex(TRACE_ID),
        span_id=bytes.fromhex(SPAN_ID),
        event_name="e",
    )
    [group] = request.resource_logs
    assert group.scope_logs[0].log_records[0] == expected
    assert {pair.key: pair.value for pair in group.resource.attributes} == {
        "service.name": AnyValue(string_value="s"),
        "process.pid": AnyValue(int_value=7),
    }


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1 << 63) - 1, AnyValue(int_value=(1 << 63) - 1)),
        (-(1 << 63), AnyValue(int_value=-(1 << 63))),
        (1 << 63, AnyValue(string_value="0x8000000000000000")),
        (1 << 100_000, AnyValue(string_value=hex(1 << 100_000))),
        (float("nan"), None),
        ("", AnyValue(string_value="")),
    ],
    ids=["largest", "smallest", "too large", "huge", "not a number", "empty"],
)
def test_any_number_can_be_an_attribute(value: Any, expected: AnyValue | None) -> None:
    request = encoded(line(attributes={"a": value}))
    [pair] = request.resource_logs[0].scope_logs[0].log_records[0].attributes
    assert pair.value.WhichOneof("value") is not None
    if expected is not None:
        assert pair.value == expected


def test_each_logger_is_a_scope() -> None:
    request = encoded(line(), line(logger="other"), line(text="again"))
    scopes = {s.scope.name: len(s.log_records) for s in request.resource_logs[0].scope_logs}
    assert scopes == {"mine": 2, "other": 1}


def test_hostile_values_do_not_lose_the_line() -> None:
    request = encoded(
        line(text="\ud800", logger="\udfff", time_ns=-1, trace_id="", span_id="", attributes={}),
        resource={"list": ["a", 1, True, 0.5], "unknown": object()},
    )
    record = request.resource_logs[0].scope_logs[0].log_records[0]
    assert record.body.string_value == "?"
    assert record.time_unix_nano == 0
    assert record.trace_id == record.span_id == b""
    values = request.resource_logs[0].resource.attributes[0].value.array_value.values
    assert [value.WhichOneof("value") for value in values] == [
        "string_value",
        "int_value",
        "bool_value",
        "double_value",
    ]


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (0, (0, "NOTSET")),
        (5, (1, "Level 5")),
        (10, (5, "DEBUG")),
        (20, (9, "INFO")),
        (25, (12, "Level 25")),
        (30, (13, "WARN")),
        (40, (17, "ERROR")),
        (50, (21, "FATAL")),
        (1000, (24, "Level 1000")),
    ],
)
def test_severities(level: int, expected: tuple[int, str]) -> None:
    assert severity_of(level) == expected


def test_refused_records_are_read_from_the_response() -> None:
    response = ExportLogsServiceResponse()
    response.partial_success.rejected_log_records = 2
    response.partial_success.error_message = "too old"
    assert LogEncoder(dict).refused(response.SerializeToString()) == (2, "too old")
