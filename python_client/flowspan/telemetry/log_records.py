"""Encoding of the log lines of runs as OTLP log records.

The data model: https://opentelemetry.io/docs/specs/otel/logs/data-model/. It runs in the thread of
the export queue, so the generated messages are fast enough.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

    from flowspan.telemetry.logs import LogLine

_OTEL_NAMES = {"WARNING": "WARN", "CRITICAL": "FATAL"}
"""The levels to which OpenTelemetry gives other names than Python."""
_FATAL_4 = 24
_INT_LIMIT = 1 << 63


@lru_cache(64)
def severity_of(level: int) -> tuple[int, str]:
    """Return the severity number and text of a level, as OpenTelemetry's own handler does."""
    name = logging.getLevelName(level)
    name = _OTEL_NAMES.get(name, name)
    if level < logging.DEBUG:
        return (1 if level > 0 else 0), name
    tens, ones = divmod(level, 10)
    return min(4 * tens + 1 + min(ones, 3), _FATAL_4), name


class LogEncoder:
    """The encoder of log lines for an export queue.

    Args:
        resource: Returns the attributes of the resource; called for each request, because the
            program may install its tracer provider after its first line.
    """

    def __init__(self, resource: Callable[[], Mapping[str, Any]]) -> None:
        self._resource = resource

    def request(self, lines: Sequence[LogLine]) -> bytes:
        """Encode an ExportLogsServiceRequest, with a scope for each logger."""
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (  # noqa: PLC0415 - not before the first request
            ExportLogsServiceRequest,
        )

        request = ExportLogsServiceRequest()
        group = request.resource_logs.add()
        _fill(group.resource.attributes, self._resource())
        scopes: dict[str, Any] = {}
        for line in lines:
            scope = scopes.get(line.logger)
            if scope is None:
                scope = scopes[line.logger] = group.scope_logs.add()
                scope.scope.name = _clean(line.logger)
            _fill_record(scope.log_records.add(), line)
        return request.SerializeToString()

    def refused(self, response: bytes) -> tuple[int, str]:
        """Read an ExportLogsServiceResponse."""
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (  # noqa: PLC0415 - rare
            ExportLogsServiceResponse,
        )

        partial = ExportLogsServiceResponse.FromString(response).partial_success
        return partial.rejected_log_records, partial.error_message


def _fill_record(record: LogRecord, line: LogLine) -> None:
    record.time_unix_nano = max(line.time_ns, 0)
    record.observed_time_unix_nano = max(line.observed_ns, 0)
    number, text = severity_of(line.level)
    record.severity_number = number  # type: ignore[assignment] # an enum of the stubs
    record.severity_text = _clean(text)
    record.body.string_value = _clean(line.text)
    _fill(record.attributes, line.attributes)
    if line.trace_id:
        record.trace_id = bytes.fromhex(line.trace_id)
        record.span_id = bytes.fromhex(line.span_id)
        record.flags = line.flags
    if line.event_name:
        record.event_name = line.event_name


def _fill(pairs: Any, attributes: Mapping[str, Any]) -> None:
    """Add attributes to a repeated KeyValue; values of unknown types are left out."""
    for key, value in attributes.items():
        pair = pairs.add()
        pair.key = _clean(key)
        _set(pair.value, value)


def _set(target: Any, value: Any) -> None:
    if isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, str):
        target.string_value = _clean(value)
    elif isinstance(value, int):
        if -_INT_LIMIT <= value < _INT_LIMIT:
            target.int_value = value
        else:
            target.string_value = hex(value)
    elif isinstance(value, float):
        target.double_value = value
    elif isinstance(value, (list, tuple)):
        for item in value:
            _set(target.array_value.values.add(), item)


def _clean(text: str) -> str:
    """Replace lone surrogates, which are not valid in UTF-8."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
