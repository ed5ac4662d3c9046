"""Pages of log records: one range of an index each, of which a call looks through a part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, or_, select

from flowspan_service.stores import trees
from flowspan_service.stores.schema import head, log

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.engine import Connection

    from flowspan_service.app.queries import LogQuery

SCAN_LIMIT = 50_000
"""Maximum number of records that one call searches; this takes some tenths of a second."""


class LogStatement:
    """Result of one call: the matching records in the part that it searched.

    Attributes:
        end: The position up to which it looks; None if it looks through all there are.
        newest: The position of the newest record there is.
    """

    def __init__(self, connection: Connection, query: LogQuery, *, text_position: str) -> None:
        """Choose the range.

        Args:
            connection: The database.
            query: The query.
            text_position: The function that finds a text in another: instr or strpos.
        """
        self._query = query
        self._text_position = getattr(func, text_position)
        # First the newest: what is committed while we look belongs to the next call.
        self.newest = int(connection.execute(select(head.c.log_position)).scalar_one())
        self._scope = and_(*_scope(connection, query), *self._begin())
        self._filters = self._residual()
        self.end = self._look_ahead(connection) if self._filters else None

    def records(self) -> Select[*tuple[Any, ...]]:
        """The records, one more than the limit, in the order asked for."""
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
        """The conditions that no index helps with."""
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
    """Whose records: a range of the table, or of its index by run."""
    if not query.include_descendants:
        return [log.c.run_id == query.run_id]
    root = trees.root_of(connection, query.run_id) or query.run_id
    of_tree = log.c.root_run_id == root
    if root == query.run_id:
        return [of_tree]
    return [of_tree, log.c.run_id.in_(trees.tree_ids(query.run_id, is_root=False))]


def _is_below(logger: str) -> ColumnElement[bool]:
    # Not LIKE, which SQLite compares without regard to case.
    start = f"{logger}."
    return or_(log.c.logger == logger, func.substr(log.c.logger, 1, len(start)) == start)
