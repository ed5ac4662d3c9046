"""Lists of runs, as merged ranges of indexes.

A list is sorted by id and cut by a key (the last id of the page before), so its cost must not depend
on where the page is. Each index that a list uses ends in (state_type, id); so a list is one range
for each type of state, each giving at most a page of ids, merged: page 10,000 costs what page 1
costs, with a filter on the state and without one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import func, select, union_all

from flowspan_service.domain.runs import RunKind
from flowspan_service.domain.states import StateType
from flowspan_service.stores import tables
from flowspan_service.stores.ids import prefix_range, time_floor
from flowspan_service.stores.tables import run, run_tag

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, FromClause, Select

    from flowspan_service.app.queries import RunFilter, RunQuery

ALL_TYPES = tuple(int(state_type) for state_type in StateType)
MAX_MERGED_NAMES = 16
"""Above this, function names are a filter on another range instead of ranges of their own."""
CLOCK_SLACK_US = 3_600_000_000
"""How far a run's created_us may be from the time in its id, so that the id narrows the search."""

Condition = Any


class Range(NamedTuple):
    """A part of an index: conditions that say which, and whether the state's type is a part of it."""

    conditions: tuple[Condition, ...]
    source: FromClause = run
    id_column: ColumnElement[str] = run.c.id
    by_state: bool = True


def page_statement(query: RunQuery, *, limit: int) -> Select[*tuple[Any, ...]]:
    """The runs of a page, in their order."""
    wanted = _Wanted(query.kind, query.filter)
    bounds = wanted.bounds
    if query.after_id is not None:
        bounds = (*bounds, ("gt" if query.oldest_first else "lt", query.after_id))
    parts = [
        _part(one, state_type, wanted, bounds)
        .order_by(_direction(one.id_column, query))
        .limit(limit)
        for one in wanted.ranges
        for state_type in (wanted.state_types if one.by_state else (None,))
    ]
    ids = parts[0].subquery() if len(parts) == 1 else _merged(parts)
    statement = select(run).join(ids, run.c.id == ids.c.id)
    return statement.order_by(_direction(ids.c.id, query)).limit(limit)


def count_statement(kind: int, run_filter: RunFilter) -> Select[*tuple[Any, ...]]:
    """How many runs there are, by the type of their state."""
    wanted = _Wanted(kind, run_filter)
    parts = [
        _part(one, state_type, wanted, wanted.bounds, run.c.state_type)
        for one in wanted.ranges
        for state_type in (wanted.state_types if one.by_state else (None,))
    ]
    ids = parts[0].subquery() if len(parts) == 1 else union_all(*parts).subquery()
    return select(ids.c.state_type, func.count()).group_by(ids.c.state_type)


def _merged(parts: list[Select[Any]]) -> FromClause:
    # A SELECT with ORDER BY may stand in a UNION only as a subquery, says SQLite.
    return union_all(*(select(part.subquery()) for part in parts)).subquery()


def _direction(column: ColumnElement[str], query: RunQuery) -> ColumnElement[str]:
    return column.asc() if query.oldest_first else column.desc()


def _part(
    one: Range,
    state_type: int | None,
    wanted: _Wanted,
    bounds: tuple[tuple[str, str], ...],
    *more: ColumnElement[Any],
) -> Select[*tuple[Any, ...]]:
    statement = select(one.id_column.label("id"), *more).select_from(one.source)
    conditions = [*one.conditions, *wanted.residual]
    if state_type is not None:
        conditions.append(run.c.state_type == state_type)
    elif len(wanted.state_types) < len(ALL_TYPES):
        conditions.append(run.c.state_type.in_(wanted.state_types))
    conditions += [_compare(one.id_column, how, run_id) for how, run_id in bounds]
    return statement.where(*conditions)


def _compare(column: ColumnElement[str], how: str, run_id: str) -> ColumnElement[bool]:
    if how == "lt":
        return column < run_id
    if how == "le":
        return column <= run_id
    return column > run_id if how == "gt" else column >= run_id


