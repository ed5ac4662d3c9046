"""Fences: sessions that created runs under ids which belong to other runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Column, Index, Table, bindparam, delete, exists, select, text

from flowspan_service.stores.engine.bulk import IDS_PER_STATEMENT, chunks
from flowspan_service.stores.ids import Id
from flowspan_service.stores.schema import metadata
from flowspan_service.stores.sessions import session_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from flowspan_service.stores.engine.transaction import Transaction
    from flowspan_service.stores.sessions import SessionWrites

fence = Table(
    "fence",
    metadata,
    Column("session_id", Id, primary_key=True),
    Column("run_id", Id, primary_key=True),
    Index("fence_by_run", "run_id"),
    sqlite_with_rowid=False,
)
"""The runs about which a session may say nothing more: it created another run under the same id, or
was refused to create the run. The `has_fences` of a session says whether it has rows here."""

_INSERT = text(
    "INSERT INTO fence (session_id, run_id) VALUES (:session_id, :run_id)"
    " ON CONFLICT (session_id, run_id) DO NOTHING"
).bindparams(bindparam("session_id", type_=Id), bindparam("run_id", type_=Id))


class FenceWrites:
    """Implementation of app.ports.fences.FenceWrites. Nothing is buffered."""

    def __init__(self, tx: Transaction, sessions: SessionWrites) -> None:
        self._tx = tx
        self._sessions = sessions

    def of(self, session_id: str, run_ids: Iterable[str]) -> set[str]:
        """Return the runs among these about which nothing that the session says is accepted."""
        found: set[str] = set()
        session = self._sessions.get(session_id)
        if session is None or not session.has_fences:
            return found
        for chunk in chunks(list(run_ids), IDS_PER_STATEMENT):
            statement = select(fence.c.run_id).where(
                fence.c.session_id == session_id, fence.c.run_id.in_(chunk)
            )
            found.update(self._tx.connection.scalars(statement))
        return found

    def is_refused(self, run_id: str) -> bool:
        """Return True if a session was refused to create this run, which does not exist."""
        refused = select(exists().where(fence.c.run_id == run_id))
        return bool(self._tx.connection.scalar(refused))

    def add(self, session_id: str, run_id: str) -> None:
        """Accept nothing more about a run from a session. A no-op if it is so already."""
        self._tx.changes += 1
        row = {"session_id": session_id, "run_id": run_id}
        self._tx.connection.execute(_INSERT, row)
        session = self._sessions.get(session_id)
        if session is not None and not session.has_fences:
            session.has_fences = True
            self._sessions.save(session)

    def delete_of(self, session_ids: Sequence[str]) -> None:
        """Delete the fences of those of these sessions that do not exist any more."""
        known = select(session_table.c.id).where(session_table.c.id == fence.c.session_id)
        for chunk in chunks(list(session_ids), IDS_PER_STATEMENT):
            gone = delete(fence).where(fence.c.session_id.in_(chunk), ~known.exists())
            self._tx.connection.execute(gone)
