"""The unit of work: a transaction, buffered until it is written in a few large statements."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from sqlalchemy import update

from flowspan_service.stores.dialects.base import Head
from flowspan_service.stores.engine.budget import Budget
from flowspan_service.stores.engine.transaction import Transaction
from flowspan_service.stores.nouns import AllWrites
from flowspan_service.stores.schema import head as head_table

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable, Iterable

    from sqlalchemy.engine import Connection

    from flowspan_service.domain.runs import Run
    from flowspan_service.stores.dialects.base import Dialect
    from flowspan_service.stores.engine.cache import Cache


class SqlUnitOfWork(AllWrites):
    """Implementation of app.ports.UnitOfWork. Used by the writer's thread alone."""

    def __init__(
        self,
        dialect: Dialect,
        connection: Connection,
        head: Head,
        cache: Cache,
        *,
        now_us: int,
        is_spent: Callable[[], bool] = lambda: False,
    ) -> None:
        self.now_us = now_us
        self.budget = Budget(is_spent)
        # A strong reference would be a cycle, and keep each transaction's rows until the garbage
        # collector runs, which is rare (see `process.tuning`).
        unit = weakref.ref(self)
        self._tx = tx = Transaction(
            dialect, connection, head, cache, self.budget, now_us=now_us, flush=lambda: _flush(unit)
        )
        super().__init__(tx)

    @property
    def changes(self) -> int:
        """The number of calls that changed something."""
        return self._tx.changes

    def is_spent(self) -> bool:
        """Return True if the transaction has lasted long enough: other operations wait for it."""
        return self.budget.is_full or self.budget.is_late()

    def preload(self, run_ids: Iterable[str]) -> None:
        """Load runs that operations will ask for, in few statements, unless they are large."""
        self.runs.preload(run_ids)

    def preload_sessions(self, session_ids: Iterable[str | None]) -> None:
        """Load sessions that operations will ask for, in few statements."""
        self.sessions.preload(session_ids)

    def flush(self) -> None:
        """Write the buffered rows, so that queries see them."""
        with self._together():
            self._write()

    def finish(self) -> Head:
        """Write the buffered rows and the new row of the table `head`; return the row."""
        tx = self._tx
        with self._together():
            self._write()
            head = Head(
                tx.position,
                tx.log_position,
                tx.head.generation + 1,
                max(tx.head.latest_us, tx.now_us),
            )
            tx.connection.execute(update(head_table).values(head._asdict()))
        return head

    def _together(self) -> contextlib.AbstractContextManager[None]:
        for each in self.buffers:
            each.prepare()
        row_count = sum(each.row_count for each in self.buffers)
        return self._tx.dialect.together(self._tx.connection, row_count=row_count)

    def _write(self) -> None:
        for each in self.buffers:
            if each.row_count:
                each.write()

    def changed_roots(self) -> set[str]:
        """Return the roots of the trees that changed; call it after `finish`."""
        return self.runs.roots() | self._tx.roots

    def news_of_sessions(self) -> set[str]:
        """Return the sessions that got a command, or ended; call it after `finish`."""
        return self._tx.news_of

    def ended_runs(self) -> list[Run]:
        """Return the runs that entered a terminal state and are in one; call it after `finish`."""
        return self.runs.ended()

    def rolled_back_runs(self) -> set[str]:
        """Return those among `ended_runs` that had ended in an earlier commit."""
        return self.runs.rolled_back


def _flush(unit: weakref.ref[SqlUnitOfWork]) -> None:
    alive = unit()
    if alive is not None:
        alive.flush()
