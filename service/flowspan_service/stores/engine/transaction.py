"""The transaction that the writers of all nouns share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Connection

    from flowspan_service.stores.dialects.base import Dialect, Head
    from flowspan_service.stores.engine.budget import Budget
    from flowspan_service.stores.engine.cache import Cache


class Transaction:
    """The state of one transaction.

    Attributes:
        dialect: The database.
        connection: The writer's connection.
        null: The value that stands for NULL in rows for the dialect.
        head: The row `head` at the beginning.
        cache: The memory of the writer between transactions.
        budget: The bytes that the transaction may touch.
        now_us: The wall clock at the beginning.
        changes: The number of calls that changed something. It shows whether a failed operation has
            changed anything.
        position: The position of the last transition.
        log_position: The position of the last log record.
        news_of: The sessions that got a command, or ended.
        roots: The roots of changed trees, besides those of the runs that are written.
        flush: Writes the buffered rows, so that queries see them.
    """

    __slots__ = (
        *("budget", "cache", "changes", "connection", "dialect", "flush", "head", "log_position"),
        *("news_of", "now_us", "null", "position", "roots"),
    )

    def __init__(
        self,
        dialect: Dialect,
        connection: Connection,
        head: Head,
        cache: Cache,
        budget: Budget,
        *,
        now_us: int,
        flush: Callable[[], None],
    ) -> None:
        self.dialect = dialect
        self.connection = connection
        self.null = dialect.null
        self.head = head
        self.cache = cache
        self.budget = budget
        self.now_us = now_us
        self.changes = 0
        self.position = head.position
        self.log_position = head.log_position
        self.news_of: set[str] = set()
        self.roots: set[str] = set()
        self.flush = flush


class NounWrites(Protocol):
    """The buffered rows of a noun in a transaction."""

    def prepare(self) -> None:
        """Read what `write` needs. In `write`, answers of the database may come late."""
        ...

    @property
    def row_count(self) -> int:
        """The approximate number of buffered rows; 0 if there is nothing to write."""
        ...

    def write(self) -> None:
        """Write the buffered rows. Called only if there are some."""
        ...


class Buffered:
    """A base for the writers of nouns that prepare nothing."""

    def prepare(self) -> None:
        """Do nothing."""
