"""Queries along the chain from runs to their parents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, select

from flowspan_service.stores.runs import IS_BELOW_ROOT, IS_NOT_CHILD_OF_ROOT, SELECTED, run

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import ColumnElement, Select, SelectBase
    from sqlalchemy.engine import Connection


KINDS = (1, 2)
OPEN_TYPES = (1, 2, 3, 4, 5)


def open_ranges(
    root: str, types: Sequence[int] = OPEN_TYPES
) -> list[tuple[ColumnElement[bool], ...]]:
    """Return the open runs of a tree below its root, as ranges of indexes that end in the id.

    Args:
        root: The root of the tree.
        types: The types of open states, in the wanted order of the ranges.
    """
    of_root = run.c.root_run_id == root
    children = and_(run.c.parent_run_id == root, of_root)
    deeper: Any = and_(of_root, IS_BELOW_ROOT, IS_NOT_CHILD_OF_ROOT)
    return [
        (which, run.c.kind == kind, run.c.state_type == state_type)
        for which in (children, deeper)
        for kind in KINDS
        for state_type in types
    ]


def root_of(connection: Connection, run_id: str) -> str | None:
    """Return the root of the run's tree; None if there is no such run."""
    return connection.execute(select(run.c.root_run_id).where(run.c.id == run_id)).scalar()


def tree_ids(run_id: str, *, is_root: bool, state_types: Sequence[int] = ()) -> SelectBase:
    """Return the ids of the run and its descendants, in any order.

    Args:
        run_id: The run.
        is_root: True if it is the root of its tree.
        state_types: The types of the states to include; empty for all.
    """
    if is_root:
        # Three ranges of indexes instead of a walk from parent to child.
        some = [run.c.state_type.in_(state_types)] if state_types else []
        return (
            select(run.c.id)
            .where(run.c.id == run_id, *some)
            .union_all(
                select(run.c.id).where(
                    run.c.parent_run_id == run_id, run.c.root_run_id == run_id, *some
                ),
                select(run.c.id).where(
                    run.c.root_run_id == run_id, IS_BELOW_ROOT, IS_NOT_CHILD_OF_ROOT, *some
                ),
            )
        )
    # The index by parent has the type of the state, so the walk reads no rows for it.
    columns = (run.c.id, run.c.state_type)
    # Any, because mypy 2.4 fails (INTERNAL ERROR) over the type of a recursive CTE.
    start: Any = select(*columns).where(run.c.id == run_id).cte("descendants", recursive=True)
    # UNION, not UNION ALL: it ends even if clients have reported a cycle of parents.
    descendants = start.union(select(*columns).join(start, run.c.parent_run_id == start.c.id))
    found = select(descendants.c.id)
    return found.where(descendants.c.state_type.in_(state_types)) if state_types else found


def tree_statement(
    run_id: str,
    *,
    after_id: str | None = None,
    limit: int | None = None,
    state_types: Sequence[int] = (),
) -> Select[*tuple[Any, ...]]:
    """Return the run, which is not a root, and its descendants, by id ascending."""
    ids = tree_ids(run_id, is_root=False, state_types=state_types).subquery()
    statement = select(*SELECTED).join(ids, run.c.id == ids.c.id).order_by(ids.c.id)
    if after_id is not None:
        statement = statement.where(ids.c.id > after_id)
    return statement if limit is None else statement.limit(limit)


def members(connection: Connection, run_ids: Iterable[str], *, of_run: str) -> set[str]:
    """Return the runs among these that are the run or its descendants."""
    ids = list(run_ids)
    if not ids:
        return set()
    up = (
        select(run.c.id.label("start"), run.c.id, run.c.parent_run_id)
        .where(run.c.id.in_(ids))
        .cte("ancestors", recursive=True)
    )
    up = up.union(
        select(up.c.start, run.c.id, run.c.parent_run_id).join(up, run.c.id == up.c.parent_run_id)
    )
    return set(connection.execute(select(up.c.start).where(up.c.id == of_run)).scalars())
