"""Log records of runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class LogEntry:
    """A log record of a run, or a chunk of a long one; see flowspan.v1.LogRecord."""

    run_id: str
    attempt: int
    level: int
    time_us: int
    logger: str
    message: str
    trace_id: str = ""
    span_id: str = ""
    chunk_index: int = 0
    chunk_count: int = 0
    position: int = 0
    """Set by the store when it writes the record."""
