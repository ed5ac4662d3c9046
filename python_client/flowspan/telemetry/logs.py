"""Export of the logs of runs over OTLP: the decision whether and where to, and the lines.

The first of these rules that applies decides:

1. ``OTEL_SDK_DISABLED=true``, or ``OTEL_LOGS_EXPORTER=none``: no export.
2. A logger provider that the program installed: its handler gets the records of runs like all
   others, so flowspan does not send them a second time.
3. ``OTEL_LOGS_EXPORTER=otlp``: the receiver of the ``OTEL_EXPORTER_OTLP_*`` variables, or of
   ``FLOWSPAN_OTLP_ENDPOINT``; ``console``: standard output.
4. The receiver of logs that the service announces.

Otherwise there is no export. Until the service has answered, lines wait. OpenTelemetry is imported
in the thread of the queue, for the first request.
"""

from __future__ import annotations

import atexit
import json
import logging
import sys
import threading
import weakref
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from flowspan import clock
from flowspan.after_fork import renew_after_fork
from flowspan.connection.process_resource import process_resource
from flowspan.core.failures import shorten
from flowspan.exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flowspan.core.run import Run
    from flowspan.telemetry.endpoint import Target
    from flowspan.telemetry.export_queue import ExportQueue

logger = logging.getLogger("flowspan.telemetry")

_NONE, _CONSOLE = "none", "console"
_MAX_TEXT_BYTES = 1_000_000
_MAX_WAITING = 1_000
"""Maximum number of lines that wait for the service's answer."""
_BYTES_WITHOUT_TEXT = 2_000
"""The names of a run, its flow and its logger have at most 256 bytes each."""
_USUAL_ATTRIBUTES = 9
"""The number of attributes of a line without `extra` and exception."""
_BYTES_OF_ATTRIBUTE = 32
_MAX_EXTRA = 64
_MAX_EXTRA_BYTES = 16_000
_PLAIN = (str, int, float, bool)
_KNOWN = frozenset(
    {
        # Of the standard library. A record to take them from would read the clock, at the import.
        *(
            "args",
            "asctime",
            "created",
            "exc_info",
            "exc_text",
            "filename",
            "funcName",
            "levelname",
        ),
        *("levelno", "lineno", "message", "module", "msecs", "msg", "name", "pathname"),
        *(
            "process",
            "processName",
            "relativeCreated",
            "stack_info",
            "taskName",
            "thread",
            "threadName",
        ),
        # Of flowspan itself, for formatters; the attributes name the same.
        *("run_id", "run_name", "flow_run_id", "flow_run_name", "flow_name"),
        *("task_run_id", "task_run_name", "task_name"),
        *("flowspan.run.id", "flowspan.run.name", "flowspan.flow.name", "flowspan.flow_run.id"),
        *("flowspan.root_run.id", "flowspan.attempt"),
    }
)
"""Attributes of records that are no `extra` of the caller."""

_current: weakref.ref[LogExport] | None = None
"""The export of this process."""


class LogLine(NamedTuple):
    """A log line of a run, in plain values.

    Attributes:
        time_ns: The time of the line, in nanoseconds since 1970 UTC.
        observed_ns: The time at which it reached flowspan.
        level: The level, as in `logging`.
        logger: The name of the logger.
        text: The text.
        trace_id: 32 hex digits; empty without a trace.
        span_id: 16 hex digits; empty without a trace.
        flags: The W3C trace flags.
        attributes: The attributes.
        event_name: The name of the event, if it is one; else empty.
    """

    time_ns: int
    observed_ns: int
    level: int
    logger: str
    text: str
    trace_id: str
    span_id: str
    flags: int
    attributes: Mapping[str, Any]
    event_name: str = ""


