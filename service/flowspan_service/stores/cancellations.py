"""Cancellations of trees: table, reads, and the work in a unit of work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Table,
    Text,
    bindparam,
    delete,
    false,
    select,
    text,
    true,
    update,
)

from flowspan_service.app.ports.cancellations import OpenBelow
from flowspan_service.app.ports.deletions import Place
from flowspan_service.domain.states import StateType
from flowspan_service.stores import trees
from flowspan_service.stores.ids import Id
from flowspan_service.stores.runs import run
from flowspan_service.stores.schema import metadata
from flowspan_service.stores.under_way import under_way

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flowspan_service.domain.runs import Run
    from flowspan_service.stores.engine.reading import Reading
    from flowspan_service.stores.engine.transaction import Transaction
    from flowspan_service.stores.run_writes import RunWrites

OPEN_AT_ONCE = 200
"""Open runs that are read and asked together."""

_FIRST_CANCELLING = (5, 1, 2, 3, 4)
"""The types of open runs. A run that is asked becomes CANCELLING, and is not found once more."""

cancellation = Table(
    "cancellation",
    metadata,
    Column("run_id", Id, primary_key=True),
    Column("root_run_id", Id, nullable=False),
    Column("begun_us", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("is_walked", Boolean, nullable=False),
    Column("pieces", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""Trees that are being cancelled. Until a row `is_walked`, runs may not have been asked yet, and
any service process finishes it. The row stays until all runs of the tree have ended: it keeps runs
from being created below. `pieces` counts the pieces done: it shows other processes that one is
working on the cancellation.
"""

_UPSERT = text(
    "INSERT INTO cancellation (run_id, root_run_id, begun_us, reason, is_walked, pieces)"
    " VALUES (:run_id, :root_run_id, :begun_us, :reason, false, 0)"
    " ON CONFLICT (run_id) DO UPDATE SET reason = excluded.reason, is_walked = false"
).bindparams(bindparam("run_id", type_=Id), bindparam("root_run_id", type_=Id))


class _Above(NamedTuple):
    """The fields of a run and its ancestors that decide whether it is asked."""

    id: str
    parent_run_id: str | None
    state_type: int
    session_id: str | None


