"""The store: the writer and the reads over one database."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from flowspan_service.stores.engine.writer import Writer
from flowspan_service.stores.object_reads import ObjectReads
from flowspan_service.stores.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from flowspan_service.app.ports import Clock, CommitListener, Identity, Operation, WriteTimes
    from flowspan_service.stores.dialects.base import Dialect

T = TypeVar("T")


class SqlStore(ObjectReads):
    """See app.ports.Store. Made by `opening.open_store`."""

    def __init__(
        self,
        dialect: Dialect,
        *,
        identity: Identity,
        clock: Clock,
        on_point: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(dialect)
        self.identity = identity
        self._writer = Writer(dialect, clock, on_point)

    def submit(self, operation: Operation[T]) -> Future[T]:
        """See app.ports.Store."""
        return self._writer.submit(operation)

    @property
    def gone(self) -> str | None:
        """See app.ports.Store."""
        return self._dialect.gone

    def problem(self) -> str | None:
        """See app.ports.Store."""
        return self._dialect.look() or self._writer.problem

    @property
    def queued_weight(self) -> int:
        """See app.ports.Store."""
        return self._writer.queued_weight

    def write_times(self) -> WriteTimes:
        """See app.ports.Store."""
        return self._writer.write_times()

    def on_commit(self, listener: CommitListener) -> None:
        """See app.ports.Store."""
        self._writer.on_commit(listener)

    def schema_version(self) -> str:
        """See app.ports.Store."""
        return SCHEMA_VERSION

    def close(self) -> None:
        """See app.ports.Store."""
        self._writer.close()
        self._dialect.dispose()
