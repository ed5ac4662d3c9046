"""The bytes that a transaction may touch: a small event may concern a large run or artifact.

Rows are loaded for the rules and, in SQLite, written whole when one column changes. So the cost of
an operation follows from the rows that it names, not from its own size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from flowspan_service.stores.engine.bulk import IDS_PER_STATEMENT, chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Column, Table
    from sqlalchemy.engine import Connection

TOUCHED_BYTES = 2 << 20
"""The size at which a transaction is full: reading or writing a MiB takes 2 to 10 ms."""
PRELOADED_BYTES = 2 << 20
"""The maximum size of the rows that are loaded ahead."""


class Budget:
    """The bytes that a transaction has touched so far.

    Args:
        is_late: Returns True once the transaction has lasted long enough.
    """

    def __init__(self, is_late: Callable[[], bool]) -> None:
        self.is_late = is_late
        self.is_full = False
        """True once the transaction has touched enough; checked before each event."""
        self._touched_bytes = 0
        self._room = PRELOADED_BYTES

    def touch(self, size: int) -> None:
        """Note that a row of that size will be written again."""
        self._touched_bytes += size
        if self._touched_bytes > TOUCHED_BYTES:
            self.is_full = True

    @property
    def has_room(self) -> bool:
        """True if more may be loaded ahead."""
        return self._room > 0

    def take(self, size: int) -> None:
        """Note what was loaded ahead beside the payloads."""
        self._room -= size

    def touch_late(self, size: int) -> None:
        """Note that a row was loaded alone, which takes time whatever its size."""
        self.touch(size)
        if self.is_late():
            self.is_full = True

    def fitting(
        self,
        connection: Connection,
        table: Table,
        ids: Sequence[str],
        *,
        payloads: Sequence[Column[bytes]],
        row_bytes: int,
    ) -> tuple[list[str], list[str]]:
        """Divide the existing rows into those to load now and those to load when they are needed.

        The databases know the length of a payload without reading it. A single row is not measured.

        Args:
            connection: The writer's.
            table: The table.
            ids: The ids of the rows.
            payloads: The columns that may be large.
            row_bytes: The approximate size of a row without them.

        Returns:
            The ids for now and for later, in the given order.
        """
        if len(ids) == 1:
            return list(ids), []
        first, *further = (func.coalesce(func.length(column), 0) for column in payloads)
        size = sum(further, start=first)
        sizes: dict[str, int] = {}
        for chunk in chunks(ids, IDS_PER_STATEMENT):
            statement = select(table.c.id, size).where(table.c.id.in_(chunk))
            sizes.update(tuple(row) for row in connection.execute(statement))
        now: list[str] = []
        later: list[str] = []
        for each in ids:
            taken = sizes.get(each)
            if taken is None:
                continue
            taken += row_bytes
            if taken <= self._room:
                self._room -= taken
                now.append(each)
            else:
                later.append(each)
        return now, later
