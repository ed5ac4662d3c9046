"""Traces: one OpenTelemetry span for each run; implements `flowspan.core.span.Tracer`.

Programs use `start` and `flush`, and the rest of the client the other functions. The module is
light: OpenTelemetry is imported only once it is known that spans are wanted. Apart from `start`, no
function here raises an `Exception`: a tracing failure never fails a flow.
"""

from __future__ import annotations

import logging
import os
import sys
from threading import Lock
from typing import TYPE_CHECKING

from flowspan import clock
from flowspan.telemetry.metric_choice import choice_key, wants_metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.config import Config
    from flowspan.connection.otlp_target import OtlpTarget
    from flowspan.core.definition import Definition
    from flowspan.core.events import RunRecord
    from flowspan.core.run import Run
    from flowspan.core.run_context import OuterRun
    from flowspan.core.run_course import RunCourse
    from flowspan.core.span import RunSpan
    from flowspan.telemetry.logs import LogExport
    from flowspan.telemetry.metric_choice import ReportFigures
    from flowspan.telemetry.remote_span import RemoteSpan
    from flowspan.telemetry.run_span import SpanTracer

_STANDARD = (
    "OTEL_TRACES_EXPORTER",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
)
"""The standard variables that ask for spans."""
_FLUSHED = {"flowspan.telemetry.early", "flowspan.telemetry.logs"}
"""The modules that may have something to export in a process without spans of runs."""

_logger = logging.getLogger("flowspan.telemetry")
_lock = Lock()
_tracer: SpanTracer | None = None
_final = False
"""True if the decision whether and where to trace is final."""
_asked = False
"""True if the service was already waited for, which is done once."""
_config: Config | None = None
_service_endpoint: Callable[[float], OtlpTarget | None] | None = None
_told_logs: Callable[[float], tuple[str, str] | None] | None = None
_CHILD_WAIT_S = 0.25
"""Time that the start of a child process waits for the service to announce a receiver of logs."""


def configure(
    config: Config | None = None,
    *,
    service_endpoint: Callable[[float], OtlpTarget | None] | None = None,
) -> None:
    """Set the sources for the decision, at the first run, whether and where to trace.

    Args:
        config: The client's settings; those of the process by default.
        service_endpoint: Waits at most this number of seconds for the receivers that the service
            tells, and returns them; None if there was no answer or it has none.
    """
    global _config, _service_endpoint, _tracer, _final, _asked
    _config, _service_endpoint = config, service_endpoint
    _tracer, _final, _asked = None, False, False


def start() -> bool:
    """Start tracing now, as the first run of the process otherwise does.

    Call it in start-up code whose spans you want to see: requests and queries before the first run,
    and the first request of a server. It decides where spans go, and installs flowspan's tracer
    provider unless the program has one. It waits up to 0.25 s for a remote service that may name a
    receiver. Further calls do nothing once that is decided.

    If OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_TRACES_EXPORTER is
    set, start-up code is traced without it, as soon as the program has imported `flow` or `task`.

    Returns:
        True if spans are recorded; False if tracing is off, or if no receiver is known yet.

    Raises:
        ConfigError: A setting has an invalid value.
    """
    from flowspan.drivers.process import get_process  # noqa: PLC0415 - start-up cost

    get_process()
    prepare()
    return _tracer is not None


def trace_early() -> None:
    """Record the spans of start-up code as well, if the standard variables ask for spans.

    This imports OpenTelemetry only if they do. A provider that the program installs later replaces
    flowspan's (see `early`).
    """
    if any(map(os.environ.get, _STANDARD)):
        from flowspan.telemetry import setup  # noqa: PLC0415 - start-up cost

        setup.trace_early(os.environ)


def prepare() -> None:
    """Decide where spans go and load the tracer now, to keep this out of the first run's span."""
    if not _final:
        _decide()


def is_on() -> bool:
    """Return True if the runs of this process are traced."""
    return _tracer is not None


def load(*, continues_spans: bool = False) -> None:
    """Import what the first span needs if there will be spans, but decide nothing yet.

    For a process whose start must not count as a part of its first run, and in which user code may
    still install a tracer provider.

    Args:
        continues_spans: True if the process continues spans of its parent, whether or not it will
            create spans of its own.
    """
    if continues_spans:
        from flowspan.telemetry import remote_span  # noqa: F401, PLC0415 - imports OpenTelemetry
    from flowspan.telemetry import setup  # noqa: PLC0415 - start-up cost

    setup.load(_config, _service_endpoint, os.environ)


def start_run(
    record: RunRecord,
    definition: Definition,
    time_ns: int,
    outer: OuterRun | None = None,
    flow_run: Run | None = None,
) -> RunSpan | None:
    """Start the span of a run; return None if the run is not traced.

    Args:
        record: The run.
        definition: Its flow or task.
        time_ns: The time of its creation, in nanoseconds since 1970 UTC.
        outer: Its parent, if that is a run of another process; else None.
        flow_run: The flow run that it belongs to; None outside of flows. Ignored for a flow run.
    """
    if not _final and (record.parent_run_id is None or outer is not None):
        _decide()
    if _tracer is None:
        return None
    flow = record if record.is_flow else None if flow_run is None else flow_run.record
    return _tracer.start_run(record, definition, time_ns, outer, flow)


