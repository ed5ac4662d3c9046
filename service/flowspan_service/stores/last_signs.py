"""The last signs of life of crashed runs: table, reads, and writes in a unit of work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, Table, bindparam, delete, select, text

from flowspan_service.stores.engine.bulk import IDS_PER_STATEMENT, chunks
from flowspan_service.stores.engine.transaction import Buffered
from flowspan_service.stores.ids import Id
from flowspan_service.stores.schema import metadata

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from flowspan_service.stores.engine.reading import Reading
    from flowspan_service.stores.engine.transaction import Transaction

last_sign = Table(
    "last_sign",
    metadata,
    Column("run_id", Id, primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""The last signs of life of the processes of crashed runs, on the clocks of the runs. Not a column
of `run`: most runs end otherwise.
"""

_UPSERT = text(
    "INSERT INTO last_sign (run_id, at_us) VALUES (:run_id, :at_us)"
    " ON CONFLICT (run_id) DO UPDATE SET at_us = excluded.at_us"
).bindparams(bindparam("run_id", type_=Id))


class LastSignReads:
    """Implementation of app.ports.last_signs.LastSignReads."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def of(self, run_ids: Iterable[str]) -> dict[str, int]:
        """Return the stored signs of these runs, by run."""
        found: dict[str, int] = {}
        ids = sorted(set(run_ids))
        if not ids:
            return found
        with self._reading.connection() as connection:
            for chunk in chunks(ids, IDS_PER_STATEMENT):
                statement = select(last_sign).where(last_sign.c.run_id.in_(chunk))
                found.update({row.run_id: row.at_us for row in connection.execute(statement)})
        return found


class LastSignWrites(Buffered):
    """Implementation of app.ports.last_signs.LastSignWrites."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._new: dict[str, int] = {}

    def note(self, run_id: str, at_us: int) -> None:
        """Store the last sign of life of a run's process, in place of an earlier one."""
        self._tx.changes += 1
        self._new[run_id] = at_us

    @property
    def row_count(self) -> int:
        """The number of buffered rows."""
        return len(self._new)

    def write(self) -> None:
        """Write the buffered rows."""
        rows = [{"run_id": run_id, "at_us": at_us} for run_id, at_us in self._new.items()]
        self._tx.connection.execute(_UPSERT, rows)
        self._new.clear()

    def delete_of(self, run_ids: Sequence[str]) -> bool:
        """Delete the signs of these runs; return False: none is left."""
        if self._new:
            self._tx.flush()
        self._tx.connection.execute(delete(last_sign).where(last_sign.c.run_id.in_(run_ids)))
        return False
