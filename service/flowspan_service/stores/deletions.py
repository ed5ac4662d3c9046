"""Deletions of trees: tables, reads, and the work in a unit of work.

A tree is deleted in pieces, each small enough for a transaction that others wait for. The data
makes sense to readers after any piece: a run goes in one piece with its whole history, and after
its descendants. A tree is found by its parents and not by its ids, which clients choose.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple, Protocol

from sqlalchemy import (
    BigInteger,
    Column,
    Table,
    bindparam,
    delete,
    func,
    insert,
    select,
    tuple_,
    update,
)

from flowspan_service.app.ports.deletions import Place
from flowspan_service.domain.states import TERMINAL_TYPES
from flowspan_service.stores import trees
from flowspan_service.stores.engine.bulk import IDS_PER_STATEMENT, chunks
from flowspan_service.stores.ids import Id
from flowspan_service.stores.logs import log
from flowspan_service.stores.runs import (
    IS_BELOW_ROOT,
    IS_NOT_CHILD_OF_ROOT,
    SELECTED,
    run,
    run_of,
    run_tag,
)
from flowspan_service.stores.schema import metadata
from flowspan_service.stores.transitions import history, history_positions, transition
from flowspan_service.stores.under_way import under_way

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import ColumnElement

    from flowspan_service.domain.runs import Run
    from flowspan_service.stores.engine.reading import Reading
    from flowspan_service.stores.engine.transaction import Transaction
    from flowspan_service.stores.run_writes import RunWrites

CHILDREN = 200
"""Children of a run that are read together."""
PIECE_TRANSITIONS = 600
PIECE_BYTES = 2_000_000
PIECE_LOGS = 200
"""Records of the largest size are 50 MiB."""
OPEN_RUNS = 500
SINGLE_LOOK_UPS = 4
"""Absent runs that are looked up one by one among the deleted ones."""


deleted_run = Table(
    "deleted_run",
    metadata,
    Column("id", Id, primary_key=True),
    sqlite_with_rowid=False,
)
"""Runs that were deleted before they had ended: their processes must stop."""

deletion = Table(
    "deletion",
    metadata,
    Column("run_id", Id, primary_key=True),
    Column("root_run_id", Id, nullable=False),
    Column("begun_us", BigInteger, nullable=False),
    Column("history_position", BigInteger, nullable=False),
    Column("pieces", BigInteger, nullable=False, server_default="0"),
    sqlite_with_rowid=False,
)
"""Trees whose deletion began and takes several transactions: any service process that finds one
finishes it. `history_position` is the newest remaining transition of a run that is gone already,
for a history too long for one transaction (0: none). `pieces` counts the pieces done: it shows
other processes that one is working on the deletion.
"""


class _Doomed(NamedTuple):
    """The fields of a run that its deletion needs."""

    id: str
    kind: int
    state_type: int
    position: int
    transition_count: int
    has_tags: bool
    size_bytes: int


_DOOMED = (
    run.c.id,
    run.c.kind,
    run.c.state_type,
    run.c.position,
    run.c.transition_count,
    run.c.tags.is_not(None),
    # The last state's payloads are in its transition, too.
    func.coalesce(func.length(run.c.parameters), 0)
    + func.coalesce(func.length(run.c.inputs), 0)
    + 2 * func.coalesce(func.length(run.c.state_result), 0)
    + 2 * func.coalesce(func.length(run.c.state_failure), 0),
)


class RowsOfRuns(Protocol):
    """The writes of a noun whose rows are deleted with their run."""

    def delete_of(self, run_ids: Sequence[str]) -> bool:
        """Delete some rows of these runs; return True if there may be more."""
        ...


class DeletionReads:
    """Implementation of app.ports.deletions.DeletionReads."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def begun(self) -> dict[str, int]:
        """Return the runs whose deletion began and is not finished, with the pieces done."""
        with self._reading.connection() as connection:
            rows = connection.execute(select(deletion.c.run_id, deletion.c.pieces))
            return {row.run_id: row.pieces for row in rows}