def log_export(
    told: Callable[[float], tuple[str, str] | None], endpoint: str | None
) -> LogExport | None:
    """Return the export of the logs of runs; None if the environment forbids it.

    Args:
        told: Returns the protocol and the receiver of logs that the service has announced, after
            waiting at most this number of seconds: None if it has not answered, empty texts if it
            announces none.
        endpoint: The setting FLOWSPAN_OTLP_ENDPOINT.
    """
    global _told_logs  # noqa: PLW0603 - one per process
    _told_logs = told
    named = os.environ.get("OTEL_LOGS_EXPORTER", "").strip().lower()
    if named == "none":
        return None
    from flowspan.telemetry.logs import LogExport  # noqa: PLC0415 - not needed to define flows

    export = LogExport(told, os.environ, endpoint=endpoint)
    if named:
        export.decide()  # it imports modules, which the first run should not wait for
    return export


def told_endpoint() -> OtlpTarget | None:
    """Return the receivers that the service told, for a child process; None if unknown."""
    return _service_endpoint(0.0) if _service_endpoint is not None else None


def told_logs() -> tuple[str, str]:
    """Return the receiver of logs announced by the service, for a child process."""
    told = _told_logs(_CHILD_WAIT_S) if _told_logs is not None else None
    return told or ("", "")


def end_lost(
    record: RunRecord,
    flow: RunRecord | None,
    created_ns: int,
    course: RunCourse,
    state: tuple[int, str, str, int],
) -> None:
    """End the span of a run whose process is gone; see `SpanTracer.end_lost`."""
    if _tracer is not None and record.trace_ids is not None:
        _tracer.end_lost(record, flow, created_ns, course, state)


def inject() -> dict[str, str]:
    """Return the current span as a carrier for another process; see `propagation`."""
    from flowspan.telemetry import propagation  # noqa: PLC0415 - imports OpenTelemetry

    return propagation.inject()


def inject_run(span: RunSpan | None, record: RunRecord) -> dict[str, str]:
    """Return the current span and a run as a carrier; see `propagation`. Empty without spans."""
    if span is None and not _is_opentelemetry_used():
        return {}
    from flowspan.telemetry import propagation  # noqa: PLC0415 - imports OpenTelemetry

    return propagation.inject_run(span, record)


def current_member() -> str | None:
    """Return the run context in the tracestate of the current span; None without one."""
    if not _is_opentelemetry_used():
        return None
    from flowspan.telemetry import propagation  # noqa: PLC0415 - imports OpenTelemetry

    return propagation.current_member()


def make_remote_span(carrier: dict[str, str]) -> RemoteSpan:
    """Return the span of a run that another process executes."""
    from flowspan.telemetry.remote_span import RemoteSpan  # noqa: PLC0415 - imports OpenTelemetry

    prepare()
    return RemoteSpan(carrier)


def make_meter(config: Config, tally: ReportFigures) -> None:
    """Give the tally of the reporter a counter of runs, if there are metrics; else None.

    Args:
        config: The client's settings.
        tally: The figures of the reporter. Its meter stays if nothing has changed.
    """
    if not wants_metrics(os.environ):
        meter, key = None, None
    elif (key := choice_key(os.environ, config.otlp_endpoint)) == tally.meter_key:
        return
    else:
        from flowspan.telemetry import metrics  # noqa: PLC0415 - start-up cost

        meter = metrics.make_meter(config, tally, os.environ)
    if tally.meter is not None:
        tally.meter.close()
    tally.meter, tally.meter_key = meter, key


def flush(timeout_s: float = 2.0) -> bool:
    """Export the ended spans and the logs of runs.

    Returns:
        False if some were left when the timeout passed.
    """
    deadline = clock.monotonic() + timeout_s
    is_done = _flush_spans(timeout_s)
    return _flush_logs(max(deadline - clock.monotonic(), 0.0)) and is_done


def flush_at_end() -> None:
    """Export the ended spans and the logs of runs before a signal ends the process.

    Functions registered with `atexit` do not run then. This takes at most the time that is left for
    the end of the process.
    """
    if _tracer is None and not _FLUSHED.intersection(sys.modules):
        return
    from flowspan.telemetry.process_end import (  # noqa: PLC0415 - most processes end otherwise
        begin_exit,
        exit_time_left,
    )

    begin_exit()
    try:
        flush(exit_time_left())
    except Exception:
        _logger.debug("The last spans were not exported.", exc_info=True)


def _flush_logs(timeout_s: float) -> bool:
    logs = sys.modules.get("flowspan.telemetry.logs")
    export = logs.current_export() if logs is not None else None
    return export is None or bool(export.flush(timeout_s))


def _flush_spans(timeout_s: float) -> bool:
    early = sys.modules.get("flowspan.telemetry.early")
    provider = early.provisional() if early is not None else None
    if provider is None and _tracer is None:
        return True
    from opentelemetry import trace  # noqa: PLC0415 - imported already

    provider = provider or trace.get_tracer_provider()
    force_flush = getattr(provider, "force_flush", None)
    return True if force_flush is None else bool(force_flush(int(timeout_s * 1000)))


def _is_opentelemetry_used() -> bool:
    """Return True if the program has imported OpenTelemetry, so that a span may be current."""
    return "opentelemetry.trace" in sys.modules


def _decide() -> None:
    """Decide whether and where to trace; repeated at each top-level run until it is final."""
    global _tracer, _final, _asked  # noqa: PLW0603 - one per process
    from flowspan.telemetry.setup import WELCOME_WAIT_S, decide  # noqa: PLC0415 - start-up cost

    with _lock:
        if not _final:
            wait_s = 0.0 if _asked else WELCOME_WAIT_S
            _tracer, _final = decide(_config, _service_endpoint, wait_s=wait_s)
            _asked = True
