"""The reads of artifacts, variables and commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Text, cast, func, null, select, union_all

from flowspan_service.app.queries import Page
from flowspan_service.stores import trees
from flowspan_service.stores.commands import sessions_with_commands
from flowspan_service.stores.dialects.base import chunks
from flowspan_service.stores.engine.bounds import artifact_bytes, bounded, variable_bytes
from flowspan_service.stores.ids import prefix_range, suffix_pattern
from flowspan_service.stores.rows import artifact_of, variable_of
from flowspan_service.stores.runs import Reads
from flowspan_service.stores.schema import HAS_KEY, artifact, variable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import ColumnElement, Select, Subquery
    from sqlalchemy.engine import Connection

    from flowspan_service.app.queries import ArtifactQuery, LatestArtifactQuery, VariableQuery
    from flowspan_service.domain.artifacts import Artifact
    from flowspan_service.domain.commands import Command
    from flowspan_service.domain.variables import Variable

ROWS_BUFFERED = 16
"""Rows fetched at once: of the largest artifacts, 16 MiB."""
QUERY_IDS = 500
_LAST_CHARACTER = "\U0010ffff"

T = TypeVar("T")


class ObjectReads(Reads):
    """See app.ports.Store."""

    def get_artifact(
        self, *, artifact_id: str | None = None, key: str | None = None
    ) -> Artifact | None:
        """See app.ports.Store."""
        columns = artifact.c
        statement = select(artifact)
        if artifact_id is not None:
            statement = statement.where(columns.id == artifact_id)
        if key is not None:
            statement = statement.where(columns.key == key)
        with self._connection() as connection:
            row = connection.execute(statement.order_by(columns.id.desc()).limit(1)).first()
        return None if row is None else artifact_of(row)

    def open_commands(
        self,
        session_id: str,
        *,
        after: Command | None = None,
        limit: int,
        limit_bytes: int = 1_000_000,
    ) -> Page[Command]:
        """See app.ports.Store."""
        with (
            self._explained(),
            self._dialect.open_commands(session_id, after, limit=limit + 1) as found,
        ):
            return bounded(found, lambda each: len(each.reason), limit, limit_bytes)

    def sessions_with_commands(self, session_ids: Sequence[str]) -> list[str]:
        """See app.ports.Store."""
        with self._connection() as connection:
            return [
                session_id
                for chunk in chunks(session_ids, QUERY_IDS)
                for session_id in connection.scalars(sessions_with_commands(chunk))
            ]

    def list_artifacts(self, query: ArtifactQuery) -> Page[Artifact]:
        """See app.ports.Store."""
        columns = artifact.c
        with self._connection() as connection:
            ids = _merged(query, _conditions(connection, query))
            order = columns.id.asc() if query.oldest_first else columns.id.desc()
            statement = (
                _artifacts(without_data=query.without_data)
                .join(ids, columns.id == ids.c.id)
                .order_by(order)
                .limit(query.limit + 1)
            )
            return _page(connection, statement, query, artifact_of, artifact_bytes)

    def latest_artifacts(self, query: LatestArtifactQuery) -> Page[Artifact]:
        """See app.ports.Store."""
        keys = _distinct_keys(query)
        others = artifact.alias("others").c
        latest = (
            select(others.id)
            .where(others.key == keys.c.key)
            .order_by(others.id.desc())
            .limit(1)
            .scalar_subquery()
        )
        statement = (
            _artifacts(without_data=query.without_data)
            .join(keys, artifact.c.id == latest)
            .order_by(artifact.c.key)
        )
        with self._connection() as connection:
            return _page(connection, statement, query, artifact_of, artifact_bytes)

    def get_variable(self, name: str) -> Variable | None:
        """See app.ports.Store."""
        with self._connection() as connection:
            row = connection.execute(select(variable).where(variable.c.name == name)).first()
        return None if row is None else variable_of(row)

    def list_variables(self, query: VariableQuery) -> Page[Variable]:
        """See app.ports.Store."""
        name = variable.c.name
        statement = select(variable).order_by(name)
        if query.name_prefix:
            statement = statement.where(*_begins_with(name, query.name_prefix))
        if query.after_name is not None:
            statement = statement.where(name > query.after_name)
        wanted = set(query.tags)
        with self._connection() as connection:
            return _page(
                connection,
                statement,
                query,
                variable_of,
                variable_bytes,
                lambda item: wanted <= set(item.tags),
            )


def _artifacts(*, without_data: bool) -> Select[*tuple[Any, ...]]:
    if not without_data:
        return select(artifact)
    columns = [column for column in artifact.c if column.name not in {"data_encoding", "data"}]
    return select(*columns, null(), null())


def _conditions(connection: Connection, query: ArtifactQuery) -> Sequence[ColumnElement[bool]]:
    columns = artifact.c
    found: list[ColumnElement[bool]] = []
    if query.key is not None:
        found.append(columns.key == query.key)
    if query.id_prefix is not None:
        first, last = prefix_range(query.id_prefix)
        found += [columns.id >= first, columns.id <= last]
    if query.id_suffix is not None:
        digits: ColumnElement[str] = func.lower(func.hex(columns.id))
        if connection.dialect.name == "postgresql":
            digits = func.replace(cast(columns.id, Text), "-", "")
        found.append(digits.like(suffix_pattern(query.id_suffix)))
    if query.run_id is not None and not query.include_descendants:
        found.append(columns.run_id == query.run_id)
    elif query.run_id is not None:
        # What a run that was deleted has left is found by its root.
        root = trees.root_of(connection, query.run_id) or query.run_id
        found.append(columns.root_run_id == root)
        if root != query.run_id:
            found.append(columns.run_id.in_(trees.tree_ids(query.run_id, is_root=False)))
    if query.after_id is not None:
        is_after, is_before = columns.id > query.after_id, columns.id < query.after_id
        found.append(is_after if query.oldest_first else is_before)
    return found


def _merged(query: ArtifactQuery, conditions: Sequence[ColumnElement[bool]]) -> Subquery:
    """The ids of a page, and one more.

    Of several types, each is a range of the index of (type, id) of its own, as in `lists`: found
    together, all artifacts of these types would have to be sorted.
    """
    columns = artifact.c

    def ordered(ids: Select[tuple[str]], column: ColumnElement[str]) -> Select[tuple[str]]:
        order = column.asc() if query.oldest_first else column.desc()
        return ids.order_by(order).limit(query.limit + 1)

    parts = [
        ordered(
            select(columns.id).where(
                *conditions, *(() if kind is None else [columns.type == kind])
            ),
            columns.id,
        )
        for kind in dict.fromkeys(query.types or (None,))
    ]
    if len(parts) == 1:
        return parts[0].subquery()
    # A SELECT with ORDER BY may stand in a UNION only as a subquery, says SQLite.
    every = union_all(*(select(part.subquery().c.id) for part in parts)).subquery()
    return ordered(select(every.c.id), every.c.id).subquery()


def _distinct_keys(query: LatestArtifactQuery) -> Any:
    """The keys of a page, and one more: each is one step along the index, however long its history.

    The type is Any because mypy fails over that of a recursive CTE.
    """
    key = artifact.c.key
    # The index has only what has a key, and is used only where that is said.
    first = select(func.min(key).label("key")).where(HAS_KEY)
    if query.key_prefix:
        first = first.where(*_begins_with(key, query.key_prefix))
    if query.after_key is not None:
        first = first.where(key > query.after_key)
    keys: Any = first.cte("keys", recursive=True)
    following = select(func.min(key)).where(key > keys.c.key)
    if query.key_prefix:
        following = following.where(*_begins_with(key, query.key_prefix))
    step = select(following.scalar_subquery()).where(keys.c.key.is_not(None))
    every = keys.union_all(step)
    return select(every.c.key).where(every.c.key.is_not(None)).limit(query.limit + 1).subquery()


def _begins_with(column: ColumnElement[Any], prefix: str) -> tuple[ColumnElement[bool], ...]:
    # As a range and not with LIKE, which uses an index only under conditions.
    return column >= prefix, column < prefix + _LAST_CHARACTER


def _page(
    connection: Connection,
    statement: Select[*tuple[Any, ...]],
    query: ArtifactQuery | LatestArtifactQuery | VariableQuery,
    make: Callable[[Sequence[Any]], T],
    size_of: Callable[[T], int],
    is_wanted: Callable[[T], bool] = lambda _: True,
) -> Page[T]:
    """The first items of a statement's answer, up to the limits of the query."""
    items: list[T] = []
    size_bytes = 0
    # The limits come with the rows, so that a page of large items is not loaded whole.
    result = connection.execution_options(yield_per=ROWS_BUFFERED).execute(statement)
    with result:
        for row in result:
            item = make(row)
            if not is_wanted(item):
                continue
            if len(items) == query.limit or size_bytes > query.limit_bytes:
                return Page(items=items, has_more=True)
            items.append(item)
            size_bytes += size_of(item)
    return Page(items=items, has_more=False)
