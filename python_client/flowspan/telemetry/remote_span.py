"""The span of a run that another process executes, as the code that it calls here sees it."""

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
    """Makes the span that a carrier names the current one; a `flowspan.core.span.RunSpan`.

    The other process records in it what becomes of the run, and ends it; here that does nothing.

    Args:
        carrier: See flowspan.telemetry.propagation.
    """

    def __init__(self, carrier: Mapping[str, str]) -> None:
        self._context = extract(carrier)
        self._own = trace.get_current_span(self._context).get_span_context()

    def enter(self) -> Token[Context]:
        """See `flowspan.core.span.RunSpan.enter`."""
        return otel_context.attach(self._context)

    def leave(self, token: Any) -> None:
        """See `flowspan.core.span.RunSpan.leave`."""
        otel_context.detach(token)

    def current_ids(self) -> tuple[str, str]:
        """See `flowspan.core.span.RunSpan.current_ids`."""
        here = trace.get_current_span().get_span_context()
        context = here if here.trace_id == self._own.trace_id else self._own
        return f"{context.trace_id:032x}", f"{context.span_id:016x}"

    def own_ids(self) -> tuple[str, str]:
        """See `flowspan.core.span.RunSpan.own_ids`."""
        return f"{self._own.trace_id:032x}", f"{self._own.span_id:016x}"

    def attempt(self, number: int, time_ns: int) -> None:
        """Nothing to do here."""

    def attempt_failed(self, error: BaseException | None, message: str, time_ns: int) -> None:
        """Nothing to do here."""

    def awaiting_retry(self, delay_s: float, time_ns: int) -> None:
        """Nothing to do here."""

    def link(self, traceparent: str, run_id: str, input_name: str) -> None:
        """Nothing to do here."""

    def named(self, name: str) -> None:
        """Nothing to do here."""

    def mapped(self, index: int) -> None:
        """Nothing to do here."""

    def made_artifact(self, artifact_id: str, kind: str, key: str, time_ns: int) -> None:
        """Nothing to do here: the other process hears of it by the event."""

    def end(
        self,
        state_type: int,
        state_name: str,
        message: str,
        error: BaseException | None,
        time_ns: int,
    ) -> None:
        """Nothing to do here."""

    def rolled_back(self, message: str, time_ns: int) -> None:
        """Nothing to do here."""
