"""Lists of runs, as merged ranges of indexes.

A list is sorted by id and paged by a key (the last id of the page before), so its cost must not
depend on the place of the page. Each index of a list ends in (state_type, id). So a list is one
range for each type of state, each giving at most a page of ids, merged: page 10,000 costs the same
as page 1, with a filter on the state and without one.

The SQL is built as text: as an expression of SQLAlchemy, a list of all states took longer to build
than to run. Values are parameters throughout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from flowspan_service.domain.runs import RunKind
from flowspan_service.domain.states import StateType
from flowspan_service.stores import runs as tables
from flowspan_service.stores.dialects.base import Statement
from flowspan_service.stores.ids import prefix_range, suffix_pattern, time_floor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowspan_service.app.ports.runs import RunFilter, RunQuery
    from flowspan_service.stores.dialects.base import Syntax

ALL_TYPES = tuple(int(state_type) for state_type in StateType)
MAX_MERGED_NAMES = 16
"""Above this, function names are a filter on another range instead of ranges of their own."""
CLOCK_SLACK_US = 3_600_000_000
"""The maximum difference between created_us and the time in the id: the id narrows the search."""

_RUN_COLUMNS = ", ".join(tables.RUN_COLUMNS)
KEY_COLUMNS = "run.id, run.position, run.session_id"


class _Range(NamedTuple):
    """A part of an index: its conditions, and a flag for the state's type in it."""

    conditions: tuple[str, ...]
    source: str = "run"
    id_column: str = "run.id"
    by_state: bool = True


def page_statement(
    query: RunQuery, syntax: Syntax, *, limit: int, columns: str = _RUN_COLUMNS
) -> Statement:
    """Return the statement for the runs of a page, in order: the columns of `run`, or some."""
    wanted = _Wanted(query.kind, query.filter, syntax, prefers_states=query.prefers_states)
    if query.after_id is not None:
        wanted.bound(">" if query.oldest_first else "<", query.after_id)
    limited = f"LIMIT {wanted.value('limit', limit)}"
    direction = "ASC" if query.oldest_first else "DESC"
    parts = [
        f"SELECT {part.id_column} AS id {body} ORDER BY {part.id_column} {direction} {limited}"
        for part, body in wanted.parts()
    ]
    # SQLite allows a SELECT with ORDER BY in a UNION only as a subquery.
    ids = " UNION ALL ".join(f"SELECT id FROM ({part}) AS part" for part in parts)  # noqa: S608 - no values in it
    if len(parts) > 1:
        # Merged before the rows are fetched, so that only those of the page are.
        ids = f"SELECT id FROM ({ids}) AS merged ORDER BY id {direction} {limited}"  # noqa: S608 - as above
    sql = (
        f"SELECT {columns} FROM ({ids}) AS page JOIN run ON run.id = page.id"  # noqa: S608 - no values in it
        f" ORDER BY page.id {direction} {limited}"
    )
    return Statement(sql, wanted.parameters)


def count_statement(kind: int, run_filter: RunFilter, syntax: Syntax) -> Statement:
    """Return the statement for the number of runs by the type of their state."""
    wanted = _Wanted(kind, run_filter, syntax)
    parts = [f"SELECT run.state_type AS state_type {body}" for _, body in wanted.parts()]
    sql = (
        f"SELECT state_type, count(*) FROM ({' UNION ALL '.join(parts)}) AS counted"  # noqa: S608 - no values in it
        " GROUP BY state_type"
    )
    return Statement(sql, wanted.parameters)


