"""The ids of a run's span, and their text form.

Every run has them while tracing is on, but few of their texts are read. So runs and states hold
numbers, and format them on demand.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TypeAlias

TraceIds: TypeAlias = tuple[int, int, int]
"""Trace id (128 bits), span id (64 bits) and trace flags (8 bits)."""


def format_traceparent(ids: TraceIds | None) -> str:
    """Return the W3C traceparent; empty for None."""
    return "" if ids is None else "00-{:032x}-{:016x}-{:02x}".format(*ids)


def parse_traceparent(text: str) -> TraceIds | None:
    """Return the ids in a traceparent as `format_traceparent` writes it.

    Raises:
        ValueError: The text is not empty, and not of this form.
    """
    if not text:
        return None
    _, trace_id, span_id, flags = text.split("-")
    return int(trace_id, 16), int(span_id, 16), int(flags, 16)


def attempt_span_id(run_id: str, number: int) -> int | None:
    """Return the id of an attempt's span, which the service derives too if this process dies.

    Args:
        run_id: The id of the run.
        number: The number of the attempt, 1 for the first.

    Returns:
        The id; None if the id of the run is no UUID, which no service accepts.
    """
    try:
        data = bytes.fromhex(run_id.replace("-", ""))
    except ValueError:
        return None
    return int.from_bytes(sha256(data + number.to_bytes(4, "big")).digest()[:8], "big")
