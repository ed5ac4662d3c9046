"""The store: the writer, and the reads of each noun, over one database."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import select

from flowspan_service.app.ports import Heads
from flowspan_service.stores.engine.reading import Reading
from flowspan_service.stores.engine.writer import Writer
from flowspan_service.stores.nouns import AllReads
from flowspan_service.stores.schema import SCHEMA_VERSION, head

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from flowspan_service.app.ports import (
        Clock,
        CommitListener,
        Identity,
        NewsListener,
        Operation,
        WriteListener,
        WriteTimes,
    )
    from flowspan_service.stores.dialects.base import Dialect

T = TypeVar("T")


class SqlStore(AllReads):
    """Implementation of app.ports.Store. Created by `opening.open_store`."""

    def __init__(
        self,
        dialect: Dialect,
        *,
        identity: Identity,
        clock: Clock,
        on_point: Callable[[str], None] | None = None,
    ) -> None:
        self.identity = identity
        self._dialect = dialect
        self._reading = reading = Reading(dialect)
        super().__init__(reading)
        self._writer = Writer(dialect, clock, on_point)

    def submit(self, operation: Operation[T]) -> Future[T]:
        """Queue a change. The future is resolved after the commit."""
        return self._writer.submit(operation)

    @property
    def queued_weight(self) -> int:
        """The weight of the waiting operations."""
        return self._writer.queued_weight

    @property
    def queued_operation_count(self) -> int:
        """The number of waiting operations."""
        return self._writer.queued_operation_count

    @property
    def is_local(self) -> bool:
        """True if reading a row takes less time than waking another thread to read it."""
        return self._dialect.is_local

    @property
    def is_shared(self) -> bool:
        """True if other service processes may use the same database."""
        return self._dialect.is_shared

    @property
    def gone(self) -> str | None:
        """The reason why the opened database is gone; None if it is there."""
        return self._dialect.gone

    def problem(self) -> str | None:
        """Check the database; return why it is unusable, or None. May block for seconds."""
        return self._dialect.look() or self._writer.problem

    def write_times(self) -> WriteTimes:
        """Return the longest times that a transaction held the writer."""
        return self._writer.write_times()

    def position(self) -> int:
        """Return the position of the last committed transition; 0 for an empty store."""
        with self._reading.connection() as connection:
            return int(connection.execute(select(head.c.position)).scalar_one())

    def log_position(self) -> int:
        """Return the position of the last committed log record; 0 for an empty store."""
        with self._reading.connection() as connection:
            return int(connection.execute(select(head.c.log_position)).scalar_one())

    def heads(self) -> Heads:
        """Return the progress of the database."""
        with self._reading.connection() as connection:
            return Heads(*connection.execute(select(head.c.position, head.c.log_position)).one())

    def generation(self) -> int:
        """Return the number of commits, of all service processes over the database."""
        with self._reading.connection() as connection:
            return int(connection.execute(select(head.c.generation)).scalar_one())

    def size_bytes(self) -> int:
        """Return the size of the database; 0 if it is unknown."""
        with self._reading.connection() as connection:
            return self._dialect.size_bytes(connection)

    def on_commit(self, listener: CommitListener) -> None:
        """Call the listener after each commit that changed something, in the writer's thread."""
        self._writer.on_commit(listener)

    def on_write(self, listener: WriteListener) -> None:
        """Call the listener after each commit that changed something, in the writer's thread."""
        self._writer.on_write(listener)

    def on_session_news(self, listener: NewsListener) -> None:
        """Call the listener after commits with the sessions that got a command or ended."""
        self._writer.on_session_news(listener)

    def schema_version(self) -> str:
        """Return the version of the schema."""
        return SCHEMA_VERSION

    def close(self) -> None:
        """Commit the waiting operations, and end the writer."""
        self._writer.close()
        self._dialect.dispose()
