"""Log records that wait for their export over OTLP: table, reads, and writes in a unit of work.

A row is written in the transaction that stores its record, and deleted when a receiver has accepted
the record. So no record is left out, whichever process dies. Only the records of sessions that ask
for it have rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, Table, and_, delete, select, tuple_

from flowspan_service.app.ports.log_exports import WaitingLogs
from flowspan_service.stores.engine.transaction import Buffered
from flowspan_service.stores.ids import Id, to_bytes
from flowspan_service.stores.logs import log, log_bytes, log_of
from flowspan_service.stores.schema import metadata

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowspan_service.domain.logs import LogEntry
    from flowspan_service.stores.engine.reading import Reading
    from flowspan_service.stores.engine.transaction import Transaction

log_export = Table(
    "log_export",
    metadata,
    Column("session_id", Id, primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("run_id", Id, nullable=False),
    sqlite_with_rowid=False,
)

_IS_RECORD = and_(log.c.run_id == log_export.c.run_id, log.c.position == log_export.c.position)
"""By run: the record of a tree moves when the parent of its root arrives."""


class LogExportReads:
    """Implementation of app.ports.log_exports.LogExportReads."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def sessions(self, *, after_id: str | None = None, limit: int) -> list[str]:
        """Return sessions whose log records wait: one step along the key for each of them."""
        found: list[str] = []
        last = after_id
        first = select(log_export.c.session_id).order_by(log_export.c.session_id).limit(1)
        with self._reading.connection() as connection:
            while len(found) < limit:
                later = first if last is None else first.where(log_export.c.session_id > last)
                last = connection.scalar(later)
                if last is None:
                    break
                found.append(last)
        return found

    def waiting(self, session_id: str, *, limit: int, limit_bytes: int) -> WaitingLogs:
        """Return the first log records of a session that wait."""
        rows = (
            select(log_export.c.position, log)
            .join(log, _IS_RECORD, isouter=True)
            .where(log_export.c.session_id == session_id)
            .order_by(log_export.c.position)
            .limit(limit)
        )
        items: list[LogEntry] = []
        upto = size = 0
        with self._reading.connection() as connection:
            for position, *columns in connection.execute(rows):
                if columns[0] is not None:  # the run may be deleted
                    entry = log_of(columns)
                    items.append(entry)
                    size += log_bytes(entry)
                upto = position
                if size >= limit_bytes:
                    break
        return WaitingLogs(items, upto)


class LogExportWrites(Buffered):
    """Implementation of app.ports.log_exports.LogExportWrites."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._new: list[tuple[str, LogEntry]] = []

    def add(self, session_id: str, entries: Sequence[LogEntry]) -> None:
        """Note records that were added in this unit of work, and wait for their export."""
        self._new += [(session_id, entry) for entry in entries]

    @property
    def row_count(self) -> int:
        """The number of buffered rows."""
        return len(self._new)

    def write(self) -> None:
        """Write the buffered rows. The records were written before, and have positions."""
        values: list[object] = []
        for session_id, entry in self._new:
            values += (to_bytes(session_id), entry.position, to_bytes(entry.run_id))
        self._tx.dialect.insert(self._tx.connection, log_export, values)
        self._new.clear()

    def forget(self, session_id: str, *, upto: int, limit: int) -> int:
        """Forget records of a session up to a position; return their number."""
        self._tx.flush()
        self._tx.changes += 1
        keys = select(log_export.c.session_id, log_export.c.position).where(
            log_export.c.session_id == session_id, log_export.c.position <= upto
        )
        found = tuple_(log_export.c.session_id, log_export.c.position).in_(keys.limit(limit))
        return self._tx.connection.execute(delete(log_export).where(found)).rowcount
