"""The local side of the span of a run that another process executes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry import trace

from flowspan.telemetry.propagation import extract

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextvars import Token

    from opentelemetry.context import Context


class RemoteSpan:
    """A `flowspan.core.span.RunSpan` that makes a carrier's span the current one.

    The other process records the progress of the run in the span, and ends it. The methods for that
    do nothing here.

    Args:
        carrier: The carrier, as in flowspan.telemetry.propagation.
    """

    def __init__(self, carrier: Mapping[str, str]) -> None:
        self._context = extract(carrier)
        self._own = trace.get_current_span(self._context).get_span_context()

    def enter(self) -> Token[Context]:
        """Make the span the current one."""
        return otel_context.attach(self._context)

    def leave(self, token: Any) -> None:
        """Restore the previous current span."""
        otel_context.detach(token)

    def current_ids(self) -> tuple[str, str]:
        """Return the ids of the trace and of the current span, for logs."""
        here = trace.get_current_span().get_span_context()
        context = here if here.trace_id == self._own.trace_id else self._own
        return f"{context.trace_id:032x}", f"{context.span_id:016x}"

    def own_ids(self) -> tuple[str, str]:
        """Return the ids of the trace and of the run's span."""
        return f"{self._own.trace_id:032x}", f"{self._own.span_id:016x}"

    def attempt(self, number: int, time_ns: int) -> None:
        """Do nothing: the other process records it."""

    def attempt_failed(self, error: BaseException | None, message: str, time_ns: int) -> None:
        """Do nothing: the other process records it."""

    def awaiting_retry(self, delay_s: float, time_ns: int) -> None:
        """Do nothing: the other process records it."""

    def waits_for(self, reason: str, time_ns: int) -> None:
        """Do nothing: the other process records it."""

    def link(self, traceparent: str, run_id: str, input_name: str, count: int = 0) -> None:
        """Do nothing: the other process records it."""

    def named(self, name: str) -> None:
        """Do nothing: the other process records it."""

    def mapped(self, index: int) -> None:
        """Do nothing: the other process records it."""

    def made_artifact(self, artifact_id: str, kind: str, key: str, time_ns: int) -> None:
        """Do nothing: the other process is notified by the event."""

    def end(
        self,
        state_type: int,
        state_name: str,
        message: str,
        error: BaseException | None,
        time_ns: int,
    ) -> None:
        """Do nothing: the other process ends the span."""

    def rolled_back(self, message: str, time_ns: int) -> None:
        """Do nothing: the other process records it."""
