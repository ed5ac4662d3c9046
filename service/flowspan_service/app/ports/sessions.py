"""The port to sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from flowspan_service.domain.leases import StoredSign
    from flowspan_service.domain.sessions import OtlpTarget, Session, SpanSource


class SessionReads(Protocol):
    """The reads of sessions."""

    def get(self, session_id: str) -> Session | None:
        """Return the session, or None."""
        ...

    def ended(self, session_ids: Sequence[str]) -> list[str]:
        """Return the sessions among these that are LOST or CLOSED, or do not exist."""
        ...

    def ended_with_open_runs(self) -> list[str]:
        """Return the sessions that are LOST or CLOSED and have open runs."""
        ...

    def ended_before(self, ended_before_us: int, *, after_id: str | None, limit: int) -> list[str]:
        """Return sessions that ended before a time, by id, after an id."""
        ...

    def span_sources(self, session_ids: Iterable[str]) -> dict[str, SpanSource]:
        """Return what the spans of sessions show, by session; missing sessions are left out."""
        ...


class SessionWrites(Protocol):
    """The sessions in a unit of work."""

    def get(self, session_id: str) -> Session | None:
        """Return the session, or None."""
        ...

    def save(self, session: Session) -> None:
        """Store a new or changed session."""
        ...

    def save_resource(self, session_id: str, resource: Mapping[str, str]) -> None:
        """Store the OpenTelemetry resource of a session's client, unless it is stored already."""
        ...

    def save_target(self, session_id: str, target: OtlpTarget | None) -> None:
        """Store the receivers of a session's client, in place of the earlier ones; None for none.

        A no-op if they are stored already.
        """
        ...

    def stored_signs(self) -> list[StoredSign]:
        """Return the signs of life of all OPEN sessions, in any order."""
        ...

    def delete(self, session_ids: Sequence[str], *, ended_before_us: int) -> int:
        """Delete the sessions among these that ended before a time and have no open run.

        Returns:
            The number of sessions deleted.
        """
        ...
