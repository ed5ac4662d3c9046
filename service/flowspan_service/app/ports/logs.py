"""The port to log records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowspan_service.domain.logs import LogEntry


@dataclass(frozen=True, slots=True)
class LogQuery:
    """A page of log records, by position."""

    run_id: str
    include_descendants: bool = False
    min_level: int = 0
    after_position: int = 0
    """The position to continue after, or before it with `newest_first` (0: from the end)."""
    loggers: tuple[str, ...] = ()
    """Names of loggers; each includes its children."""
    logged_after_us: int | None = None
    message_contains: str = ""
    """Chunks of long records always match: the text may span two of them."""
    newest_first: bool = False
    limit: int = 1000
    limit_bytes: int = 2_000_000
    """The page ends with the record that takes its messages above this size."""


class LogPage(NamedTuple):
    """Some log records by position."""

    items: list[LogEntry]
    looked_at: int
    """The position up to which the call searched: continue from there."""
    has_more: bool
    """True if there may be more, even after an empty page: a call searches only a part."""


class LogReads(Protocol):
    """The reads of log records."""

    def list(self, query: LogQuery) -> LogPage:
        """Return a page of log records."""
        ...


class LogWrites(Protocol):
    """The log records in a unit of work."""

    def add(self, entries: Sequence[LogEntry]) -> None:
        """Store log records, in order."""
        ...