class CancellationReads:
    """Implementation of app.ports.cancellations.CancellationReads."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def unfinished(self) -> dict[str, int]:
        """Return the runs below which runs may not have been asked yet, with the pieces done."""
        columns = cancellation.c
        statement = select(columns.run_id, columns.pieces).where(columns.is_walked == false())
        with self._reading.connection() as connection:
            return {row.run_id: row.pieces for row in connection.execute(statement)}

    def walked(self) -> list[str]:
        """Return the runs below which all runs have been asked."""
        statement = select(cancellation.c.run_id).where(cancellation.c.is_walked == true())
        with self._reading.connection() as connection:
            return list(connection.scalars(statement))


class CancellationWrites:
    """Implementation of app.ports.cancellations.CancellationWrites. Nothing is buffered."""

    def __init__(self, tx: Transaction, runs: RunWrites) -> None:
        self._tx = tx
        self._runs = runs

    def begin(self, run: Run, reason: str) -> None:
        """Record that a run and its descendants are being cancelled; again, if they were before."""
        self._tx.changes += 1
        row = {
            "run_id": run.id,
            "root_run_id": run.root_run_id,
            "begun_us": self._tx.now_us,
            "reason": reason,
        }
        self._tx.connection.execute(_UPSERT, row)
        under_way(self._tx).cancellations.setdefault(run.root_run_id, set()).add(run.id)

    def reason(self, run_id: str) -> str | None:
        """Return the reason of a cancellation that is not walked to its end; None without one."""
        columns = cancellation.c
        statement = select(columns.reason).where(
            columns.run_id == run_id, columns.is_walked == false()
        )
        return self._tx.connection.execute(statement).scalar()

    def covers(self, run: Run) -> bool:
        """Return True if the cancellation of the run or an ancestor has begun."""
        begun = under_way(self._tx).cancellations
        cancelled = begun.get(run.root_run_id) if begun else None
        return cancelled is not None and self._runs.is_below(run, cancelled)

    def open_below(
        self, run_id: str, *, after: Place | None
    ) -> tuple[Sequence[OpenBelow], Place | None]:
        """Search a part of the open runs of a tree for those below a run."""
        self._tx.changes += 1
        self._tx.flush()
        connection = self._tx.connection
        columns = cancellation.c
        counted = {"pieces": columns.pieces + 1}
        connection.execute(update(cancellation).where(columns.run_id == run_id).values(counted))
        root = trees.root_of(connection, run_id)
        if root is None:
            return [], None
        ranges = trees.open_ranges(root, _FIRST_CANCELLING)
        first, after_id = after or (0, None)
        for number in range(first, len(ranges)):
            statement = select(run.c.id).where(*ranges[number]).order_by(run.c.id)
            if after_id is not None and number == first:
                statement = statement.where(run.c.id > after_id)
            ids = list(connection.scalars(statement.limit(OPEN_AT_ONCE)))
            if not ids:
                continue
            place: Place | None = Place(number, ids[-1])
            if len(ids) < OPEN_AT_ONCE:
                place = Place(number + 1, _BEFORE_ALL_IDS) if number + 1 < len(ranges) else None
            return self._below(ids, run_id), place
        return [], None

    def _below(self, ids: Sequence[str], run_id: str) -> list[OpenBelow]:
        chains = self._chains(ids, run_id)
        found = []
        for each in ids:
            is_covered = _is_covered(chains, each, run_id)
            if is_covered is not None:
                found.append(OpenBelow(each, chains[each].session_id, is_covered))
        return found

    def _chains(self, ids: Sequence[str], run_id: str) -> dict[str, _Above]:
        """Return these runs with their ancestors up to a run, by id."""
        columns = (run.c.id, run.c.parent_run_id, run.c.state_type, run.c.session_id)
        # Any, because mypy 2.4 fails (INTERNAL ERROR) over the type of a recursive CTE.
        up: Any = select(*columns).where(run.c.id.in_(ids)).cte("chain", recursive=True)
        # UNION, not UNION ALL: it ends even if clients have reported a cycle of parents.
        up = up.union(
            select(*columns).join(up, run.c.id == up.c.parent_run_id).where(up.c.id != run_id)
        )
        rows = self._tx.connection.execute(select(up))
        return {row[0]: _Above(*row) for row in rows}

    def walked(self, run_id: str) -> None:
        """Record that all runs below have been asked."""
        self._tx.changes += 1
        self._tx.connection.execute(
            update(cancellation).where(cancellation.c.run_id == run_id).values(is_walked=True)
        )

    def end(self, run_id: str) -> None:
        """Forget a cancellation: the run and all runs below have ended."""
        self._tx.changes += 1
        self._tx.connection.execute(delete(cancellation).where(cancellation.c.run_id == run_id))
        self._tx.cache.under_way = None


_BEFORE_ALL_IDS = "00000000-0000-0000-0000-000000000000"
_FIRST_TERMINAL = int(StateType.COMPLETED)


def _is_covered(chains: Mapping[str, _Above], run_id: str, top_id: str) -> bool | None:
    """Return whether a run is stopped with another one; None if it is not below the top.

    It is, if its nearest open ancestor is in the same session, with ended runs of that session in
    between at most. A process that gets no command for it cannot know that it has to stop.
    """
    session_id = chains[run_id].session_id
    is_covered: bool | None = None
    seen = {run_id}
    at = chains[run_id].parent_run_id
    while at is not None and at in chains and at not in seen:
        above = chains[at]
        if is_covered is None:
            if above.session_id != session_id:
                is_covered = False
            elif above.state_type < _FIRST_TERMINAL:
                is_covered = True
        if at == top_id:
            return bool(is_covered)
        seen.add(at)
        at = above.parent_run_id
    return None
