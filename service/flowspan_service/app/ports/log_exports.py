"""The port to the log records that wait for their export over OTLP."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowspan_service.domain.logs import LogEntry


class WaitingLogs(NamedTuple):
    """The first log records of a session that wait for their export."""

    items: list[LogEntry]
    """The records, by position. Those of deleted runs are left out."""
    upto: int
    """The position up to which this answer has all that waited; 0 if nothing waits."""


class LogExportReads(Protocol):
    """The reads of log records that wait."""

    def sessions(self, *, after_id: str | None = None, limit: int) -> list[str]:
        """Return sessions whose log records wait, by id, after an id."""
        ...

    def waiting(self, session_id: str, *, limit: int, limit_bytes: int) -> WaitingLogs:
        """Return the first log records of a session that wait."""
        ...


class LogExportWrites(Protocol):
    """The log records that wait, in a unit of work."""

    def add(self, session_id: str, entries: Sequence[LogEntry]) -> None:
        """Note records that were added in this unit of work, and wait for their export."""
        ...

    def forget(self, session_id: str, *, upto: int, limit: int) -> int:
        """Forget records of a session up to a position; return their number.

        If it equals `limit`, there may be more.
        """
        ...