class LogExport:
    """The export of log lines of runs.

    Args:
        told: Returns the protocol and the receiver of logs that the service has announced, after
            waiting at most this number of seconds: None if it has not answered, empty texts if it
            announces none.
        environ: The environment.
        resource: Returns the attributes of the resource; those of the process by default.
        endpoint: The setting FLOWSPAN_OTLP_ENDPOINT, which the variables of the environment
            override.
    """

    def __init__(
        self,
        told: Callable[[float], tuple[str, str] | None],
        environ: Mapping[str, str],
        resource: Callable[[], Mapping[str, Any]] | None = None,
        *,
        endpoint: str | None = None,
    ) -> None:
        self._told = told
        self._environ = environ
        self._endpoint = endpoint
        self._resource = resource or (lambda: process_attributes(environ))
        self._waiting: deque[LogLine] = deque(maxlen=_MAX_WAITING)
        self._queue: ExportQueue[LogLine] | None = None
        self._put: Callable[[LogLine], object] | None = None
        """Accepts a line; None until the rules have decided."""
        self._is_off = False
        self._lock = threading.RLock()  # a signal handler may log, too
        global _current  # noqa: PLW0603 - one per process
        _current = weakref.ref(self)
        renew_after_fork(self)

    def __call__(
        self,
        run: Run,
        level: int,
        time_ns: int,
        logger_name: str,
        text: str,
        ids: tuple[str, str],
        attributes: Mapping[str, Any],
        record: logging.LogRecord | None = None,
    ) -> bool:
        """Export a line of a run.

        Args:
            run: The run.
            level: The level, as in `logging`.
            time_ns: The time of the line, in nanoseconds since 1970 UTC.
            logger_name: The name of the logger.
            text: The text.
            ids: The trace id and span id; empty without a trace.
            attributes: The attributes that name the run.
            record: The record, if there is one: its place in the code, and its exception.

        Returns:
            False if nothing is exported, which is final.
        """
        if self._is_off:
            return False
        if record is not None:
            attributes, text = _with_record(attributes, text, record)
        line = LogLine(
            time_ns,
            clock.now_ns(),
            level,
            logger_name,
            shorten(text, _MAX_TEXT_BYTES),
            *ids,
            _flags(run.record.traceparent),
            attributes,
        )
        return self.put(line)

    def put(self, line: LogLine) -> bool:
        """Export a line; return False if nothing is exported, which is final."""
        if self._put is not None:
            self._put(line)
        else:
            self._waiting.append(line)
            self.decide()
        return not self._is_off

    @property
    def is_on(self) -> bool:
        """True once it is known that lines are exported."""
        return self._put is not None and not self._is_off

    def flush(self, timeout_s: float) -> bool:
        """Export the lines so far; return False if the timeout passed first."""
        self.decide()
        return self._queue is None or self._queue.flush(timeout_s)

    def shutdown(self) -> None:
        """Export the lines so far, within the time for the end of the process."""
        self.decide()
        if self._queue is not None:
            self._queue.shutdown()

    def close(self) -> None:
        """Export the lines so far in the background, and end the export."""
        if self._queue is not None:
            self._queue.close()

    def after_fork(self) -> None:
        """Forget the lines that wait: the parent exports them."""
        self._lock = threading.RLock()
        self._waiting.clear()

    def decide(self) -> None:
        """Apply the rules, unless the service has not answered yet, and pass the lines on."""
        with self._lock:
            if self._put is None:
                target: Target | str | None
                try:
                    target = self._target()
                except Exception as error:
                    is_debugging = logger.isEnabledFor(logging.DEBUG)
                    logger.warning("Logs are not exported: %s", error, exc_info=is_debugging)
                    target = _NONE
                if target is None:
                    return
                self._put = self._putting(target)
            while self._waiting:
                self._put(self._waiting.popleft())

    def _putting(self, target: Target | str) -> Callable[[LogLine], object]:
        """Return the function that accepts lines for a receiver, as `_target` returns it."""
        if target == _NONE:
            self._is_off = True
            return lambda _line: None
        if isinstance(target, str):
            return _write_line
        queue = self._queue = _queue_to(target, self._environ, self._resource)
        return lambda line: queue.put(line, _size_of(line))

    def _target(self) -> Target | str | None:
        """Return the receiver, _CONSOLE or _NONE; None if it is unknown yet."""
        environ = self._environ
        exporters = environ.get("OTEL_LOGS_EXPORTER", "").strip().lower()
        is_disabled = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
        if is_disabled or exporters == _NONE or has_logger_provider():
            return _NONE
        if exporters == _CONSOLE:
            return _CONSOLE
        told = None if exporters else self._told(0.0)
        if not exporters and (told is None or not told[1]):
            return None if told is None else _NONE
        from flowspan.telemetry.endpoint import (  # noqa: PLC0415 - start-up cost
            LOGS,
            names_endpoint,
            target_of,
            told_target,
        )

        if told is not None:
            return told_target(environ, *told, LOGS)
        if exporters == "otlp":
            endpoint = None if names_endpoint(environ, LOGS) else self._endpoint
            return target_of(environ, endpoint, LOGS)
        msg = f"OTEL_LOGS_EXPORTER={exporters!r}: expected 'otlp', 'console' or 'none'"
        raise ConfigError(msg)


