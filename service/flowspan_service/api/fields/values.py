"""Conversions between the domain's values and those of the wire: times and texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from flowspan_service.api import limits

if TYPE_CHECKING:
    from typing import Any

_SECOND = 1_000_000


def timestamp(at_us: int) -> Timestamp:
    """Return the message of a time."""
    seconds, rest = divmod(at_us, _SECOND)
    return Timestamp(seconds=seconds, nanos=rest * 1000)


def duration(length_us: int) -> Duration:
    """Return the message of a duration."""
    seconds, rest = divmod(length_us, _SECOND)
    return Duration(seconds=seconds, nanos=rest * 1000)


def put_time(wire: Timestamp | Duration, at_us: int) -> None:
    """Set a time or a duration in place, which is cheaper than a copy."""
    wire.seconds, rest = divmod(at_us, _SECOND)
    wire.nanos = rest * 1000


def microseconds(wire: Timestamp | Duration) -> int:
    """Return a time or a duration in microseconds."""
    return wire.seconds * _SECOND + wire.nanos // 1000


def optional_microseconds(message: Any, field: str) -> int | None:
    """Return the time in a field of a message; None if the field is not set."""
    return microseconds(getattr(message, field)) if message.HasField(field) else None


def brief(text: str) -> str:
    """Return a string, shortened for an answer that may hold many of them."""
    limit = limits.BRIEF_TEXT
    return text if len(text) <= limit else text[: limit - 1] + "…"