class DeletionWrites:
    """Implementation of app.ports.deletions.DeletionWrites. Nothing is buffered."""

    def __init__(
        self,
        tx: Transaction,
        runs: RunWrites,
        of_runs: Sequence[RowsOfRuns],
    ) -> None:
        self._tx = tx
        self._runs = runs
        self._of_runs = of_runs
        self._looked_up: set[str] = set()
        """The runs that were looked up among the deleted ones."""
        self._deleted: set[str] = set()

    def begun(self) -> Collection[str]:
        """Return the runs whose deletion, with all descendants, began and is not finished."""
        return set().union(*self._by_root().values())

    def begin(self, run: Run) -> None:
        """Record that a run and its descendants are being deleted."""
        self._tx.changes += 1
        row = {
            "run_id": run.id,
            "root_run_id": run.root_run_id,
            "begun_us": self._tx.now_us,
            "history_position": 0,
        }
        self._tx.connection.execute(insert(deletion), row)
        self._tx.cache.under_way = None

    def end(self, run_id: str) -> None:
        """Record that the deletion is finished."""
        self._tx.changes += 1
        self._tx.connection.execute(delete(deletion).where(deletion.c.run_id == run_id))
        self._tx.cache.under_way = None

    def covers(self, run: Run) -> bool:
        """Return True if the run or an ancestor is being deleted. Cheap if no run is."""
        begun = self._by_root()
        doomed = begun.get(run.root_run_id) if begun else None
        if doomed is None:
            return False
        return self._runs.is_below(run, doomed)

    def _by_root(self) -> dict[str, set[str]]:
        return under_way(self._tx).deletions

    def was_deleted(self, run_id: str) -> bool:
        """Return True if a run was deleted before it had ended. Ask only about absent runs."""
        if run_id not in self._looked_up:
            self._look_up_deleted(run_id)
        return run_id in self._deleted

    def _look_up_deleted(self, run_id: str) -> None:
        """Look up whether a run was deleted; after a few look-ups, all absent runs together.

        A batch may name 20,000 runs that do not exist; one statement each took four seconds.
        """
        wanted = [run_id]
        if len(self._looked_up) >= SINGLE_LOOK_UPS:
            wanted += self._runs.absent - self._looked_up - {run_id}
        self._looked_up.update(wanted)
        deleted = deleted_run.c.id
        for chunk in chunks(wanted, IDS_PER_STATEMENT):
            statement = select(deleted).where(deleted.in_(chunk))
            self._deleted.update(self._tx.connection.execute(statement).scalars())

    def open_run_below(
        self, run_id: str, *, after: Place | None
    ) -> tuple[Run | None, Place | None]:
        """Search a part of the open runs of a tree for one at or below a run."""
        self._tx.flush()
        connection = self._tx.connection
        root = trees.root_of(connection, run_id)
        if root is None:
            return None, None
        if after is None:
            own = connection.execute(
                select(*SELECTED).where(run.c.id == run_id, run.c.state_type.in_(trees.OPEN_TYPES))
            ).first()
            if own is not None:
                return run_of(own), None
        ranges = trees.open_ranges(root)
        first, after_id = after or (0, None)
        for number in range(first, len(ranges)):
            statement = select(run.c.id).where(*ranges[number]).order_by(run.c.id).limit(OPEN_RUNS)
            if after_id is not None and number == first:
                statement = statement.where(run.c.id > after_id)
            ids = list(connection.scalars(statement))
            inside = set(ids) if run_id == root else trees.members(connection, ids, of_run=run_id)
            if inside:
                row = connection.execute(select(*SELECTED).where(run.c.id == min(inside))).one()
                return run_of(row), None
            if len(ids) == OPEN_RUNS:
                return None, Place(number, ids[-1])
        return None, None

    def delete_below(self, path: list[str]) -> int:
        """Delete some runs of a tree, each after its descendants."""
        self._tx.changes += 1
        self._tx.flush()
        begun = path[0]
        gone = self._delete_some(path)
        self._tx.roots.update(root for root, doomed in self._by_root().items() if begun in doomed)
        for doomed in gone:
            self._runs.forget(doomed.id)
            if doomed.state_type not in TERMINAL_TYPES:
                self._looked_up.add(doomed.id)
                self._deleted.add(doomed.id)
        return len(gone)

    def _delete_some(self, path: list[str]) -> list[_Doomed]:
        self._count_piece(path[0])
        if self._delete_history(path[0]):
            return []
        children = self._children(path[-1])
        if not children:
            return self._delete_last(path)
        inner = self._parents(children) - set(path)
        leaves = [child for child in children if child.id not in inner]
        if leaves:
            return self._delete(leaves, begun=path[0])
        path.append(min(inner))
        return []

    def _count_piece(self, begun: str) -> None:
        """Show other service processes that this one is working on the deletion."""
        values = {"pieces": deletion.c.pieces + 1}
        self._tx.connection.execute(
            update(deletion).where(deletion.c.run_id == begun).values(values)
        )

    def _delete_last(self, path: list[str]) -> list[_Doomed]:
        """Delete the run at the end of the path, which has no children."""
        if len(path) == 1:
            # Runs of the tree whose parents never arrived are below no run.
            stray = self._tx.connection.execute(
                select(run.c.id)
                .where(run.c.root_run_id == path[0], IS_BELOW_ROOT, IS_NOT_CHILD_OF_ROOT)
                .limit(1)
            ).scalar()
            if stray is not None:
                path.append(stray)
                return []
        last = self._doomed(run.c.id == path[-1], limit=1)
        gone = self._delete(last, begun=path[0]) if last else []
        if len(gone) == len(last) and not self._history_position(path[0]):
            path.pop()
        return gone

    def _children(self, run_id: str) -> list[_Doomed]:
        return self._doomed(run.c.parent_run_id == run_id, limit=CHILDREN)

    def _doomed(self, condition: ColumnElement[bool], *, limit: int) -> list[_Doomed]:
        statement = select(*_DOOMED).where(condition).limit(limit)
        return [_Doomed(*row) for row in self._tx.connection.execute(statement)]

    def _parents(self, runs: Sequence[_Doomed]) -> set[str]:
        """Return the runs among these that have children."""
        ids = [each.id for each in runs]
        statement = select(run.c.parent_run_id).where(run.c.parent_run_id.in_(ids)).distinct()
        return set(self._tx.connection.scalars(statement))

    def _delete(self, runs: Sequence[_Doomed], *, begun: str) -> list[_Doomed]:
        """Delete the first of the runs, up to one piece; none if their rows are a piece already."""
        runs = _piece(runs)
        ids = [each.id for each in runs]
        if self._delete_logs(ids) or any(each.delete_of(ids) for each in self._of_runs):
            return []
        if runs[0].transition_count > PIECE_TRANSITIONS:
            self._leave_history(runs[0].position, begun=begun)
        else:
            history = history_positions([each.position for each in runs])
            self._tx.connection.execute(
                delete(transition).where(transition.c.position.in_(history))
            )
        self._delete_tags(runs)
        self._tx.connection.execute(delete(run).where(run.c.id.in_(ids)))
        self._remember([each.id for each in runs if each.state_type not in TERMINAL_TYPES])
        return list(runs)

    def _delete_logs(self, run_ids: Sequence[str]) -> bool:
        """Delete log records of the runs; True if there may be more."""
        keys = select(log.c.root_run_id, log.c.position).where(log.c.run_id.in_(run_ids))
        found = tuple_(log.c.root_run_id, log.c.position).in_(keys.limit(PIECE_LOGS))
        return self._tx.connection.execute(delete(log).where(found)).rowcount == PIECE_LOGS

    def _delete_tags(self, runs: Sequence[_Doomed]) -> None:
        tagged = [each.id for each in runs if each.has_tags]
        if not tagged:
            return
        found = self._tx.connection.execute(
            select(run.c.id, run.c.kind, run.c.tags).where(run.c.id.in_(tagged))
        )
        rows = [
            {"b_tag": tag, "b_kind": kind, "b_id": run_id}
            for run_id, kind, tags in found
            for tag in set(json.loads(tags))
        ]
        key = run_tag.c
        statement = delete(run_tag).where(
            key.tag == bindparam("b_tag"),
            key.kind == bindparam("b_kind"),
            key.run_id == bindparam("b_id"),
        )
        self._tx.connection.execute(statement, rows)

    def _remember(self, open_ids: Sequence[str]) -> None:
        """Record that runs were deleted before they had ended."""
        if not open_ids:
            return
        buried = deleted_run.c.id
        known = set(self._tx.connection.scalars(select(buried).where(buried.in_(open_ids))))
        rows = [{"id": run_id} for run_id in open_ids if run_id not in known]
        if rows:
            self._tx.connection.execute(insert(deleted_run), rows)

    # A history that is too long for one transaction

    def _leave_history(self, position: int, *, begun: str) -> None:
        """Record the newest remaining transition of a run that is gone; 0 for none."""
        values = {"history_position": position}
        self._tx.connection.execute(
            update(deletion).where(deletion.c.run_id == begun).values(values)
        )

    def _history_position(self, begun: str) -> int:
        statement = select(deletion.c.history_position).where(deletion.c.run_id == begun)
        return int(self._tx.connection.execute(statement).scalar() or 0)

    def _delete_history(self, begun: str) -> bool:
        """Delete a piece of a remaining history; return False if nothing remains."""
        position = self._history_position(begun)
        if not position:
            return False
        chain = history(position)
        rows = self._tx.connection.execute(
            select(chain.c.position, chain.c.previous).limit(PIECE_TRANSITIONS)
        ).all()
        positions = [row.position for row in rows]
        self._tx.connection.execute(delete(transition).where(transition.c.position.in_(positions)))
        self._leave_history(min((row.previous for row in rows), default=0), begun=begun)
        return True


def _piece(runs: Sequence[_Doomed]) -> Sequence[_Doomed]:
    transitions = size_bytes = 0
    for number, each in enumerate(runs):
        transitions += each.transition_count
        size_bytes += each.size_bytes
        if number and (transitions > PIECE_TRANSITIONS or size_bytes > PIECE_BYTES):
            return runs[:number]
    return runs
