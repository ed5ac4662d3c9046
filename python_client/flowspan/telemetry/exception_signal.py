"""Exceptions of runs as log records, if OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN asks for them.

The variable: https://opentelemetry.io/docs/specs/semconv/exceptions/exceptions-logs/. With
``logs``, the record replaces the event of the span; with ``logs/dup``, there are both. If logs are
not exported, the event stays in any case, so that no exception is lost.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from flowspan import clock
from flowspan.telemetry import logs
from flowspan.telemetry.attributes import EXCEPTION_EVENT
from flowspan.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import SpanContext

OPT_IN = "OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN"
EVENT_NAME = "flowspan.run.exception"
_SCOPE = "flowspan"
_ONLY, _BOTH = "logs", "logs/dup"

logger = logging.getLogger("flowspan.telemetry")


def emit_exception(
    span: SpanContext, attributes: Mapping[str, Any], time_ns: int, *, is_handled: bool = False
) -> bool:
    """Emit an exception of a run as a log record, if that is asked for.

    Args:
        span: The span of the run, or of its attempt.
        attributes: The `exception.*` attributes, and those that name the run.
        time_ns: The time, in nanoseconds since 1970 UTC.
        is_handled: True if another attempt follows.

    Returns:
        True if the record replaces the event of the span.
    """
    choice = os.environ.get(OPT_IN, "").strip().lower()
    if choice not in (_ONLY, _BOTH):
        return False
    line = logs.LogLine(
        time_ns,
        clock.now_ns(),
        logging.WARNING if is_handled else logging.ERROR,
        _SCOPE,
        _body(attributes),
        f"{span.trace_id:032x}",
        f"{span.span_id:016x}",
        int(span.trace_flags),
        attributes,
        EVENT_NAME,
    )
    try:
        is_sent = _emit(line, span)
    except Exception:
        # The API of logs is not stable yet.
        logger.debug("An exception could not be emitted as a log record.", exc_info=True)
        is_sent = False
    return is_sent and choice == _ONLY


def _emit(line: logs.LogLine, span: SpanContext) -> bool:
    """Emit through the logger provider of the program, or through flowspan's export."""
    if logs.has_logger_provider():
        _emit_by_provider(line, span)
        return True
    export = logs.current_export()
    if export is None or not export.is_on:
        return False
    return export.put(line)


def _emit_by_provider(line: logs.LogLine, span: SpanContext) -> None:
    from opentelemetry._logs import SeverityNumber, get_logger  # noqa: PLC0415 - rare
    from opentelemetry.trace import NonRecordingSpan, set_span_in_context  # noqa: PLC0415 - rare

    from flowspan.telemetry.log_records import severity_of  # noqa: PLC0415 - rare

    number, name = severity_of(line.level)
    get_logger(_SCOPE, __version__).emit(
        timestamp=line.time_ns,
        observed_timestamp=line.observed_ns,
        context=set_span_in_context(NonRecordingSpan(span)),
        severity_number=SeverityNumber(number),
        severity_text=name,
        body=line.text,
        attributes=dict(line.attributes),
        event_name=line.event_name,
    )


def _body(attributes: Mapping[str, Any]) -> str:
    kind = str(attributes.get(f"{EXCEPTION_EVENT}.type", ""))
    message = str(attributes.get(f"{EXCEPTION_EVENT}.message", ""))
    return f"{kind}: {message}" if message else kind
