"""Queries along the two chains in the tables: runs to parents, transitions to those before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from flowspan_service.stores.schema import (
    IS_BELOW_ROOT,
    IS_NOT_CHILD_OF_ROOT,
    run,
    transition,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import CTE, Select, SelectBase
    from sqlalchemy.engine import Connection


def root_of(connection: Connection, run_id: str) -> str | None:
    """The root of the run's tree; None if there is no such run."""
    return connection.execute(select(run.c.root_run_id).where(run.c.id == run_id)).scalar()


def tree_ids(run_id: str, *, is_root: bool) -> SelectBase:
    """The ids of the run and of all that it called, in any order."""
    if is_root:
        # Three ranges of indexes instead of a walk from parent to child.
        return (
            select(run.c.id)
            .where(run.c.id == run_id)
            .union_all(
                select(run.c.id).where(run.c.parent_run_id == run_id, run.c.root_run_id == run_id),
                select(run.c.id).where(
                    run.c.root_run_id == run_id, IS_BELOW_ROOT, IS_NOT_CHILD_OF_ROOT
                ),
            )
        )
    # Any, because mypy 2.4 fails (INTERNAL ERROR) over the type of a recursive CTE.
    start: Any = select(run.c.id).where(run.c.id == run_id).cte("descendants", recursive=True)
    # UNION, not UNION ALL: ends even if clients have made a circle of parents.
    descendants = start.union(select(run.c.id).join(start, run.c.parent_run_id == start.c.id))
    return select(descendants.c.id)


def tree_statement(
    run_id: str, *, after_id: str | None = None, limit: int | None = None
) -> Select[*tuple[Any, ...]]:
    """The run, which is not a root, and all that it called, by id ascending."""
    ids = tree_ids(run_id, is_root=False).subquery()
    statement = select(run).join(ids, run.c.id == ids.c.id).order_by(ids.c.id)
    if after_id is not None:
        statement = statement.where(ids.c.id > after_id)
    return statement if limit is None else statement.limit(limit)


def members(connection: Connection, run_ids: Iterable[str], *, of_run: str) -> set[str]:
    """Those of the runs that the run called, directly or through others, or that are the run."""
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


def history(position: int) -> CTE:
    """The transitions of a run from its last one, at that position, back to the first."""
    return _chain([position])


def history_positions(positions: Sequence[int]) -> Select[tuple[int]]:
    """The positions of all transitions of runs whose last ones are at these positions."""
    return select(_chain(positions).c.position)


def _chain(positions: Sequence[int]) -> CTE:
    chain = (
        select(transition.c.position, transition.c.previous)
        .where(transition.c.position.in_(positions))
        .cte("history", recursive=True)
    )
    return chain.union_all(
        select(transition.c.position, transition.c.previous).join(
            chain, transition.c.position == chain.c.previous
        )
    )