class _Wanted:
    """What a filter asks for: ranges to read, bounds of the id, and conditions to check on each run."""

    def __init__(self, kind: int, run_filter: RunFilter) -> None:
        self._kind = kind
        self._filter = run_filter
        self.state_types = run_filter.state_types or ALL_TYPES
        self.ranges = self._choose_ranges()
        self.residual = tuple(self._residual())
        self.bounds = tuple(self._bounds())

    def _choose_ranges(self) -> tuple[Range, ...]:
        """The most selective ranges that the filter allows."""
        f, kind = self._filter, run.c.kind == self._kind
        if f.parent_run_id is not None:
            return (Range((run.c.parent_run_id == f.parent_run_id, kind)),)
        if f.flow_run_id is not None:
            return _flow_run_ranges(f.flow_run_id, kind)
        if f.run_name is not None and self._kind == RunKind.FLOW:
            conditions = (run.c.run_name == f.run_name, tables.IS_FLOW)
            return (Range(conditions, by_state=False),)
        if f.tags:
            return (self._tag_range(f.tags[0]),)
        if f.root_run_id is not None:
            return _root_ranges(f.root_run_id, kind)
        if f.function_names and len(f.function_names) <= MAX_MERGED_NAMES:
            return tuple(
                Range((run.c.function_name == name, kind))
                for name in dict.fromkeys(f.function_names)
            )
        if f.top_level_only:
            return (Range((kind, tables.IS_TOP_LEVEL)),)
        return (Range((kind,)),)

    def _tag_range(self, tag: str) -> Range:
        return Range(
            (run_tag.c.tag == tag, run_tag.c.kind == self._kind),
            source=run_tag.join(run, run.c.id == run_tag.c.run_id),
            id_column=run_tag.c.run_id,
            by_state=False,
        )

    def _residual(self) -> list[Condition]:
        """All conditions but those on the id; a range repeats its own, which costs nothing."""
        f = self._filter
        found: list[Condition] = []
        if f.state_names:
            found.append(run.c.state_name.in_(f.state_names))
        if f.function_names:
            found.append(run.c.function_name.in_(f.function_names))
        for column in ("parent_run_id", "root_run_id", "flow_run_id", "run_name"):
            value = getattr(f, column)
            if value is not None:
                found.append(run.c[column] == value)
        if f.top_level_only:
            found.append(tables.IS_TOP_LEVEL)
        if f.created_after_us is not None:
            found.append(run.c.created_us >= f.created_after_us)
        if f.created_before_us is not None:
            found.append(run.c.created_us < f.created_before_us)
        found += [self._has_tag(tag) for tag in f.tags]
        return found

    def _has_tag(self, tag: str) -> Condition:
        alias = run_tag.alias()
        return (
            select(1)
            .where(alias.c.tag == tag, alias.c.kind == self._kind, alias.c.run_id == run.c.id)
            .exists()
        )

    def _bounds(self) -> list[tuple[str, str]]:
        f = self._filter
        found: list[tuple[str, str]] = []
        if f.id_prefix is not None:
            first, last = prefix_range(f.id_prefix)
            found += [("ge", first), ("le", last)]
        if f.created_after_us is not None:
            found.append(("ge", time_floor(f.created_after_us - CLOCK_SLACK_US)))
        if f.created_before_us is not None:
            found.append(("lt", time_floor(f.created_before_us + CLOCK_SLACK_US)))
        return found


def _flow_run_ranges(flow_run_id: str, kind: Condition) -> tuple[Range, ...]:
    return (
        Range((run.c.parent_run_id == flow_run_id, kind)),
        Range(
            (
                run.c.flow_run_id == flow_run_id,
                tables.IS_IN_FLOW_RUN,
                tables.IS_NOT_CHILD_OF_FLOW_RUN,
                kind,
            )
        ),
    )


def _root_ranges(root_run_id: str, kind: Condition) -> tuple[Range, ...]:
    return (
        Range((run.c.id == root_run_id, kind), by_state=False),
        Range((run.c.parent_run_id == root_run_id, kind)),
        Range(
            (
                run.c.root_run_id == root_run_id,
                tables.IS_BELOW_ROOT,
                tables.IS_NOT_CHILD_OF_ROOT,
                kind,
            )
        ),
    )
