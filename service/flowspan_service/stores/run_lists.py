"""Lists of runs, as merged ranges of indexes.

A list is sorted by id and cut by a key (the last id of the page before), so its cost must not
depend on where the page is. Each index that a list uses ends in (state_type, id); so a list is one
range for each type of state, each giving at most a page of ids, merged: page 10,000 costs what page
1 costs, with a filter on the state and without one.

The SQL is put together as text: as an expression of SQLAlchemy's, a list of all states took longer
to build than to run. Values are parameters throughout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from flowspan_service.domain.runs import RunKind
from flowspan_service.domain.states import StateType
from flowspan_service.stores import schema as tables
from flowspan_service.stores.ids import prefix_range, suffix_pattern, time_floor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowspan_service.app.queries import RunFilter, RunQuery
    from flowspan_service.domain.commands import Command

ALL_TYPES = tuple(int(state_type) for state_type in StateType)
MAX_MERGED_NAMES = 16
"""Above this, function names are a filter on another range instead of ranges of their own."""
CLOCK_SLACK_US = 3_600_000_000
"""How far a run's created_us may be from the time in its id, so that the id narrows the search."""

_TRANSITION_COLUMNS = ", ".join(f"transition.{column.name}" for column in tables.transition.c)
_COMMAND_COLUMNS = ", ".join(column.name for column in tables.command.c)
RUN_COLUMNS = ", ".join(f"run.{column.name}" for column in tables.run.c)
KEY_COLUMNS = "run.id, run.position, run.session_id"


class Syntax(Protocol):
    """How a dialect writes parameters."""

    def parameter(self, name: str) -> str:
        """The parameter of that name, in SQL."""
        ...

    def id_parameter(self, name: str) -> str:
        """The same, for an id."""
        ...

    def id_value(self, run_id: str) -> object:
        """An id as the value of a parameter."""
        ...

    def id_digits(self, column: str) -> str:
        """The hex digits of an id, lower-case, in SQL."""
        ...


class Statement(NamedTuple):
    """SQL with its parameters."""

    sql: str
    parameters: dict[str, Any]


def transitions_statement(
    after: int, upto: int, root_run_id: str | None, limit: int, syntax: Syntax
) -> Statement:
    """The transitions between two positions, of one tree or of all: the columns of `transition`."""
    parameters: dict[str, Any] = {"after": after, "upto": upto, "limit": limit}
    tree = ""
    if root_run_id is not None:
        parameters["root"] = syntax.id_value(root_run_id)
        tree = (
            " JOIN run ON run.id = transition.run_id"
            f" AND run.root_run_id = {syntax.id_parameter('root')}"
        )
    parameter = syntax.parameter
    sql = (
        f"SELECT {_TRANSITION_COLUMNS} FROM transition{tree}"  # noqa: S608 - no values in it
        f" WHERE transition.position > {parameter('after')}"
        f" AND transition.position <= {parameter('upto')}"
        f" ORDER BY transition.position LIMIT {parameter('limit')}"
    )
    return Statement(sql, parameters)


def open_commands_statement(
    session_id: str, after: Command | None, limit: int, syntax: Syntax
) -> Statement:
    """The open commands of a session, by run and number: the columns of `command`."""
    parameters: dict[str, Any] = {"session": syntax.id_value(session_id), "limit": limit}
    later = ""
    if after is not None:
        parameters |= {"run": syntax.id_value(after.run_id), "number": after.number}
        run_id, number = syntax.id_parameter("run"), syntax.parameter("number")
        later = f" AND (run_id > {run_id} OR (run_id = {run_id} AND number > {number}))"
    sql = (
        f"SELECT {_COMMAND_COLUMNS} FROM command"  # noqa: S608 - no values in it
        f" WHERE session_id = {syntax.id_parameter('session')} AND {tables.IS_OPEN_COMMAND}{later}"
        f" ORDER BY run_id, number LIMIT {syntax.parameter('limit')}"
    )
    return Statement(sql, parameters)


class _Range(NamedTuple):
    """A part of an index: conditions that say which, and whether the state's type is in it."""

    conditions: tuple[str, ...]
    source: str = "run"
    id_column: str = "run.id"
    by_state: bool = True


