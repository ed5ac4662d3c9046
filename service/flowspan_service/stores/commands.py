"""Commands: table, reads, and writes in a unit of work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    bindparam,
    delete,
    or_,
    select,
    text,
    update,
)

from flowspan_service.stores.dialects.base import Statement
from flowspan_service.stores.engine.bounds import bounded
from flowspan_service.stores.engine.bulk import IDS_PER_STATEMENT, chunks
from flowspan_service.stores.engine.transaction import Buffered
from flowspan_service.stores.ids import Id
from flowspan_service.stores.schema import metadata

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowspan_service.app.ports.pages import Page
    from flowspan_service.domain.commands import Command
    from flowspan_service.stores.dialects.base import Syntax
    from flowspan_service.stores.engine.reading import Reading
    from flowspan_service.stores.engine.transaction import Transaction

IS_OPEN_COMMAND = text("done_us IS NULL")
"""The predicate of the partial index. A query repeats it to use the index."""

command = Table(
    "command",
    metadata,
    Column("run_id", Id, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("session_id", Id, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("done_us", BigInteger),
    Column("generation", BigInteger, nullable=False, server_default="0"),
    sqlite_with_rowid=False,
)
"""The commands to sessions; see domain.commands. `generation` is the number of the commit (see
`head`) in which the session got the command, so that a process finds the commands since its last
check. An older version leaves it 0.
"""
Index(
    "command_open",
    command.c.session_id,
    command.c.run_id,
    command.c.number,
    sqlite_where=IS_OPEN_COMMAND,
)

_COLUMNS = ", ".join(column.name for column in command.c if column.name != "generation")

_INSERT = text(
    "INSERT INTO command"
    " (run_id, number, session_id, kind, reason, created_us, done_us, generation)"
    " VALUES"
    " (:run_id, :number, :session_id, :kind, :reason, :created_us, :done_us, :generation)"
    " ON CONFLICT (run_id, number) DO NOTHING"
).bindparams(bindparam("run_id", type_=Id), bindparam("session_id", type_=Id))


def open_commands_statement(
    session_id: str, after: Command | None, limit: int, syntax: Syntax
) -> Statement:
    """Return the open commands of a session, by run and number: the columns of `command`."""
    parameters: dict[str, Any] = {"session": syntax.id_value(session_id), "limit": limit}
    later = ""
    if after is not None:
        parameters |= {"run": syntax.id_value(after.run_id), "number": after.number}
        run_id, number = syntax.id_parameter("run"), syntax.parameter("number")
        later = f" AND (run_id > {run_id} OR (run_id = {run_id} AND number > {number}))"
    sql = (
        f"SELECT {_COLUMNS} FROM command"  # noqa: S608 - no values in it
        f" WHERE session_id = {syntax.id_parameter('session')} AND {IS_OPEN_COMMAND}{later}"
        f" ORDER BY run_id, number LIMIT {syntax.parameter('limit')}"
    )
    return Statement(sql, parameters)


class CommandReads:
    """Implementation of app.ports.commands.CommandReads."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def list_open(
        self,
        session_id: str,
        *,
        after: Command | None = None,
        limit: int,
        limit_bytes: int = 1_000_000,
    ) -> Page[Command]:
        """Return a page of the open commands of a session, by run and number."""
        with (
            self._reading.explained(),
            self._reading.dialect.open_commands(session_id, after, limit=limit + 1) as found,
        ):
            return bounded(found, lambda each: len(each.reason), limit, limit_bytes)

    def has_open(self, session_id: str) -> bool:
        """Return True if the session has open commands."""
        with (
            self._reading.explained(),
            self._reading.dialect.open_commands(session_id, None, limit=1) as found,
        ):
            return next(found, None) is not None

    def sessions_with_open(self, session_ids: Sequence[str], *, since: int = -1) -> list[str]:
        """Return the sessions among these that have open commands."""
        column, generation = command.c.session_id, command.c.generation
        # During an upgrade, an older version writes 0. Its commands always count.
        is_new = or_(generation > since, generation == 0)
        with self._reading.connection() as connection:
            return [
                session_id
                for chunk in chunks(session_ids, IDS_PER_STATEMENT)
                for session_id in connection.scalars(
                    select(column).where(column.in_(chunk), IS_OPEN_COMMAND, is_new).distinct()
                )
            ]


class CommandWrites(Buffered):
    """Implementation of app.ports.commands.CommandWrites."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._generation = tx.head.generation + 1
        """The number of the transaction's commit."""
        self._new: dict[tuple[str, int], Command] = {}
        self._done: dict[str, None] = {}
        self._moved: dict[str, str] = {}

    @property
    def row_count(self) -> int:
        """The approximate number of buffered rows."""
        return len(self._new) + len(self._done) + len(self._moved)

    def add(self, new: Command) -> None:
        """Store a command. A no-op if there is one with the same run and number."""
        self._tx.changes += 1
        self._tx.news_of.add(new.session_id)
        self._new.setdefault((new.run_id, new.number), new)

    def finish(self, run_id: str) -> None:
        """Close the open commands of a run: it left the state that caused them."""
        self._tx.changes += 1
        self._done[run_id] = None
        for each in self._new.values():
            if each.run_id == run_id and each.done_us is None:
                each.done_us = self._tx.now_us

    def move(self, run_id: str, session_id: str) -> None:
        """Redirect the open commands of a run to the session that took it over."""
        self._tx.changes += 1
        self._tx.news_of.add(session_id)
        self._moved[run_id] = session_id
        for each in self._new.values():
            if each.run_id == run_id and each.done_us is None:
                each.session_id = session_id

    def last_reason(self, run_id: str) -> str | None:
        """Return the reason of the last command about a run, open or done; None without one."""
        self._tx.flush()
        statement = (
            select(command.c.reason)
            .where(command.c.run_id == run_id)
            .order_by(command.c.number.desc())
            .limit(1)
        )
        found: str | None = self._tx.connection.execute(statement).scalar()
        return found

    def delete_of(self, run_ids: Sequence[str]) -> bool:
        """Delete all commands of these runs, and return False. Call it after a flush."""
        self._tx.connection.execute(delete(command).where(command.c.run_id.in_(run_ids)))
        return False

    def write(self) -> None:
        """Write the buffered rows: first the changes of older rows, then the new rows."""
        open_rows = update(command).where(IS_OPEN_COMMAND)
        for run_id, session_id in self._moved.items():
            self._tx.connection.execute(
                open_rows.where(command.c.run_id == run_id).values(
                    session_id=session_id, generation=self._generation
                )
            )
        for run_ids in chunks(list(self._done), IDS_PER_STATEMENT):
            self._tx.connection.execute(
                open_rows.where(command.c.run_id.in_(run_ids)).values(done_us=self._tx.now_us)
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
                    "generation": self._generation,
                }
                for each in self._new.values()
            ]
            self._tx.connection.execute(_INSERT, rows)
        self._moved.clear()
        self._done.clear()
        self._new.clear()
