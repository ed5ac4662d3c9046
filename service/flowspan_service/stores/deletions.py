"""Deletes trees of runs in pieces, each small enough for a transaction that others wait for.

What is left after any piece makes sense to readers: a run goes in one piece with its whole history,
and after all that it called. A tree is found by its parents and not by its ids, which clients
choose.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import and_, bindparam, delete, func, insert, select, tuple_, update

from flowspan_service.app.ports import Place
from flowspan_service.domain.states import TERMINAL_TYPES
from flowspan_service.stores import schema as tables
from flowspan_service.stores import trees
from flowspan_service.stores.rows import run_of
from flowspan_service.stores.schema import (
    IS_BELOW_ROOT,
    IS_NOT_CHILD_OF_ROOT,
    deletion,
    log,
    run,
    transition,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.engine import Connection

    from flowspan_service.domain.runs import Run
    from flowspan_service.stores.artifacts import Objects
    from flowspan_service.stores.commands import Commands

CHILDREN = 200
"""Children of a run that are looked at together."""
PIECE_TRANSITIONS = 600
PIECE_BYTES = 2_000_000
PIECE_LOGS = 200
"""Records of the largest size are 50 MiB."""
OPEN_RUNS = 500

_KINDS = (1, 2)
_OPEN_TYPES = (1, 2, 3, 4, 5)


class _Doomed(NamedTuple):
    """What must be known of a run to delete it."""

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
    + 2 * func.coalesce(func.length(run.c.state_result), 0)
    + 2 * func.coalesce(func.length(run.c.state_failure), 0),
)


class Deletions:
    """The part of a `unit.Unit` that deletes. Everything was written before it is called."""

    def __init__(self, connection: Connection, objects: Objects, commands: Commands) -> None:
        self._connection = connection
        self._objects = objects
        self._commands = commands

    def load(self) -> dict[str, set[str]]:
        """The runs whose deletion was begun, by their roots."""
        found: dict[str, set[str]] = {}
        rows = self._connection.execute(select(deletion.c.run_id, deletion.c.root_run_id))
        for run_id, root_run_id in rows:
            found.setdefault(root_run_id, set()).add(run_id)
        return found

    def begin(self, doomed: Run, *, now_us: int) -> None:
        """Note that a tree is being deleted."""
        row = {
            "run_id": doomed.id,
            "root_run_id": doomed.root_run_id,
            "begun_us": now_us,
            "history_position": 0,
        }
        self._connection.execute(insert(deletion), row)

    def end(self, run_id: str) -> None:
        """Note that nothing of it is left."""
        self._connection.execute(delete(deletion).where(deletion.c.run_id == run_id))

    def open_run_below(
        self, run_id: str, *, after: Place | None
    ) -> tuple[Run | None, Place | None]:
        """See app.ports.UnitOfWork."""
        connection = self._connection
        root = trees.root_of(connection, run_id)
        if root is None:
            return None, None
        if after is None:
            own = connection.execute(
                select(run).where(run.c.id == run_id, run.c.state_type.in_(_OPEN_TYPES))
            ).first()
            if own is not None:
                return run_of(own), None
        ranges = _open_ranges(root)
        first, after_id = after or (0, None)
        for number in range(first, len(ranges)):
            statement = select(run.c.id).where(*ranges[number]).order_by(run.c.id).limit(OPEN_RUNS)
            if after_id is not None and number == first:
                statement = statement.where(run.c.id > after_id)
            ids = list(connection.scalars(statement))
            inside = set(ids) if run_id == root else trees.members(connection, ids, of_run=run_id)
            if inside:
                row = connection.execute(select(run).where(run.c.id == min(inside))).one()
                return run_of(row), None
            if len(ids) == OPEN_RUNS:
                return None, Place(number, ids[-1])
        return None, None

    def delete_below(self, path: list[str]) -> list[_Doomed]:
        """See app.ports.UnitOfWork; returns what was deleted of `run`."""
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

    def _delete_last(self, path: list[str]) -> list[_Doomed]:
        """Delete the run at the end of the path, which has no children (any more)."""
        if len(path) == 1:
            # Runs of the tree whose parents never came are not below anything.
            stray = self._connection.execute(
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
        return [_Doomed(*row) for row in self._connection.execute(statement)]

    def _parents(self, runs: Sequence[_Doomed]) -> set[str]:
        """Those of the runs that called others."""
        ids = [each.id for each in runs]
        statement = select(run.c.parent_run_id).where(run.c.parent_run_id.in_(ids)).distinct()
        return set(self._connection.scalars(statement))

    def _delete(self, runs: Sequence[_Doomed], *, begun: str) -> list[_Doomed]:
        """Delete the first of the runs, as many as are a piece; none, if logs are one already."""
        runs = _piece(runs)
        ids = [each.id for each in runs]
        if self._delete_logs(ids) or self._objects.delete_artifacts_of(ids):
            return []
        if runs[0].transition_count > PIECE_TRANSITIONS:
            self._leave_history(runs[0].position, begun=begun)
        else:
            history = trees.history_positions([each.position for each in runs])
            self._connection.execute(delete(transition).where(transition.c.position.in_(history)))
        self._delete_tags(runs)
        self._commands.delete(ids)
        self._connection.execute(delete(run).where(run.c.id.in_(ids)))
        self._remember([each.id for each in runs if each.state_type not in TERMINAL_TYPES])
        return list(runs)

    def _delete_logs(self, run_ids: Sequence[str]) -> bool:
        """Delete log records of the runs; True if there may be more."""
        keys = select(log.c.root_run_id, log.c.position).where(log.c.run_id.in_(run_ids))
        found = tuple_(log.c.root_run_id, log.c.position).in_(keys.limit(PIECE_LOGS))
        return self._connection.execute(delete(log).where(found)).rowcount == PIECE_LOGS

    def _delete_tags(self, runs: Sequence[_Doomed]) -> None:
        tagged = [each.id for each in runs if each.has_tags]
        if not tagged:
            return
        found = self._connection.execute(
            select(run.c.id, run.c.kind, run.c.tags).where(run.c.id.in_(tagged))
        )
        rows = [
            {"b_tag": tag, "b_kind": kind, "b_id": run_id}
            for run_id, kind, tags in found
            for tag in set(json.loads(tags))
        ]
        key = tables.run_tag.c
        statement = delete(tables.run_tag).where(
            key.tag == bindparam("b_tag"),
            key.kind == bindparam("b_kind"),
            key.run_id == bindparam("b_id"),
        )
        self._connection.execute(statement, rows)

    def _remember(self, open_ids: Sequence[str]) -> None:
        """Note that runs were deleted before they had ended."""
        if not open_ids:
            return
        buried = tables.deleted_run.c.id
        known = set(self._connection.scalars(select(buried).where(buried.in_(open_ids))))
        rows = [{"id": run_id} for run_id in open_ids if run_id not in known]
        if rows:
            self._connection.execute(insert(tables.deleted_run), rows)

    # A history that is too long for one transaction

    def _leave_history(self, position: int, *, begun: str) -> None:
        """Note the newest transition that is left of a run that is gone; 0 if none is."""
        values = {"history_position": position}
        self._connection.execute(update(deletion).where(deletion.c.run_id == begun).values(values))

    def _history_position(self, begun: str) -> int:
        statement = select(deletion.c.history_position).where(deletion.c.run_id == begun)
        return int(self._connection.execute(statement).scalar() or 0)

    def _delete_history(self, begun: str) -> bool:
        """Delete a piece of a history that was left; False if there is none."""
        position = self._history_position(begun)
        if not position:
            return False
        chain = trees.history(position)
        rows = self._connection.execute(
            select(chain.c.position, chain.c.previous).limit(PIECE_TRANSITIONS)
        ).all()
        positions = [row.position for row in rows]
        self._connection.execute(delete(transition).where(transition.c.position.in_(positions)))
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


def _open_ranges(root: str) -> list[tuple[ColumnElement[bool], ...]]:
    """The open runs of a tree below its root, as ranges of indexes that end in the id."""
    of_root = run.c.root_run_id == root
    children = and_(run.c.parent_run_id == root, of_root)
    deeper: Any = and_(of_root, IS_BELOW_ROOT, IS_NOT_CHILD_OF_ROOT)
    return [
        (which, run.c.kind == kind, run.c.state_type == state_type)
        for which in (children, deeper)
        for kind in _KINDS
        for state_type in _OPEN_TYPES
    ]
