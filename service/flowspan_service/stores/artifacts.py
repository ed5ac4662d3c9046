"""Artifacts: table, row mapping, reads, and writes in a unit of work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    LargeBinary,
    Table,
    Text,
    and_,
    cast,
    delete,
    func,
    null,
    select,
    text,
    union_all,
)

from flowspan_service.domain.artifacts import Artifact
from flowspan_service.domain.payloads import Payload
from flowspan_service.stores import trees
from flowspan_service.stores.engine.bounds import OBJECT_BYTES, fetch_page, text_bytes
from flowspan_service.stores.engine.bulk import IDS_PER_STATEMENT, chunks, flat, weighed
from flowspan_service.stores.engine.transaction import Buffered
from flowspan_service.stores.ids import Id, begins_with, prefix_range, suffix_pattern, to_bytes
from flowspan_service.stores.schema import NAME, metadata

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Select, Subquery
    from sqlalchemy.engine import Connection

    from flowspan_service.app.ports.artifacts import ArtifactQuery, LatestArtifactQuery
    from flowspan_service.app.ports.pages import Page
    from flowspan_service.stores.engine.reading import Reading
    from flowspan_service.stores.engine.transaction import Transaction

ROWS_BUFFERED = 16
"""Rows fetched at once: of the largest artifacts, 16 MiB."""
STATEMENT_BYTES = 4_000_000
DELETED_AT_ONCE = 50
"""Artifacts of the largest size are then 50 MiB."""

artifact = Table(
    "artifact",
    metadata,
    Column("id", Id, primary_key=True),
    Column("run_id", Id),
    Column("flow_run_id", Id),
    Column("root_run_id", Id),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Column("type", NAME, nullable=False),
    Column("key", NAME),
    Column("description", Text, nullable=False),
    Column("data_encoding", Text),
    Column("data", LargeBinary),
)
"""The artifacts of runs. The latest of a key has the greatest id."""

HAS_KEY = text("key IS NOT NULL")
HAS_RUN = text("run_id IS NOT NULL")
HAS_ROOT = text("root_run_id IS NOT NULL")


def _artifact_index(name: str, *columns: str, where: object = None) -> Index:
    return Index(
        name,
        *(artifact.c[column] for column in columns),
        sqlite_where=where,
    )


_artifact_index("artifact_by_key", "key", "id", where=HAS_KEY)
_artifact_index("artifact_by_run", "run_id", "id", where=HAS_RUN)
_artifact_index("artifact_by_root", "root_run_id", "id", where=HAS_ROOT)
_artifact_index("artifact_by_type", "type", "id")

artifact_table = artifact
"""The same table, for functions with an artifact in a variable."""


def artifact_row(artifact: Artifact, null: object) -> tuple[Any, ...]:
    """Return a row of `artifact`, with ids as bytes, and `null` for fields that are None."""
    data = artifact.data
    return (
        to_bytes(artifact.id),
        to_bytes(artifact.run_id) if artifact.run_id else null,
        to_bytes(artifact.flow_run_id) if artifact.flow_run_id else null,
        to_bytes(artifact.root_run_id) if artifact.root_run_id else null,
        artifact.created_us,
        artifact.updated_us,
        artifact.type,
        artifact.key if artifact.key is not None else null,
        artifact.description,
        *((data.encoding, data.data) if data is not None else (null, null)),
    )


def artifact_of(row: Sequence[Any]) -> Artifact:
    """Return the artifact in a row of `artifact` with ids as text."""
    (
        artifact_id, run_id, flow_run_id, root_run_id, created_us, updated_us,
        kind, key, description, encoding, data,
    ) = row  # fmt: skip
    return Artifact(
        id=artifact_id,
        key=key,
        type=kind,
        description=description,
        data=Payload(encoding, data) if encoding is not None else None,
        run_id=run_id,
        flow_run_id=flow_run_id,
        root_run_id=root_run_id,
        created_us=created_us,
        updated_us=updated_us,
    )


def artifact_bytes(artifact: Artifact) -> int:
    """Return the approximate size of an artifact's message."""
    size = OBJECT_BYTES + text_bytes(artifact.key or "") + text_bytes(artifact.description)
    return size + _data_bytes(artifact)


