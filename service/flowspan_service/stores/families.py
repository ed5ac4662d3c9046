"""Families: runs that arrived before their parents, and the places of their descendants.

A family that moves below another root moves from the top down, each run before its children: a run
that is created below meanwhile takes its place from its parent, or is found with its siblings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Table,
    and_,
    bindparam,
    delete,
    insert,
    or_,
    select,
    text,
    tuple_,
    update,
)

from flowspan_service.domain.rules.families import flow_run_below, put_below
from flowspan_service.domain.runs import RunKind
from flowspan_service.stores.artifacts import artifact
from flowspan_service.stores.cancellations import cancellation
from flowspan_service.stores.deletions import deletion
from flowspan_service.stores.engine.bulk import IDS_PER_STATEMENT, chunks
from flowspan_service.stores.ids import Id
from flowspan_service.stores.logs import log
from flowspan_service.stores.runs import run
from flowspan_service.stores.schema import metadata
from flowspan_service.stores.under_way import under_way

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowspan_service.domain.runs import Run
    from flowspan_service.stores.engine.reading import Reading
    from flowspan_service.stores.engine.transaction import Transaction
    from flowspan_service.stores.run_writes import RunWrites

MOVED_AT_ONCE = 200
"""Runs, or log records, that are moved together."""

_FLOW = int(RunKind.FLOW)

orphan = Table(
    "orphan",
    metadata,
    Column("parent_run_id", Id, primary_key=True),
    Column("run_id", Id, primary_key=True),
    Column("created_us", BigInteger, nullable=False),
    Index("orphan_by_time", "created_us"),
    sqlite_with_rowid=False,
)
"""Runs whose parents have not arrived yet."""

family_move = Table(
    "family_move",
    metadata,
    Column("run_id", Id, primary_key=True),
    sqlite_with_rowid=False,
)
"""Runs that have their places, but their children and log records do not: any service process that
finds one continues."""

_INSERT_MOVE = text(
    "INSERT INTO family_move (run_id) VALUES (:run_id) ON CONFLICT (run_id) DO NOTHING"
).bindparams(bindparam("run_id", type_=Id))


class FamilyReads:
    """Implementation of app.ports.families.FamilyReads."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def due(self, *, limit: int) -> tuple[list[str], bool]:
        """Return parents that arrived while runs wait for them, and whether moves remain."""
        arrived = select(orphan.c.parent_run_id).join(run, run.c.id == orphan.c.parent_run_id)
        with self._reading.connection() as connection:
            parents = list(connection.scalars(arrived.distinct().limit(limit)))
            move = connection.execute(select(family_move.c.run_id).limit(1)).scalar()
        return parents, move is not None


