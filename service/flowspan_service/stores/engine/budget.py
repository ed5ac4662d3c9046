"""How many bytes a transaction may touch: a small event may be about a large run or artifact.

Rows are loaded to be judged and, in SQLite, written whole where one column of them changes. So what
an operation costs follows from the rows that it names, not from its own size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from flowspan_service.stores import schema as tables
from flowspan_service.stores.dialects.base import chunks
from flowspan_service.stores.engine.bounds import OBJECT_BYTES, RUN_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Column, Table
    from sqlalchemy.engine import Connection

TOUCHED_BYTES = 2 << 20
"""With so many the transaction is full: to read or write a MiB takes 2 to 10 ms."""
PRELOADED_BYTES = 2 << 20
"""What is loaded before it is asked for is at most so much."""
LOOK_UP_CHUNK = 500


class Budget:
    """What a transaction has touched so far."""

    def __init__(self, is_late: Callable[[], bool]) -> None:
        """Begins a transaction.

        Args:
            is_late: Whether it has lasted long enough.
        """
        self.is_late = is_late
        self.is_full = False
        """Whether it has touched enough; asked before each event."""
        self._touched_bytes = 0
        self._room = PRELOADED_BYTES

    def touch(self, size: int) -> None:
        """Note that a row of so many bytes will be written again."""
        self._touched_bytes += size
        if self._touched_bytes > TOUCHED_BYTES:
            self.is_full = True

    @property
    def has_room(self) -> bool:
        """Whether more may be loaded ahead."""
        return self._room > 0

    def take(self, size: int) -> None:
        """Note what was loaded ahead beside the payloads."""
        self._room -= size

    def touch_late(self, size: int) -> None:
        """Note that a row was loaded by itself, which takes its time whatever its size."""
        self.touch(size)
        if self.is_late():
            self.is_full = True

    def fitting_runs(
        self, connection: Connection, run_ids: Sequence[str]
    ) -> tuple[list[str], list[str]]:
        """Which of these runs to load at once, and which when they are asked for; see _fitting."""
        columns = tables.run.c
        heavy = (columns.parameters, columns.state_result, columns.state_failure)
        return self._fitting(connection, tables.run, heavy, RUN_BYTES, run_ids)

    def fitting_artifacts(
        self, connection: Connection, artifact_ids: Sequence[str]
    ) -> tuple[list[str], list[str]]:
        """Which of these artifacts to load at once, and which when they are asked for."""
        heavy = (tables.artifact.c.data,)
        return self._fitting(connection, tables.artifact, heavy, OBJECT_BYTES, artifact_ids)

    def _fitting(
        self,
        connection: Connection,
        table: Table,
        heavy: Sequence[Column[bytes]],
        light_bytes: int,
        ids: Sequence[str],
    ) -> tuple[list[str], list[str]]:
        """Divide the rows that are there, in the order of the ids. A single one is not looked at.

        The databases tell the length of a payload without reading it.
        """
        if len(ids) == 1:
            return list(ids), []
        first, *further = (func.coalesce(func.length(column), 0) for column in heavy)
        size = sum(further, start=first)
        sizes: dict[str, int] = {}
        for chunk in chunks(ids, LOOK_UP_CHUNK):
            statement = select(table.c.id, size).where(table.c.id.in_(chunk))
            sizes.update(tuple(row) for row in connection.execute(statement))
        now: list[str] = []
        later: list[str] = []
        for each in ids:
            taken = sizes.get(each)
            if taken is None:
                continue
            taken += light_bytes
            if taken <= self._room:
                self._room -= taken
                now.append(each)
            else:
                later.append(each)
        return now, later