class _Wanted:
    """The plan of a filter: ranges to read, bounds of the id, conditions to check on a run."""

    def __init__(
        self, kind: int, run_filter: RunFilter, syntax: Syntax, *, prefers_states: bool = False
    ) -> None:
        self.parameters: dict[str, Any] = {}
        self._prefers_states = prefers_states
        self._syntax = syntax
        self._kind = kind
        self._filter = run_filter
        self._bounds: list[tuple[str, str]] = []
        self._tag_read: str | None = None
        self._is_kind = f"run.kind = {self.value('kind', kind)}"
        self._state_types = run_filter.state_types or ALL_TYPES
        self._ranges = self._choose_ranges()
        self._residual = self._list_residual()
        self._add_bounds()

    def value(self, name: str, value: object) -> str:
        """Return a parameter with its value; a name stands for one value throughout."""
        self.parameters[name] = value
        return self._syntax.parameter(name)

    def values(self, name: str, values: Sequence[object]) -> list[str]:
        """Return parameters for several values."""
        return [self.value(f"{name}_{index}", value) for index, value in enumerate(values)]

    def id_value(self, name: str, run_id: str) -> str:
        """Return a parameter that is an id."""
        self.parameters[name] = self._syntax.id_value(run_id)
        return self._syntax.id_parameter(name)

    def bound(self, comparison: str, run_id: str) -> None:
        """Narrow all ranges by a comparison of the id."""
        self._bounds.append((comparison, self.id_value(f"bound_{len(self._bounds)}", run_id)))

    def parts(self) -> list[tuple[_Range, str]]:
        """Return FROM and WHERE for each range and type of state."""
        return [
            (one, self._body(one, state_type))
            for one in self._ranges
            for state_type in (self._state_types if one.by_state else (None,))
        ]

    def _body(self, one: _Range, state_type: int | None) -> str:
        conditions = [*one.conditions]
        if state_type is not None:
            conditions.append(f"run.state_type = {int(state_type)}")
        elif len(self._state_types) < len(ALL_TYPES):
            types = ", ".join(str(int(one_type)) for one_type in self._state_types)
            conditions.append(f"run.state_type IN ({types})")
        conditions += [f"{one.id_column} {how} {run_id}" for how, run_id in self._bounds]
        conditions += [one for one in self._residual if one not in conditions]
        return f"FROM {one.source} WHERE {' AND '.join(conditions)}"

    def _choose_ranges(self) -> list[_Range]:
        """Return the most selective ranges that the filter allows."""
        f, kind = self._filter, self._is_kind
        if f.parent_run_id is not None:
            return [_Range((self._is("parent_run_id", f.parent_run_id), kind))]
        if f.flow_run_id is not None:
            return self._flow_run_ranges(f.flow_run_id)
        # The ranges of a name and of a tag have no part for each type of state.
        by_word = not self._prefers_states
        if f.run_name is not None and self._kind == RunKind.FLOW and by_word:
            name = f"run.run_name = {self.value('run_name', f.run_name)}"
            return [_Range((name, str(tables.IS_FLOW)), by_state=False)]
        if f.tags and by_word:
            return [self._tag_range(f.tags[0])]
        if f.root_run_id is not None:
            return self._root_ranges(f.root_run_id)
        if f.function_names and len(f.function_names) <= MAX_MERGED_NAMES:
            names = self.values("function", list(dict.fromkeys(f.function_names)))
            return [_Range((f"run.function_name = {name}", kind)) for name in names]
        if f.top_level_only:
            return [_Range((kind, str(tables.IS_TOP_LEVEL)))]
        return [_Range((kind,))]

    def _is(self, column: str, run_id: str) -> str:
        return f"run.{column} = {self.id_value(column, run_id)}"

    def _flow_run_ranges(self, flow_run_id: str) -> list[_Range]:
        """Return the children of a flow run, and its other tasks, which have their own index."""
        here = self._is("flow_run_id", flow_run_id)
        elsewhere = (here, str(tables.IS_IN_FLOW_RUN), str(tables.IS_NOT_CHILD_OF_FLOW_RUN))
        return [
            _Range(
                (f"run.parent_run_id = {self.id_value('flow_run_id', flow_run_id)}", self._is_kind)
            ),
            _Range((*elsewhere, self._is_kind)),
        ]

    def _root_ranges(self, root_run_id: str) -> list[_Range]:
        """Return the root, its children, and the deeper descendants."""
        root = self.id_value("root_run_id", root_run_id)
        below = (str(tables.IS_BELOW_ROOT), str(tables.IS_NOT_CHILD_OF_ROOT))
        return [
            _Range((f"run.id = {root}", self._is_kind), by_state=False),
            _Range((f"run.parent_run_id = {root}", self._is_kind)),
            _Range((f"run.root_run_id = {root}", *below, self._is_kind)),
        ]

    def _tag_range(self, tag: str) -> _Range:
        self._tag_read = tag
        kind = f"run_tag.kind = {self.value('kind', self._kind)}"
        return _Range(
            (f"run_tag.tag = {self.value('tag', tag)}", kind),
            source="run_tag JOIN run ON run.id = run_tag.run_id",
            id_column="run_tag.run_id",
            by_state=False,
        )

    def _list_residual(self) -> list[str]:
        """Return all conditions but those on the id. A range does not repeat its own ones."""
        f = self._filter
        found: list[str] = []
        if f.state_names:
            found.append(f"run.state_name IN ({', '.join(self.values('state', f.state_names))})")
        if f.function_names:
            names = ", ".join(self.values("name", f.function_names))
            found.append(f"run.function_name IN ({names})")
        for column in ("parent_run_id", "root_run_id", "flow_run_id"):
            run_id = getattr(f, column)
            if run_id is not None:
                found.append(self._is(column, run_id))
        if f.run_name is not None:
            found.append(f"run.run_name = {self.value('run_name', f.run_name)}")
        if f.id_suffix is not None:
            # Every index that a range reads has the id, so this fetches no row.
            pattern = self.value("id_suffix", suffix_pattern(f.id_suffix))
            found.append(f"{self._syntax.id_digits('run.id')} LIKE {pattern}")
        if f.top_level_only:
            found.append(str(tables.IS_TOP_LEVEL))
        if f.created_after_us is not None:
            found.append(f"run.created_us >= {self.value('after_us', f.created_after_us)}")
        if f.created_before_us is not None:
            found.append(f"run.created_us < {self.value('before_us', f.created_before_us)}")
        rest = [tag for tag in dict.fromkeys(f.tags) if tag != self._tag_read]
        found += [self._has_tag(tag) for tag in self.values("tags", rest)]
        return found

    def _has_tag(self, tag: str) -> str:
        kind = self.value("kind", self._kind)
        return (
            "EXISTS (SELECT 1 FROM run_tag AS other"  # noqa: S608 - no values in it
            f" WHERE other.tag = {tag} AND other.kind = {kind} AND other.run_id = run.id)"
        )

    def _add_bounds(self) -> None:
        f = self._filter
        if f.id_prefix is not None:
            first, last = prefix_range(f.id_prefix)
            self.bound(">=", first)
            self.bound("<=", last)
        if f.created_after_us is not None:
            self.bound(">=", time_floor(f.created_after_us - CLOCK_SLACK_US))
        if f.created_before_us is not None:
            self.bound("<", time_floor(f.created_before_us + CLOCK_SLACK_US))
