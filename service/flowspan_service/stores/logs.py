"""Log records: table, row mapping, reads, and writes in a unit of work.

A page is one range of an index, of which a call searches only a part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    Table,
    Text,
    and_,
    func,
    or_,
    select,
)

from flowspan_service.app.ports.logs import LogPage
from flowspan_service.domain.logs import LogEntry
from flowspan_service.stores import trees
from flowspan_service.stores.engine.bounds import fetch_page, text_bytes
from flowspan_service.stores.engine.bulk import flat, weighed
from flowspan_service.stores.engine.reading import rows_buffered
from flowspan_service.stores.ids import Id, to_bytes
from flowspan_service.stores.schema import head, metadata

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.engine import Connection

    from flowspan_service.app.ports.logs import LogQuery
    from flowspan_service.stores.engine.reading import Reading
    from flowspan_service.stores.engine.transaction import Transaction
    from flowspan_service.stores.run_writes import RunWrites

SCAN_LIMIT = 50_000
"""Maximum number of records that one call searches; this takes some tenths of a second."""
RECORD_BYTES = 100
"""The approximate size of the ids, times, numbers and names in a record's message."""
LOG_STATEMENT_CHARACTERS = 4_000_000
CHARACTERS_PER_ROW = 8_000
"""The number of characters of messages that counts as one more row."""