class FamilyWrites:
    """Implementation of app.ports.families.FamilyWrites."""

    def __init__(self, tx: Transaction, runs: RunWrites) -> None:
        self._tx = tx
        self._runs = runs
        self._new: list[dict[str, Any]] = []
        """Buffered rows of `orphan`."""

    @property
    def has_orphans(self) -> bool:
        """True if a run waits for its parent."""
        return under_way(self._tx).has_orphans

    def wait_for_parent(self, run: Run) -> None:
        """Note that a run was created before its parent."""
        row = {
            "parent_run_id": run.parent_run_id,
            "run_id": run.id,
            "created_us": self._tx.now_us,
        }
        self._new.append(row)
        under_way(self._tx).has_orphans = True

    def prepare(self) -> None:
        """Do nothing: `write` needs no answers."""

    @property
    def row_count(self) -> int:
        """The number of buffered rows."""
        return len(self._new)

    def write(self) -> None:
        """Write the buffered rows."""
        self._tx.connection.execute(insert(orphan), self._new)
        self._new.clear()

    def waiting_for(self, parent_ids: Sequence[str]) -> list[str]:
        """Return the ids of the runs that wait for these parents."""
        self._tx.flush()
        return [
            run_id
            for chunk in chunks(list(parent_ids), IDS_PER_STATEMENT)
            for run_id in self._tx.connection.scalars(
                select(orphan.c.run_id).where(orphan.c.parent_run_id.in_(chunk))
            )
        ]

    def adopt(self, parent_ids: Sequence[str], *, limit: int) -> list[Run]:
        """Put some waiting runs below their parents, which have arrived."""
        self._tx.flush()
        for chunk in chunks(list(parent_ids), IDS_PER_STATEMENT):
            statement = select(orphan.c.parent_run_id, orphan.c.run_id).where(
                orphan.c.parent_run_id.in_(chunk)
            )
            while rows := self._tx.connection.execute(statement.limit(limit)).all():
                # None of these is left if they were deleted meanwhile.
                if adopted := self._adopt([tuple(row) for row in rows]):
                    return adopted
        return []

    def _adopt(self, pairs: list[tuple[Any, ...]]) -> list[Run]:
        self._tx.changes += 1
        self._runs.preload({run_id for pair in pairs for run_id in pair})
        adopted: list[Run] = []
        for parent_id, run_id in pairs:
            parent, child = self._runs.get(parent_id), self._runs.get(run_id)
            if child is None or parent is None:
                continue
            adopted.append(child)
            before = child.root_run_id, child.flow_run_id
            put_below(child, parent)
            if before != (child.root_run_id, child.flow_run_id):
                self._tx.roots.update((before[0], child.root_run_id))
                self._place([child.id], child.root_run_id, child.flow_run_id)
                self._move_later([child.id])
        self._tx.connection.execute(
            delete(orphan).where(tuple_(orphan.c.parent_run_id, orphan.c.run_id).in_(pairs))
        )
        self._tx.cache.under_way = None
        return adopted

    def move_some(self) -> bool:
        """Give some descendants of adopted runs their places; return False if none is left."""
        if not under_way(self._tx).has_moves:
            return False
        self._tx.flush()
        run_id = self._tx.connection.execute(select(family_move.c.run_id).limit(1)).scalar()
        if run_id is None:
            self._tx.cache.under_way = None
            return False
        self._tx.changes += 1
        head = self._runs.get(run_id)
        if head is None or not (self._move_logs(head) or self._move_children(head)):
            self._tx.connection.execute(delete(family_move).where(family_move.c.run_id == run_id))
        return True

    def _move_logs(self, head: Run) -> bool:
        """Move some log records of a run to its root; return False if all are there."""
        place = log.c.root_run_id, log.c.position
        wrong = select(*place).where(log.c.run_id == head.id, log.c.root_run_id != head.root_run_id)
        keys = [tuple(row) for row in self._tx.connection.execute(wrong.limit(MOVED_AT_ONCE))]
        if keys:
            there = update(log).where(tuple_(*place).in_(keys))
            self._tx.connection.execute(there.values(root_run_id=head.root_run_id))
        return bool(keys)

    def _move_children(self, head: Run) -> bool:
        """Put some children of a run below it; return False if all are."""
        flow = flow_run_below(head)
        is_elsewhere = run.c.root_run_id != head.root_run_id
        other_flow = run.c.flow_run_id.is_distinct_from(flow)
        wrong = (
            select(run.c.id, run.c.kind, run.c.root_run_id)
            .where(run.c.parent_run_id == head.id)
            .where(or_(is_elsewhere, and_(run.c.kind != _FLOW, other_flow)))
            .limit(MOVED_AT_ONCE)
        )
        rows = self._tx.connection.execute(wrong).all()
        for kind in {row.kind for row in rows}:
            ids = [row.id for row in rows if row.kind == kind]
            self._place(ids, head.root_run_id, None if kind == _FLOW else flow)
        ids = [row.id for row in rows]
        self._tx.roots.update(row.root_run_id for row in rows)
        self._move_later(self._with_more_to_move(ids))
        return bool(rows)

    def _with_more_to_move(self, run_ids: Sequence[str]) -> set[str]:
        """Return the runs among these that have children or log records."""
        if not run_ids:
            return set()
        children = select(run.c.parent_run_id).where(run.c.parent_run_id.in_(run_ids)).distinct()
        logs = select(log.c.run_id).where(log.c.run_id.in_(run_ids)).distinct()
        connection = self._tx.connection
        return {*connection.scalars(children), *connection.scalars(logs)}

    def _move_later(self, run_ids: Sequence[str] | set[str]) -> None:
        if run_ids:
            rows = [{"run_id": run_id} for run_id in run_ids]
            self._tx.connection.execute(_INSERT_MOVE, rows)
            under_way(self._tx).has_moves = True

    def _place(self, run_ids: Sequence[str], root_run_id: str, flow_run_id: str | None) -> None:
        """Store the root and the flow run of runs, in all tables that name them."""
        connection = self._tx.connection
        family = {"root_run_id": root_run_id, "flow_run_id": flow_run_id}
        connection.execute(update(run).where(run.c.id.in_(run_ids)).values(family))
        self._runs.place(run_ids, root_run_id, flow_run_id)
        of_flows = select(run.c.id).where(run.c.id.in_(run_ids), run.c.kind == _FLOW)
        of_runs = artifact.c.run_id.in_(run_ids)
        connection.execute(update(artifact).where(of_runs).values(root_run_id=root_run_id))
        of_tasks = update(artifact).where(of_runs, artifact.c.run_id.not_in(of_flows))
        connection.execute(of_tasks.values(flow_run_id=flow_run_id))
        for table in (deletion, cancellation):
            moved = update(table).where(table.c.run_id.in_(run_ids))
            connection.execute(moved.values(root_run_id=root_run_id))
        self._tx.cache.under_way = None

    def forget(self, *, created_before_us: int) -> int:
        """Stop waiting for the parents of older runs; return the number of these runs."""
        self._tx.flush()
        old = delete(orphan).where(orphan.c.created_us < created_before_us)
        count = self._tx.connection.execute(old).rowcount
        if count:
            self._tx.changes += 1
            self._tx.cache.under_way = None
        return count
