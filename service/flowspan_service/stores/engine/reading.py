"""Connections for reads, in threads of the caller."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from flowspan_service.domain.errors import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection

    from flowspan_service.stores.dialects.base import Dialect

FEW_ROWS = 100
"""A page up to this size is fetched at once: on PostgreSQL, streaming takes two round trips more.
"""
ROWS_BUFFERED = 64
"""Rows fetched at once from longer pages: log records of the largest size are then 16 MiB."""


class Reading:
    """The read side of a database, shared by the reads of all nouns."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect

    @contextlib.contextmanager
    def connection(self) -> Iterator[Connection]:
        """Give a connection of the pool."""
        with self.explained(), self.dialect.reading.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Raise the errors of the database as StoreUnavailableError."""
        if self.dialect.gone is not None:
            raise StoreUnavailableError(self.dialect.gone)
        try:
            yield
        except PoolTimeoutError as error:
            raise StoreUnavailableError("All connections to the database are busy.") from error
        except Exception as error:
            reason = self.dialect.explain(error)
            if reason is None:
                raise
            raise StoreUnavailableError(reason) from error


def rows_buffered(limit: int) -> int:
    """Return the number of rows to fetch at once for a page of that size; 0 for all."""
    return ROWS_BUFFERED if limit > FEW_ROWS else 0


def streaming(connection: Connection, limit: int) -> Connection:
    """Return the connection, fetching the rows of a long page a few at a time."""
    buffered = rows_buffered(limit)
    return connection.execution_options(yield_per=buffered) if buffered else connection
