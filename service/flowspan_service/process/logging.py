"""Structured logging of the service and its libraries to stderr."""

from __future__ import annotations

import asyncio
import io
import logging
import sys
from typing import TYPE_CHECKING

import structlog

from flowspan_service.process.plain_text import clean

if TYPE_CHECKING:
    from typing import TextIO


def set_up_logging(*, level: str, as_json: bool) -> None:
    """Send the log records of the service and of its libraries to stderr.

    Args:
        level: debug, info, warning or error.
        as_json: True for one JSON object per line instead of text for people.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor
    if as_json:
        renderer = structlog.processors.JSONRenderer()
        shared.append(structlog.processors.format_exc_info)
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=_write_traceback
        )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _clean_values,
                renderer,
            ],
        )
    )
    logging.getLogger().handlers[:] = [handler]
    _set_levels(level)


def _set_levels(level: str) -> None:
    """Set the level of the service's loggers; of the libraries, only warnings are of interest."""
    logging.getLogger().setLevel(logging.WARNING)
    logging.getLogger("flowspan").setLevel(level.upper())
    logging.getLogger("flowspan_service").setLevel(level.upper())
    # psycopg also warns of errors that it raises ("error ignored terminating …"); the code that
    # catches them reports them.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    # grpc logs an error with a traceback for a call that arrives while the server stops.
    logging.getLogger("grpc._cython.cygrpc").addFilter(_is_no_cancellation)


def _clean_values(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Escape the control characters in the strings of a record."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = clean(value)
    return event


def _write_traceback(stream: TextIO, exc_info: structlog.typing.ExcInfo) -> None:
    text = io.StringIO()
    structlog.dev.plain_traceback(text, exc_info)
    stream.write(clean(text.getvalue()))


def _is_no_cancellation(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, asyncio.CancelledError)
