"""Claims of loops: table, reads, and writes in a unit of work.

Leases end by the database's clock, which all service processes share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, Table, Text, text

from flowspan_service.domain.claims import LoopClaim
from flowspan_service.stores.schema import NAME, metadata

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from flowspan_service.stores.engine.reading import Reading
    from flowspan_service.stores.engine.transaction import Transaction

loop_claim = Table(
    "loop_claim",
    metadata,
    Column("name", NAME, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("until_us", BigInteger, nullable=False),
    Column("position", BigInteger),
    sqlite_with_rowid=False,
)
"""The loops whose work one service process at a time does: the process (empty if the claim is
free), the end of its lease by the database's clock, and the progress of the loop.
"""

_NOW_US = {
    "postgresql": "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)",
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)",
}
"""The database's clock, in microseconds since 1970 UTC."""


def _read(connection: Connection, loop: str) -> LoopClaim | None:
    now_us = _NOW_US[connection.dialect.name]
    statement = text(
        f"SELECT name, holder, until_us - {now_us}, position FROM loop_claim"  # noqa: S608 - no values in it
        " WHERE name = :name"
    )
    row = connection.execute(statement, {"name": loop}).first()
    return None if row is None else LoopClaim(*row)


class ClaimReads:
    """Implementation of app.ports.claims.ClaimReads."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def get(self, loop: str) -> LoopClaim | None:
        """Return the claim of a loop; None if no process ever took it."""
        with self._reading.connection() as connection:
            return _read(connection, loop)


class ClaimWrites:
    """Implementation of app.ports.claims.ClaimWrites. Nothing is buffered."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    def get(self, loop: str) -> LoopClaim | None:
        """Return the claim of a loop; None if no process ever took it."""
        return _read(self._tx.connection, loop)

    def save(self, claim: LoopClaim) -> None:
        """Store a claim. Its lease ends `left_us` from now, by the database's clock."""
        self._tx.changes += 1
        now_us = _NOW_US[self._tx.connection.dialect.name]
        statement = text(
            "INSERT INTO loop_claim (name, holder, until_us, position)"  # noqa: S608 - no values in it
            f" VALUES (:name, :holder, :left_us + {now_us}, :position)"
            " ON CONFLICT (name) DO UPDATE SET holder = excluded.holder,"
            " until_us = excluded.until_us, position = excluded.position"
        )
        values = {
            "name": claim.loop,
            "holder": claim.holder,
            "left_us": claim.left_us,
            "position": claim.position,
        }
        self._tx.connection.execute(statement, values)