def current_export() -> LogExport | None:
    """Return the export of this process; None without one."""
    return None if _current is None else _current()


def process_attributes(environ: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the attributes of the resource of this process, as its spans have it."""
    trace = sys.modules.get("opentelemetry.trace")
    provider = trace.get_tracer_provider() if trace is not None else None
    attributes = getattr(getattr(provider, "resource", None), "attributes", None)
    return process_resource(environ) if attributes is None else dict(attributes)


def _queue_to(
    target: Target, environ: Mapping[str, str], resource: Callable[[], Mapping[str, Any]]
) -> ExportQueue[LogLine]:
    from flowspan.telemetry.export_queue import ExportQueue, queue_limits_of  # noqa: PLC0415 - only
    from flowspan.telemetry.log_records import LogEncoder  # noqa: PLC0415 - if lines are exported
    from flowspan.telemetry.transports import transport_to  # noqa: PLC0415 - likewise

    return ExportQueue(
        transport_to(target),
        LogEncoder(resource),
        what="log records",
        place=target.url,
        limits=queue_limits_of(environ, target.timeout_s),
    )


def has_logger_provider() -> bool:
    """Return True if the program installed a logger provider; nothing is imported for it."""
    logs = sys.modules.get("opentelemetry._logs")
    if logs is None:
        return False
    kind = type(logs.get_logger_provider())
    return kind.__name__ not in {"ProxyLoggerProvider", "NoOpLoggerProvider"}


def _with_record(
    attributes: Mapping[str, Any], text: str, record: logging.LogRecord
) -> tuple[dict[str, Any], str]:
    """Add to the attributes of a line the caller's `extra`, the place, and the exception.

    Values of other types than texts and numbers are left out: their methods are user code.
    """
    found = {
        **_extra_of(record),
        **attributes,
        "code.function.name": record.funcName,
        "code.file.path": record.pathname,
        "code.line.number": record.lineno,
    }
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return found, text
    from flowspan.telemetry.attributes import exception_attributes  # noqa: PLC0415 - start-up cost

    found.update(exception_attributes(error))
    message = vars(record).get("message")  # without the traceback that the formatter appends
    return found, message if type(message) is str and message else text


def _extra_of(record: logging.LogRecord) -> dict[str, Any]:
    values = vars(record)
    names = values.keys() - _KNOWN
    if not names:
        return {}
    extra = {
        key: value if type(value) is not str else shorten(value, _MAX_EXTRA_BYTES)
        for key, value in values.items()
        if key in names and type(value) in _PLAIN and type(key) is str
    }
    return extra if len(extra) <= _MAX_EXTRA else dict(islice(extra.items(), _MAX_EXTRA))


def _size_of(line: LogLine) -> int:
    """Return a number of bytes that the encoded line does not exceed."""
    size = _BYTES_WITHOUT_TEXT + _bytes_of(line.text)
    attributes = line.attributes
    if len(attributes) <= _USUAL_ATTRIBUTES:  # the names in them are short
        return size + _bytes_of(attributes.get("code.file.path", ""))
    for key, value in attributes.items():
        size += _BYTES_OF_ATTRIBUTE + _bytes_of(key)
        if type(value) is str:
            size += _bytes_of(value)
    return size


def _bytes_of(text: str) -> int:
    return len(text) if text.isascii() else 4 * len(text)


def _flags(traceparent: str) -> int:
    try:
        return int(traceparent[-2:], 16) if traceparent else 0
    except ValueError:
        return 0


def _write_line(line: LogLine) -> None:
    """Write a line to standard output, as one line of JSON."""
    stream = sys.stdout
    if stream is None:  # a program without a console
        return
    from flowspan.telemetry.log_records import severity_of  # noqa: PLC0415 - start-up cost

    number, name = severity_of(line.level)
    facts = {**line._asdict(), "severity_number": number, "severity_text": name}
    stream.write(json.dumps(facts) + "\n")
    stream.flush()


def _at_exit() -> None:
    export = None if _current is None else _current()
    if export is None:
        return
    if "flowspan.telemetry.process_end" in sys.modules:
        from flowspan.telemetry.process_end import begin_exit  # noqa: PLC0415 - imported already

        begin_exit()  # this may run before the provider's functions
    export.shutdown()


atexit.register(_at_exit)
