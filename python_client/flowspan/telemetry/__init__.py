"""Traces: one OpenTelemetry span for each run, as `flowspan.core.span` asks for it.

This module is what the rest of the client uses, and it is light: OpenTelemetry is imported only
once it is known that somebody wants spans. The module itself is a `flowspan.core.span.Tracer`.
Nothing here raises an `Exception`: tracing that fails never fails a flow.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.config import Config
    from flowspan.core.definition import Definition
    from flowspan.core.events import RunRecord
    from flowspan.core.span import RunSpan
    from flowspan.telemetry.remote_span import RemoteSpan
    from flowspan.telemetry.run_span import SpanTracer

_lock = Lock()
_tracer: SpanTracer | None = None
_final = False
"""Whether nothing is left to find out."""
_asked = False
"""Whether the service was waited for: done once."""
_config: Config | None = None
_service_endpoint: Callable[[float], str | None] | None = None


def configure(
    config: Config | None = None,
    *,
    service_endpoint: Callable[[float], str | None] | None = None,
) -> None:
    """Says where to learn, at the first run, whether and where to trace; decides nothing yet.

    Args:
        config: The client's settings; those of the process by default.
        service_endpoint: Waits at most so many seconds for the service's word on where spans go;
            None or an empty text if it has not spoken or does not know.
    """
    global _config, _service_endpoint, _tracer, _final, _asked
    _config, _service_endpoint = config, service_endpoint
    _tracer, _final, _asked = None, False, False


def prepare() -> None:
    """Does now what the first run would do: finds out where spans go, and loads what makes them.

    So that this is not in the first run's span.
    """
    if not _final:
        _decide()


def start_run(record: RunRecord, definition: Definition, time_ns: int) -> RunSpan | None:
    """See `flowspan.core.span.Tracer.start_run`."""
    if not _final and record.parent_run_id is None:
        _decide()
    return None if _tracer is None else _tracer.start_run(record, definition, time_ns)


def told_endpoint() -> str | None:
    """Where the service has said that spans go, for a child process; None if it has not."""
    return _service_endpoint(0.0) if _service_endpoint is not None else None


def end_lost(record: RunRecord, created_ns: int, state: tuple[int, str, str, int]) -> None:
    """Ends the span of a run whose process is gone; see `SpanTracer.end_lost`."""
    if _tracer is not None and record.traceparent:
        _tracer.end_lost(record, created_ns, state)


def inject() -> dict[str, str]:
    """The current span as a carrier, for another process; see flowspan.telemetry.propagation."""
    from flowspan.telemetry import propagation  # noqa: PLC0415 - imports OpenTelemetry

    return propagation.inject()


def remote_span(carrier: dict[str, str]) -> RemoteSpan:
    """The span of a run that another process executes."""
    from flowspan.telemetry.remote_span import RemoteSpan  # noqa: PLC0415 - imports OpenTelemetry

    prepare()
    return RemoteSpan(carrier)


def flush(timeout_s: float = 2.0) -> bool:
    """Exports what has ended, within that time; False if something had to be left."""
    if _tracer is None:
        return True
    from opentelemetry import trace  # noqa: PLC0415 - imported already

    provider = trace.get_tracer_provider()
    force_flush = getattr(provider, "force_flush", None)
    return True if force_flush is None else bool(force_flush(int(timeout_s * 1000)))


def _decide() -> None:
    """Finds out whether and where to trace; again at each top-level run until it is known."""
    global _tracer, _final, _asked  # noqa: PLW0603 - one per process
    from flowspan.telemetry.setup import WELCOME_WAIT_S, decide  # noqa: PLC0415 - start-up cost

    with _lock:
        if not _final:
            wait_s = 0.0 if _asked else WELCOME_WAIT_S
            _tracer, _final = decide(_config, _service_endpoint, wait_s=wait_s)
            _asked = True
