"""Traces: one OpenTelemetry span for each run; implements `flowspan.core.span.Tracer`.

The rest of the client uses this module. It is light: OpenTelemetry is imported only once it is
known that spans are wanted. No function here raises an `Exception`: a tracing failure never fails
a flow.
"""

from __future__ import annotations

import sys
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.config import Config
    from flowspan.core.definition import Definition
    from flowspan.core.events import RunRecord
    from flowspan.core.run import Run
    from flowspan.core.run_context import OuterRun
    from flowspan.core.span import RunSpan
    from flowspan.telemetry.remote_span import RemoteSpan
    from flowspan.telemetry.run_span import SpanTracer

_lock = Lock()
_tracer: SpanTracer | None = None
_final = False
"""True if the decision whether and where to trace is final."""
_asked = False
"""True if the service was already waited for, which is done once."""
_config: Config | None = None
_service_endpoint: Callable[[float], str | None] | None = None


def configure(
    config: Config | None = None,
    *,
    service_endpoint: Callable[[float], str | None] | None = None,
) -> None:
    """Set the sources for the decision, at the first run, whether and where to trace.

    Args:
        config: The client's settings; those of the process by default.
        service_endpoint: Waits at most this number of seconds for the service's OTLP endpoint, and
            returns it; None or an empty string if there was no answer or the service has none.
    """
    global _config, _service_endpoint, _tracer, _final, _asked
    _config, _service_endpoint = config, service_endpoint
    _tracer, _final, _asked = None, False, False


def prepare() -> None:
    """Decide where spans go and load the tracer now, to keep this out of the first run's span."""
    if not _final:
        _decide()


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


def told_endpoint() -> str | None:
    """Return the OTLP endpoint announced by the service, for a child process; None if unknown."""
    return _service_endpoint(0.0) if _service_endpoint is not None else None


def end_lost(record: RunRecord, created_ns: int, state: tuple[int, str, str, int]) -> None:
    """End the span of a run whose process is gone; see `SpanTracer.end_lost`."""
    if _tracer is not None and record.traceparent:
        _tracer.end_lost(record, created_ns, state)


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


def flush(timeout_s: float = 2.0) -> bool:
    """Export the ended spans; return False if some were left when the timeout passed."""
    if _tracer is None:
        return True
    from opentelemetry import trace  # noqa: PLC0415 - imported already

    provider = trace.get_tracer_provider()
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
