"""Commands in a unit of work: held in memory until they are written, with few statements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, select, text, update

from flowspan_service.stores.dialects.base import chunks
from flowspan_service.stores.ids import Id
from flowspan_service.stores.schema import IS_OPEN_COMMAND, command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Select
    from sqlalchemy.engine import Connection

    from flowspan_service.domain.commands import Command

CHUNK = 500

_INSERT = text(
    "INSERT INTO command (run_id, number, session_id, kind, reason, created_us, done_us)"
    " VALUES (:run_id, :number, :session_id, :kind, :reason, :created_us, :done_us)"
    " ON CONFLICT (run_id, number) DO NOTHING"
).bindparams(bindparam("run_id", type_=Id), bindparam("session_id", type_=Id))


class Commands:
    """The commands of one transaction.

    Args:
        connection: The writer's.
        now_us: The wall clock when the transaction began.
    """

    def __init__(self, connection: Connection, now_us: int) -> None:
        self._connection = connection
        self._now_us = now_us
        self._new: dict[tuple[str, int], Command] = {}
        self._done: dict[str, None] = {}
        self._moved: dict[str, str] = {}

    @property
    def row_count(self) -> int:
        """About how many rows are to be written."""
        return len(self._new) + len(self._done) + len(self._moved)

    def add(self, new: Command) -> None:
        """See app.ports.UnitOfWork.add_command."""
        self._new.setdefault((new.run_id, new.number), new)

    def finish(self, run_id: str) -> None:
        """See app.ports.UnitOfWork.finish_commands."""
        self._done[run_id] = None
        for each in self._new.values():
            if each.run_id == run_id and each.done_us is None:
                each.done_us = self._now_us

    def move(self, run_id: str, session_id: str) -> None:
        """See app.ports.UnitOfWork.move_commands."""
        self._moved[run_id] = session_id
        for each in self._new.values():
            if each.run_id == run_id and each.done_us is None:
                each.session_id = session_id

    def delete(self, run_ids: Sequence[str]) -> None:
        """Deletes the commands of runs that are deleted. What was put before must be written."""
        self._connection.execute(delete(command).where(command.c.run_id.in_(run_ids)))

    def write(self) -> None:
        """Writes what was put: first what changes in older rows, then the new ones."""
        open_rows = update(command).where(IS_OPEN_COMMAND)
        for run_id, session_id in self._moved.items():
            self._connection.execute(
                open_rows.where(command.c.run_id == run_id).values(session_id=session_id)
            )
        for run_ids in chunks(list(self._done), CHUNK):
            self._connection.execute(
                open_rows.where(command.c.run_id.in_(run_ids)).values(done_us=self._now_us)
            )
        if self._new:
            rows = [
                {
                    "run_id": each.run_id,
                    "number": each.number,
                    "session_id": each.session_id,
                    "kind": +each.kind,
                    "reason": each.reason,
                    "created_us": each.created_us,
                    "done_us": each.done_us,
                }
                for each in self._new.values()
            ]
            self._connection.execute(_INSERT, rows)
        self._moved.clear()
        self._done.clear()
        self._new.clear()


def sessions_with_commands(session_ids: Sequence[str]) -> Select[Any]:
    """The statement for those of the sessions that have open commands."""
    session_id = command.c.session_id
    return select(session_id).where(session_id.in_(session_ids), IS_OPEN_COMMAND).distinct()
