"""Artifacts and variables within a unit of work."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from sqlalchemy import and_, delete, select

from flowspan_service.stores import schema as tables
from flowspan_service.stores.dialects.base import chunks
from flowspan_service.stores.engine.bounds import artifact_bytes
from flowspan_service.stores.rows import artifact_of, artifact_row, variable_of
from flowspan_service.stores.upserts import upsert_variable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.engine import Connection

    from flowspan_service.domain.artifacts import Artifact
    from flowspan_service.domain.variables import Variable
    from flowspan_service.stores.dialects.base import Dialect
    from flowspan_service.stores.engine.budget import Budget

_QUERY_IDS = 500
_STATEMENT_BYTES = 4_000_000
_DELETED_AT_ONCE = 50
"""Artifacts of the largest size are 50 MiB."""


class Objects:
    """The part of a `unit.Unit` that is not about runs and sessions."""

    def __init__(self, dialect: Dialect, connection: Connection, budget: Budget) -> None:
        self._dialect = dialect
        self._connection = connection
        self._budget = budget
        self._known: dict[str, Artifact | None] = {}
        """Artifacts as they are now; None for those that are not there."""
        self._put: dict[str, Artifact] = {}
        """Artifacts that are not written yet."""
        self._stored: set[str] = set()
        """Those of which there is a row, to be replaced."""

    @property
    def row_count(self) -> int:
        """How many rows wait to be written."""
        return len(self._put)

    def preload_artifacts(self, artifact_ids: Sequence[str]) -> None:
        """See app.ports.UnitOfWork."""
        unknown = [key for key in dict.fromkeys(artifact_ids) if key not in self._known]
        if not unknown:
            return
        now, later = self._budget.fitting_artifacts(self._connection, unknown)
        self._known.update(dict.fromkeys(unknown))
        for key in later:
            del self._known[key]
        for chunk in chunks(now, _QUERY_IDS):
            statement = select(tables.artifact).where(tables.artifact.c.id.in_(chunk))
            for row in self._connection.execute(statement):
                artifact = artifact_of(row)
                self._known[artifact.id] = artifact
                self._stored.add(artifact.id)

    def artifact(self, artifact_id: str) -> Artifact | None:
        """See app.ports.UnitOfWork."""
        if artifact_id not in self._known:
            self.preload_artifacts((artifact_id,))
            loaded = self._known[artifact_id]
            if loaded is not None:
                self._budget.touch_late(artifact_bytes(loaded))
        return self._known[artifact_id]

    def put_artifact(self, artifact: Artifact) -> None:
        """See app.ports.UnitOfWork."""
        if artifact.id in self._stored and artifact.id not in self._put:
            self._budget.touch(artifact_bytes(artifact))
        self._known[artifact.id] = self._put[artifact.id] = artifact

    def write(self) -> None:
        """Writes what waits. A changed artifact is a new row in place of the old one."""
        if not self._put:
            return
        replaced = [key for key in self._put if key in self._stored]
        for chunk in chunks(replaced, _QUERY_IDS):
            self._connection.execute(delete(tables.artifact).where(tables.artifact.c.id.in_(chunk)))
        for some in _in_pieces(self._put.values()):
            rows = (artifact_row(artifact, self._dialect.null) for artifact in some)
            self._dialect.insert(self._connection, tables.artifact, list(chain.from_iterable(rows)))
        self._stored |= self._put.keys()
        self._put.clear()

    def delete_artifacts(self, *, artifact_id: str | None, key: str | None, limit: int) -> int:
        """See app.ports.UnitOfWork. What was put is written."""
        columns = tables.artifact.c
        which = columns.id == artifact_id if artifact_id is not None else columns.key == key
        return self._delete_some(which, limit)

    def delete_artifacts_of(self, run_ids: Sequence[str]) -> bool:
        """Delete some of what belongs to these runs alone; True if there may be more."""
        columns = tables.artifact.c
        theirs = and_(columns.run_id.in_(run_ids), columns.key.is_(None))
        return self._delete_some(theirs, _DELETED_AT_ONCE) == _DELETED_AT_ONCE

    def _delete_some(self, which: ColumnElement[bool], limit: int) -> int:
        self._stored.clear()
        self._known.clear()
        some = select(tables.artifact.c.id).where(which).limit(limit)
        statement = delete(tables.artifact).where(tables.artifact.c.id.in_(some))
        return self._connection.execute(statement).rowcount

    def variable(self, name: str) -> Variable | None:
        """See app.ports.UnitOfWork."""
        statement = select(tables.variable).where(tables.variable.c.name == name)
        row = self._connection.execute(statement).first()
        return None if row is None else variable_of(row)

    def put_variable(self, variable: Variable) -> None:
        """See app.ports.UnitOfWork."""
        upsert_variable(self._connection, variable)

    def delete_variable(self, name: str) -> bool:
        """See app.ports.UnitOfWork."""
        statement = delete(tables.variable).where(tables.variable.c.name == name)
        return self._connection.execute(statement).rowcount > 0


def _in_pieces(artifacts: Iterable[Artifact]) -> Iterable[list[Artifact]]:
    """Artifacts may be large and drivers copy them: no statement takes too many at once."""
    some: list[Artifact] = []
    size = 0
    for artifact in artifacts:
        some.append(artifact)
        size += len(artifact.data.data) if artifact.data is not None else 0
        if size > _STATEMENT_BYTES:
            yield some
            some, size = [], 0
    if some:
        yield some