def page_statement(
    query: RunQuery, syntax: Syntax, *, limit: int, columns: str = RUN_COLUMNS
) -> Statement:
    """The runs of a page, in their order: the columns of `run`, or some of them."""
    wanted = _Wanted(query.kind, query.filter, syntax)
    if query.after_id is not None:
        wanted.bound(">" if query.oldest_first else "<", query.after_id)
    limited = f"LIMIT {wanted.value('limit', limit)}"
    direction = "ASC" if query.oldest_first else "DESC"
    parts = [
        f"SELECT {part.id_column} AS id {body} ORDER BY {part.id_column} {direction} {limited}"
        for part, body in wanted.parts()
    ]
    # A SELECT with ORDER BY may stand in a UNION only as a subquery, says SQLite.
    ids = " UNION ALL ".join(f"SELECT id FROM ({part}) AS part" for part in parts)  # noqa: S608 - no values in it
    if len(parts) > 1:
        # Merged before the rows are fetched, so that no more of them are than the page has.
        ids = f"SELECT id FROM ({ids}) AS merged ORDER BY id {direction} {limited}"  # noqa: S608 - as above
    sql = (
        f"SELECT {columns} FROM ({ids}) AS page JOIN run ON run.id = page.id"  # noqa: S608 - no values in it
        f" ORDER BY page.id {direction} {limited}"
    )
    return Statement(sql, wanted.parameters)


def count_statement(kind: int, run_filter: RunFilter, syntax: Syntax) -> Statement:
    """How many runs there are, by the type of their state: rows of type and count."""
    wanted = _Wanted(kind, run_filter, syntax)
    parts = [f"SELECT run.state_type AS state_type {body}" for _, body in wanted.parts()]
    sql = (
        f"SELECT state_type, count(*) FROM ({' UNION ALL '.join(parts)}) AS counted"  # noqa: S608 - no values in it
        " GROUP BY state_type"
    )
    return Statement(sql, wanted.parameters)


class _Wanted:
    """What a filter asks for: ranges to read, bounds of the id, conditions to check on a run."""

    def __init__(self, kind: int, run_filter: RunFilter, syntax: Syntax) -> None:
        self.parameters: dict[str, Any] = {}
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
        """A parameter with its value; a name stands for one value throughout."""
        self.parameters[name] = value
        return self._syntax.parameter(name)

    def values(self, name: str, values: Sequence[object]) -> list[str]:
        """Parameters for several values."""
        return [self.value(f"{name}_{index}", value) for index, value in enumerate(values)]

    def id_value(self, name: str, run_id: str) -> str:
        """A parameter that is an id."""
        self.parameters[name] = self._syntax.id_value(run_id)
        return self._syntax.id_parameter(name)

    def bound(self, comparison: str, run_id: str) -> None:
        """Narrows all ranges to the ids that compare so."""
        self._bounds.append((comparison, self.id_value(f"bound_{len(self._bounds)}", run_id)))

    def parts(self) -> list[tuple[_Range, str]]:
        """For each range and type of state: FROM and WHERE."""
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
        """The most selective ranges that the filter allows."""
        f, kind = self._filter, self._is_kind
        if f.parent_run_id is not None:
            return [_Range((self._is("parent_run_id", f.parent_run_id), kind))]
        if f.flow_run_id is not None:
            return self._flow_run_ranges(f.flow_run_id)
        if f.run_name is not None and self._kind == RunKind.FLOW:
            name = f"run.run_name = {self.value('run_name', f.run_name)}"
            return [_Range((name, str(tables.IS_FLOW)), by_state=False)]
        if f.tags:
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
        """Most tasks of a flow run are its children; the others have an index of their own."""
        here = self._is("flow_run_id", flow_run_id)
        elsewhere = (here, str(tables.IS_IN_FLOW_RUN), str(tables.IS_NOT_CHILD_OF_FLOW_RUN))
        return [
            _Range(
                (f"run.parent_run_id = {self.id_value('flow_run_id', flow_run_id)}", self._is_kind)
            ),
            _Range((*elsewhere, self._is_kind)),
        ]

    def _root_ranges(self, root_run_id: str) -> list[_Range]:
        """The root itself, its children, and those further down."""
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
        """All conditions but those on the id; a range that says the same says it once."""
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
            # The id is in every index that a range reads, so that no row is fetched for this.
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
