"""OTLP requests with the log records of runs.

The names of the attributes are those of spans; the Python client's own export has the same ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)

from flowspan_service.domain.resource_attributes import resource_attributes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

    from flowspan_service.domain.logs import LogEntry
    from flowspan_service.domain.resource_attributes import ResourceValue
    from flowspan_service.domain.runs import Run
    from flowspan_service.domain.sessions import SpanSource

MAX_REASON = 200
"""The maximum length of a receiver's reason, in characters."""
SERVICE_NAME = "service.name"
DEFAULT_SERVICE_NAME = "flowspan"
_LEVELS = {10: "DEBUG", 20: "INFO", 30: "WARN", 40: "ERROR", 50: "FATAL"}
_FATAL_4 = 24
_DEFAULT_LEVEL = 20


def log_request(
    entries: Sequence[LogEntry], runs: Mapping[str, Run], source: SpanSource | None, now_us: int
) -> bytes:
    """Encode an ExportLogsServiceRequest with records of one session, with a scope for each logger.

    Args:
        entries: The records.
        runs: Their runs and the flow runs around them, by id; missing ones are left out.
        source: What is known about the client; None if the session is gone.
        now_us: The time at which the service exports, in microseconds since 1970 UTC.
    """
    request = ExportLogsServiceRequest()
    group = request.resource_logs.add()
    for key, value in _resource(source).items():
        add_attribute(group.resource.attributes, key, value)
    scopes: dict[str, Any] = {}
    for entry in entries:
        scope = scopes.get(entry.logger)
        if scope is None:
            scope = scopes[entry.logger] = group.scope_logs.add()
            scope.scope.name = entry.logger
        _fill(scope.log_records.add(), entry, runs, now_us)
    return request.SerializeToString()


def refused_records(response: bytes) -> tuple[int, str]:
    """Return the number of records that a receiver has rejected, and its reason, shortened."""
    partial = ExportLogsServiceResponse.FromString(response).partial_success
    return partial.rejected_log_records, partial.error_message[:MAX_REASON]


def _fill(record: LogRecord, entry: LogEntry, runs: Mapping[str, Run], now_us: int) -> None:
    run = runs.get(entry.run_id)
    number, text = severity_of(entry.level)
    record.time_unix_nano = entry.time_us * 1000
    record.observed_time_unix_nano = now_us * 1000
    record.severity_number = number  # type: ignore[assignment] # an enum of the stubs
    record.severity_text = text
    record.body.string_value = entry.message
    for key, value in _attributes(entry, run, runs).items():
        add_attribute(record.attributes, key, value)
    _place(record, entry, run)


def _place(record: LogRecord, entry: LogEntry, run: Run | None) -> None:
    """Set the trace and the span: those of the record, or else of its run."""
    traceparent = run.trace.traceparent if run is not None and run.trace is not None else ""
    parts = traceparent.split("-")
    if len(parts) == 4:
        _, trace_id, span_id, flags = parts
        record.trace_id, record.span_id = bytes.fromhex(trace_id), bytes.fromhex(span_id)
        record.flags = int(flags, 16)
    if entry.trace_id and entry.span_id:
        record.trace_id = bytes.fromhex(entry.trace_id)
        record.span_id = bytes.fromhex(entry.span_id)


def severity_of(level: int) -> tuple[int, str]:
    """Return the severity number and text of a level (see flowspan.v1.LogLevel)."""
    level = level or _DEFAULT_LEVEL
    tens, ones = divmod(level, 10)
    number = 1 if tens < 1 else min(4 * tens + 1 + min(ones, 3), _FATAL_4)
    return number, _LEVELS.get(level, f"Level {level}")


def _attributes(entry: LogEntry, run: Run | None, runs: Mapping[str, Run]) -> dict[str, str | int]:
    found: dict[str, str | int] = {"flowspan.run.id": entry.run_id}
    if run is not None:
        if run.run_name:
            found["flowspan.run.name"] = run.run_name
        if run.flow_run_id is not None:
            found["flowspan.flow_run.id"] = run.flow_run_id
            flow_run = runs.get(run.flow_run_id)
            if flow_run is not None:
                found["flowspan.flow.name"] = flow_run.function_name
        found["flowspan.root_run.id"] = run.root_run_id
    if entry.attempt:
        found["flowspan.attempt"] = entry.attempt
    if entry.chunk_count > 1:
        found["flowspan.log.chunk_index"] = entry.chunk_index
        found["flowspan.log.chunk_count"] = entry.chunk_count
    return found


def _resource(source: SpanSource | None) -> dict[str, ResourceValue]:
    if source is None:
        return {SERVICE_NAME: DEFAULT_SERVICE_NAME}
    found = resource_attributes(source.resource)
    found.setdefault(SERVICE_NAME, source.client_name or DEFAULT_SERVICE_NAME)
    return found


def add_attribute(pairs: Any, key: str, value: Any) -> None:
    """Add an attribute to a repeated KeyValue; unknown types become texts."""
    pair = pairs.add()
    pair.key = key
    if isinstance(value, bool):
        pair.value.bool_value = value
    elif isinstance(value, int):
        pair.value.int_value = value
    elif isinstance(value, float):
        pair.value.double_value = value
    elif isinstance(value, (list, tuple)):
        for each in value:
            pair.value.array_value.values.add().string_value = str(each)
    else:
        pair.value.string_value = value if isinstance(value, str) else str(value)
