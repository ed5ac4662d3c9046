"""The claims of loops, as rows. The clock of their leases is the database's."""

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
"""The loops that one service process at a time works on: the process (empty if the claim is free),
the end of its lease by the database's clock, and the progress of the loop."""

_NOW_US = {
    "postgresql": "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)",
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)",
}
"""The database's clock, in microseconds since 1970 UTC."""


class ClaimReads:
    """Implementation of app.ports.claims.ClaimReads."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def get(self, name: str) -> LoopClaim | None:
        """Return the claim of a loop; None if it was never taken."""
        with self._reading.connection() as connection:
            return read_claim(connection, name)


class ClaimWrites:
    """Implementation of app.ports.claims.ClaimWrites. Nothing is buffered."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    def get(self, name: str) -> LoopClaim | None:
        """Return the claim of a loop; None if it was never taken."""
        return read_claim(self._tx.connection, name)

    def save(self, claim: LoopClaim) -> None:
        """Write the claim of a loop. Its lease ends `left_us` from now."""
        self._tx.changes += 1
        write_claim(self._tx.connection, claim)


def read_claim(connection: Connection, name: str) -> LoopClaim | None:
    """Return the claim of a loop; None if it was never taken."""
    now_us = _NOW_US[connection.dialect.name]
    statement = text(
        f"SELECT name, holder, until_us - {now_us}, position FROM loop_claim"  # noqa: S608 - constants
        " WHERE name = :name"
    )
    row = connection.execute(statement, {"name": name}).first()
    return None if row is None else LoopClaim(*row)


def write_claim(connection: Connection, claim: LoopClaim) -> None:
    """Write the claim of a loop; its lease ends `left_us` from now."""
    now_us = _NOW_US[connection.dialect.name]
    statement = text(
        "INSERT INTO loop_claim (name, holder, until_us, position)"  # noqa: S608 - constants
        f" VALUES (:name, :holder, :left_us + {now_us}, :position)"
        " ON CONFLICT (name) DO UPDATE SET holder = excluded.holder,"
        " until_us = excluded.until_us, position = excluded.position"
    )
    values = {
        "name": claim.name,
        "holder": claim.holder,
        "left_us": claim.left_us,
        "position": claim.position,
    }
    connection.execute(statement, values)