log = Table(
    "log",
    metadata,
    Column("root_run_id", Id, primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("run_id", Id, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("level", Integer, nullable=False),
    Column("chunk_index", Integer, nullable=False),
    Column("chunk_count", Integer, nullable=False),
    Column("time_us", BigInteger, nullable=False),
    Column("logger", Text, nullable=False),
    Column("trace_id", Text, nullable=False),
    Column("span_id", Text, nullable=False),
    Column("message", Text, nullable=False),
    Index("log_by_run", "run_id", "position"),
    sqlite_with_rowid=False,
)
"""Log records, in the order of trees: the records of a whole tree are one range."""


def log_of(row: Sequence[Any]) -> LogEntry:
    """Return the log record in a row of `log` with ids as text."""
    (
        _root, position, run_id, attempt, level, chunk_index, chunk_count, time_us,
        logger, trace_id, span_id, message,
    ) = row  # fmt: skip
    return LogEntry(
        run_id=run_id,
        attempt=attempt,
        level=level,
        time_us=time_us,
        logger=logger,
        message=message,
        trace_id=trace_id,
        span_id=span_id,
        chunk_index=chunk_index,
        chunk_count=chunk_count,
        position=position,
    )


def log_bytes(entry: LogEntry) -> int:
    """Return the approximate size of a record's message."""
    return RECORD_BYTES + text_bytes(entry.logger) + text_bytes(entry.message)


def _characters(entry: LogEntry) -> int:
    return len(entry.message)


class LogReads:
    """Implementation of app.ports.logs.LogReads."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def list(self, query: LogQuery) -> LogPage:
        """Return a page of log records."""
        find = "instr" if self._reading.dialect.name == "sqlite" else "strpos"
        with self._reading.connection() as connection:
            statement = LogStatement(connection, query, text_position=find)
            page = fetch_page(
                connection,
                statement.records(),
                log_of,
                log_bytes,
                query,
                rows_buffered=rows_buffered(query.limit),
            )
        if page.has_more:
            return LogPage(page.items, page.items[-1].position, has_more=True)
        if statement.end is not None:
            return LogPage(page.items, statement.end, has_more=True)
        # Records that were committed in the meantime were read up to the last one of the page.
        last = page.items[-1].position if page.items else 0
        looked_at = max(query.after_position, statement.newest, last)
        return LogPage(page.items, looked_at, has_more=False)


class LogWrites:
    """Implementation of app.ports.logs.LogWrites."""

    def __init__(self, tx: Transaction, runs: RunWrites) -> None:
        self._tx = tx
        self._runs = runs
        self._logs: list[LogEntry] = []

    def add(self, entries: Sequence[LogEntry]) -> None:
        """Store log records, in order."""
        if entries:
            self._tx.changes += 1
            self._logs.extend(entries)

    def prepare(self) -> None:
        """Load the runs of the records: their rows name the roots of the runs."""
        if self._logs:
            self._runs.preload({entry.run_id for entry in self._logs})

    @property
    def row_count(self) -> int:
        """The approximate number of buffered rows; a long record counts as many."""
        logs = len(self._logs)
        return logs and logs + sum(map(_characters, self._logs)) // CHARACTERS_PER_ROW

    def write(self) -> None:
        """Write the buffered records."""
        for piece in weighed(self._logs, _characters, LOG_STATEMENT_CHARACTERS):
            values = flat(map(self._log_row, piece))
            self._tx.dialect.insert(self._tx.connection, log, values)
        self._logs.clear()

    def _log_row(self, entry: LogEntry) -> tuple[Any, ...]:
        run = self._runs.get(entry.run_id)
        root_run_id = run.root_run_id if run is not None else entry.run_id
        self._tx.roots.add(root_run_id)
        self._tx.log_position += 1
        entry.position = self._tx.log_position
        return (
            to_bytes(root_run_id),
            entry.position,
            to_bytes(entry.run_id),
            entry.attempt,
            entry.level,
            entry.chunk_index,
            entry.chunk_count,
            entry.time_us,
            entry.logger,
            entry.trace_id,
            entry.span_id,
            entry.message,
        )


class LogStatement:
    """Result of one call: the matching records in the part that it searched.

    Attributes:
        end: The position up to which the call searches; None if it searches all records.
        newest: The position of the newest record.
    """

    def __init__(self, connection: Connection, query: LogQuery, *, text_position: str) -> None:
        """Choose the range.

        Args:
            connection: The database.
            query: The query.
            text_position: The function that finds a string in another: instr or strpos.
        """
        self._query = query
        self._text_position = getattr(func, text_position)
        # First the newest: commits during this call belong to the next one.
        self.newest = int(connection.execute(select(head.c.log_position)).scalar_one())
        self._scope = and_(*_scope(connection, query), *self._begin())
        self._filters = self._residual()
        self.end = self._look_ahead(connection) if self._filters else None

    def records(self) -> Select[*tuple[Any, ...]]:
        """Return the records, one more than the limit, in the requested order."""
        statement = select(log).where(self._scope, *self._filters)
        if self.end is not None:
            is_newest_first = self._query.newest_first
            end = log.c.position >= self.end if is_newest_first else log.c.position <= self.end
            statement = statement.where(end)
        return statement.order_by(self._order()).limit(self._query.limit + 1)

    def _begin(self) -> list[ColumnElement[bool]]:
        after = self._query.after_position
        if not self._query.newest_first:
            return [log.c.position > after]
        return [log.c.position < after] if after else []

    def _look_ahead(self, connection: Connection) -> int | None:
        statement = select(log.c.position).where(self._scope).order_by(self._order())
        return connection.execute(statement.limit(1).offset(SCAN_LIMIT - 1)).scalar()

    def _order(self) -> ColumnElement[int]:
        return log.c.position.desc() if self._query.newest_first else log.c.position.asc()

    def _residual(self) -> list[ColumnElement[bool]]:
        """Return the conditions that no index helps with."""
        query, columns = self._query, log.c
        found: list[ColumnElement[bool]] = []
        if query.min_level:
            found.append(columns.level >= query.min_level)
        if query.loggers:
            found.append(or_(*(_is_below(name) for name in query.loggers)))
        if query.logged_after_us is not None:
            found.append(columns.time_us >= query.logged_after_us)
        if query.message_contains:
            has_text = self._text_position(columns.message, query.message_contains) > 0
            found.append(or_(columns.chunk_count > 1, has_text))
        return found


def _scope(connection: Connection, query: LogQuery) -> list[ColumnElement[bool]]:
    """Return the scope of a query: a range of the table, or of its index by run."""
    if not query.include_descendants:
        return [log.c.run_id == query.run_id]
    root = trees.root_of(connection, query.run_id) or query.run_id
    of_tree = log.c.root_run_id == root
    if root == query.run_id:
        return [of_tree]
    return [of_tree, log.c.run_id.in_(trees.tree_ids(query.run_id, is_root=False))]


def _is_below(logger: str) -> ColumnElement[bool]:
    # SQLite compares LIKE without regard to case.
    start = f"{logger}."
    return or_(log.c.logger == logger, func.substr(log.c.logger, 1, len(start)) == start)