def _data_bytes(artifact: Artifact) -> int:
    return 0 if artifact.data is None else len(artifact.data.data)


class ArtifactReads:
    """Implementation of app.ports.artifacts.ArtifactReads."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def get(self, *, artifact_id: str | None = None, key: str | None = None) -> Artifact | None:
        """Return an artifact by its id, or the latest of a key."""
        columns = artifact.c
        statement = select(artifact)
        if artifact_id is not None:
            statement = statement.where(columns.id == artifact_id)
        if key is not None:
            statement = statement.where(columns.key == key)
        with self._reading.connection() as connection:
            row = connection.execute(statement.order_by(columns.id.desc()).limit(1)).first()
        return None if row is None else artifact_of(row)

    def list(self, query: ArtifactQuery) -> Page[Artifact]:
        """Return a page of artifacts."""
        columns = artifact.c
        with self._reading.connection() as connection:
            ids = _merged(query, _conditions(connection, query))
            order = columns.id.asc() if query.oldest_first else columns.id.desc()
            statement = (
                _artifacts(without_data=query.without_data)
                .join(ids, columns.id == ids.c.id)
                .order_by(order)
                .limit(query.limit + 1)
            )
            return _page(connection, statement, query)

    def list_latest(self, query: LatestArtifactQuery) -> Page[Artifact]:
        """Return a page of the latest artifacts of each key."""
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
        with self._reading.connection() as connection:
            return _page(connection, statement, query)


class ArtifactWrites(Buffered):
    """Implementation of app.ports.artifacts.ArtifactWrites."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._known: dict[str, Artifact | None] = {}
        """The artifacts as they are now; None for ids without one."""
        self._put: dict[str, Artifact] = {}
        """The buffered artifacts."""
        self._stored: set[str] = set()
        """The artifacts that have a row, which a change replaces."""

    @property
    def row_count(self) -> int:
        """The number of buffered rows."""
        return len(self._put)

    def preload(self, artifact_ids: Sequence[str]) -> None:
        """Load artifacts that will be asked for, in few statements, but not large ones."""
        unknown = [key for key in dict.fromkeys(artifact_ids) if key not in self._known]
        if not unknown:
            return
        now, later = self._fitting(unknown)
        self._known.update(dict.fromkeys(unknown))
        for key in later:
            del self._known[key]
        for chunk in chunks(now, IDS_PER_STATEMENT):
            statement = select(artifact_table).where(artifact_table.c.id.in_(chunk))
            for row in self._tx.connection.execute(statement):
                artifact = artifact_of(row)
                self._known[artifact.id] = artifact
                self._stored.add(artifact.id)

    def get(self, artifact_id: str) -> Artifact | None:
        """Return the artifact, or None."""
        if artifact_id not in self._known:
            self.preload((artifact_id,))
            loaded = self._known[artifact_id]
            if loaded is not None:
                self._tx.budget.touch_late(artifact_bytes(loaded))
        return self._known[artifact_id]

    def put(self, artifact: Artifact) -> None:
        """Store a new or changed artifact. Call `get` for its id before."""
        self._tx.changes += 1
        if artifact.id in self._stored and artifact.id not in self._put:
            self._tx.budget.touch(artifact_bytes(artifact))
        self._known[artifact.id] = self._put[artifact.id] = artifact

    def write(self) -> None:
        """Write the buffered rows. A changed artifact is a new row in place of the old one."""
        replaced = [key for key in self._put if key in self._stored]
        for chunk in chunks(replaced, IDS_PER_STATEMENT):
            self._tx.connection.execute(
                delete(artifact_table).where(artifact_table.c.id.in_(chunk))
            )
        for some in weighed(self._put.values(), _data_bytes, STATEMENT_BYTES):
            values = flat(artifact_row(each, self._tx.null) for each in some)
            self._tx.dialect.insert(self._tx.connection, artifact_table, values)
        self._stored |= self._put.keys()
        self._put.clear()

    def delete(self, *, artifact_id: str | None = None, key: str | None = None, limit: int) -> int:
        """Delete an artifact, or some artifacts of a key."""
        self._tx.changes += 1
        self._tx.flush()
        columns = artifact_table.c
        which = columns.id == artifact_id if artifact_id is not None else columns.key == key
        return self._delete_some(which, limit)

    def delete_of(self, run_ids: Sequence[str]) -> bool:
        """Delete some artifacts without a key of these runs; return True if there may be more."""
        columns = artifact_table.c
        theirs = and_(columns.run_id.in_(run_ids), columns.key.is_(None))
        return self._delete_some(theirs, DELETED_AT_ONCE) == DELETED_AT_ONCE

    def _delete_some(self, which: ColumnElement[bool], limit: int) -> int:
        self._stored.clear()
        self._known.clear()
        some = select(artifact_table.c.id).where(which).limit(limit)
        statement = delete(artifact_table).where(artifact_table.c.id.in_(some))
        return self._tx.connection.execute(statement).rowcount

    def _fitting(self, artifact_ids: list[str]) -> tuple[list[str], list[str]]:
        return self._tx.budget.fitting(
            self._tx.connection,
            artifact_table,
            artifact_ids,
            payloads=(artifact_table.c.data,),
            row_bytes=OBJECT_BYTES,
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
        # The artifacts that a deleted run left are found by its root.
        root = trees.root_of(connection, query.run_id) or query.run_id
        found.append(columns.root_run_id == root)
        if root != query.run_id:
            found.append(columns.run_id.in_(trees.tree_ids(query.run_id, is_root=False)))
    if query.after_id is not None:
        is_after, is_before = columns.id > query.after_id, columns.id < query.after_id
        found.append(is_after if query.oldest_first else is_before)
    return found


def _merged(query: ArtifactQuery, conditions: Sequence[ColumnElement[bool]]) -> Subquery:
    """Return the ids of a page, and one more.

    Each of several types is a range of the index of (type, id) of its own, as in `run_lists`: found
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
    # SQLite allows a SELECT with ORDER BY in a UNION only as a subquery.
    every = union_all(*(select(part.subquery().c.id) for part in parts)).subquery()
    return ordered(select(every.c.id), every.c.id).subquery()


def _distinct_keys(query: LatestArtifactQuery) -> Any:
    """Return the keys of a page, and one more: one step along the index for each key.

    The type is Any because mypy fails over the type of a recursive CTE.
    """
    key = artifact.c.key
    # The index has only artifacts with a key, and a query must repeat that to use it.
    first = select(func.min(key).label("key")).where(HAS_KEY)
    if query.key_prefix:
        first = first.where(*begins_with(key, query.key_prefix))
    if query.after_key is not None:
        first = first.where(key > query.after_key)
    keys: Any = first.cte("keys", recursive=True)
    following = select(func.min(key)).where(key > keys.c.key)
    if query.key_prefix:
        following = following.where(*begins_with(key, query.key_prefix))
    step = select(following.scalar_subquery()).where(keys.c.key.is_not(None))
    every = keys.union_all(step)
    return select(every.c.key).where(every.c.key.is_not(None)).limit(query.limit + 1).subquery()


def _page(
    connection: Connection,
    statement: Select[*tuple[Any, ...]],
    query: ArtifactQuery | LatestArtifactQuery,
) -> Page[Artifact]:
    return fetch_page(
        connection, statement, artifact_of, artifact_bytes, query, rows_buffered=ROWS_BUFFERED
    )
