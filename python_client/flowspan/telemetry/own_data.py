"""Attributes, events and statuses that flowspan itself gives a span, of its own or of the SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.trace import StatusCode

from flowspan.core.failures import error_type, summary
from flowspan.telemetry import attributes as names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import Span


def put(span: Any, attributes: Mapping[str, Any]) -> None:
    """Set attributes of flowspan's own, which a fast span takes without a check."""
    getattr(span, "put", span.set_attributes)(attributes)


def restore(span: Any, attributes: Mapping[str, Any]) -> None:
    """Set attributes of flowspan's own that user code has evicted from a span of the SDK.

    It does so by setting more attributes than the limit. Fast spans keep flowspan's own.
    """
    present = getattr(span, "attributes", None) or ()
    if span.is_recording() and not all(name in present for name in attributes):
        put(span, attributes)


def put_event(span: Any, name: str, attributes: dict[str, Any] | None, time_ns: int) -> None:
    """Add an event of flowspan's own, which user code cannot push out of a fast span."""
    getattr(span, "put_event", span.add_event)(name, attributes, time_ns)


def add_named_event(span: Span, state_name: str, message: str, time_ns: int) -> None:
    """Add the event of a state that is in `NAMED_COMPLETIONS`."""
    attributes = {names.STATE_MESSAGE: message} if message else None
    put_event(span, names.NAMED_COMPLETIONS[state_name], attributes, time_ns)


def set_error(
    span: Span,
    state_name: str,
    message: str,
    error: BaseException | None,
    event: dict[str, Any] | None,
    time_ns: int,
) -> None:
    """Mark a span as failed.

    Args:
        span: The span.
        state_name: The name of the state that the run entered.
        message: The message of the state.
        error: The exception; None for a failure without one.
        event: The attributes of the event of the exception; None for no event.
        time_ns: The time of the event.
    """
    if not span.is_recording():
        return
    if error is None:
        is_lost = names.SYNTHETIC in (getattr(span, "attributes", None) or ())
        put(span, {names.ERROR_TYPE: names.CRASHED_ERROR if is_lost else state_name})
        span.set_status(StatusCode.ERROR, message or state_name)
        return
    if event is not None:
        put_event(span, names.EXCEPTION_EVENT, event, time_ns)
    put(span, {names.ERROR_TYPE: error_type(error)})
    span.set_status(StatusCode.ERROR, message or summary(error))
