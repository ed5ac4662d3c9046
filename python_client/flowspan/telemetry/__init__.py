"""Traces: one OpenTelemetry span for each run.

This module is the whole surface that the rest of the client uses, and it is light: OpenTelemetry is
imported only once it is known that somebody wants spans. How a driver uses it, for each run::

    span = telemetry.start_run(record, function=fn, time_ns=now_ns)  # before CREATED is emitted
    emit((CREATED, record, ...))
    ...
    emit(event)                          # every STATE event of the run goes to both
    if span is not None:
        span.on_state(event, error)      # error: the exception that led to this state, if one did
    ...
    token = span.attach()                # around the user's code, in the thread or task that runs it,
    try:                                 # and after on_state(RUNNING) of the attempt
        result = fn(...)
    finally:
        span.detach(token)

`start_run` is to be called in the context of the caller (for `submit`: in the thread that submits): the
current OpenTelemetry span there becomes the parent. Nothing here ever raises an `Exception`: tracing that
fails never fails a flow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.config import Config
    from flowspan.core.events import Event, RunRecord


class RunSpan(Protocol):
    """The span of one run. Used by one thread at a time, not always by the same one."""

    def on_state(self, event: Event, error: BaseException | None = None) -> None:
        """The run has entered a state.

        A terminal state ends the span. A state of a newer attempt (`Retrying`, or `AwaitingRetry`
        before it) ends the attempt before it.

        Args:
            event: The event that was emitted, of the shape (STATE, …).
            error: The exception that led to it: with a state that ends an attempt or the run.
        """
        ...

    def attach(self) -> Any:
        """Makes the span (or its current attempt's) the current one here; returns what `detach` needs."""
        ...

    def detach(self, token: Any) -> None:
        """Undoes `attach`, in the same thread or asyncio task."""
        ...

    def add_event(
        self, name: str, attributes: dict[str, Any] | None = None, time_ns: int | None = None
    ) -> None:
        """Puts a mark into the run's span, for example at the end of a wait."""
        ...


class Tracing(Protocol):
    """Makes spans; there is one in a process that traces."""

    def start_run(
        self, record: RunRecord, function: Callable[..., Any] | None, time_ns: int
    ) -> RunSpan | None:
        """See `start_run` of this module."""
        ...

    def current_ids(self) -> tuple[str, str]:
        """See `current_ids` of this module."""
        ...

    def flush(self, timeout_s: float) -> bool:
        """See `flush` of this module."""
        ...


_tracing: Tracing | None = None
_decided = False
_config: Config | None = None
_service_endpoint: Callable[[float], str | None] | None = None


def configure(
    config: Config | None = None,
    *,
    service_endpoint: Callable[[float], str | None] | None = None,
) -> None:
    """Says where to learn what is needed when the first run starts. Cheap; decides nothing yet.

    Args:
        config: The client's settings; those of the process by default.
        service_endpoint: Waits at most so many seconds for the service's word on where spans go;
            None or an empty text if it has not spoken or does not know.
    """
    global _config, _service_endpoint, _tracing, _decided  # noqa: PLW0603 - one per process
    _config, _service_endpoint = config, service_endpoint
    _tracing, _decided = None, False


def start_run(
    record: RunRecord, *, function: Callable[..., Any] | None = None, time_ns: int = 0
) -> RunSpan | None:
    """Starts the span of a run, and writes its ids into the record.

    Args:
        record: The run, not yet emitted: `traceparent`, `tracestate` and `parent_span_id` are set.
        function: The flow's or task's function, for the `code.*` attributes.
        time_ns: When the run was created.

    Returns:
        The span, or None where nothing is traced.
    """
    if not _decided or (_tracing is None and record.parent_run_id is None):
        _decide()
    if _tracing is None:
        return None
    return _tracing.start_run(record, function, time_ns)


def current_ids() -> tuple[str, str]:
    """The trace id and span id (hex) that are current here, for log records; empty without tracing."""
    return ("", "") if _tracing is None else _tracing.current_ids()


def flush(timeout_s: float = 2.0) -> bool:
    """Exports what has ended, within that time; False if something had to be left."""
    return True if _tracing is None else _tracing.flush(timeout_s)


def _decide() -> None:
    """Finds out whether and where to trace; again at each top-level run as long as it is not known."""
    global _tracing, _decided  # noqa: PLW0603 - one per process
    from flowspan.telemetry.setup import decide  # noqa: PLC0415 - OpenTelemetry is imported only if needed

    _tracing = decide(_config, _service_endpoint)
    _decided = True
