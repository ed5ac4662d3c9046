"""Labels of runs: table, reads, and writes in a unit of work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, Index, Table, bindparam, delete, select, text, tuple_

from flowspan_service.domain.labels import Label
from flowspan_service.stores.engine.bounds import fetch_page, text_bytes
from flowspan_service.stores.engine.reading import rows_buffered
from flowspan_service.stores.engine.transaction import Buffered
from flowspan_service.stores.ids import Id, to_bytes
from flowspan_service.stores.runs import run
from flowspan_service.stores.schema import NAME, metadata

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy import Select
    from sqlalchemy.engine import Connection

    from flowspan_service.app.ports.labels import LabelQuery
    from flowspan_service.app.ports.pages import Page
    from flowspan_service.stores.engine.reading import Reading
    from flowspan_service.stores.engine.transaction import Transaction

LABEL_BYTES = 48
"""The approximate size of the id and the tags in a label's message."""
DELETED_AT_ONCE = 2000

label = Table(
    "label",
    metadata,
    Column("run_id", Id, primary_key=True),
    Column("key", NAME, primary_key=True),
    Column("value", NAME, nullable=False),
    sqlite_with_rowid=False,
)
"""The labels of runs. Not a column of `run`, so that reads of runs cost nothing more."""

Index("label_by_key", label.c.key, label.c.run_id)
Index("label_by_value", label.c.key, label.c.value, label.c.run_id)

_WIDTH = len(label.c)
_UPSERT = text(
    "INSERT INTO label (run_id, key, value) VALUES (:run_id, :key, :value)"
    " ON CONFLICT (run_id, key) DO UPDATE SET value = excluded.value"
).bindparams(bindparam("run_id", type_=Id))


def label_of(row: Sequence[Any]) -> Label:
    """Return the label in a row of `label`."""
    return Label(*row)


def label_bytes(label: Label) -> int:
    """Return the approximate size of a label's message."""
    return LABEL_BYTES + text_bytes(label.key) + text_bytes(label.value)


class LabelReads:
    """Implementation of app.ports.labels.LabelReads."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def get(self, run_id: str) -> dict[str, str] | None:
        """Return the labels of a run, ordered by key; None if there is no such run."""
        with self._reading.connection() as connection:
            labels = _labels_of(connection, run_id)
            if labels:
                return labels
            known = connection.execute(select(run.c.id).where(run.c.id == run_id)).first()
        return None if known is None else labels

    def list(self, query: LabelQuery) -> Page[Label]:
        """Return a page of labels."""
        with self._reading.connection() as connection:
            return fetch_page(
                connection,
                _list_statement(query),
                label_of,
                label_bytes,
                query,
                rows_buffered=rows_buffered(query.limit),
            )


class LabelWrites(Buffered):
    """Implementation of app.ports.labels.LabelWrites. Only labels of new runs are buffered."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._new: list[Any] = []
        """The values of the rows, one after the other."""

    def note_new(self, run_id: str, labels: Mapping[str, str]) -> None:
        """Note the labels of a new run."""
        raw_id = to_bytes(run_id)
        for key, value in labels.items():
            self._new += (raw_id, key, value)

    @property
    def row_count(self) -> int:
        """The number of buffered rows."""
        return len(self._new) // _WIDTH

    def write(self) -> None:
        """Write the buffered rows."""
        self._tx.dialect.insert(self._tx.connection, label, self._new)
        self._new.clear()

    def _flush(self) -> None:
        if self._new:
            self._tx.flush()

    def get(self, run_id: str) -> dict[str, str]:
        """Return the labels of a run, ordered by key."""
        self._flush()
        return _labels_of(self._tx.connection, run_id)

    def put(self, run_id: str, labels: Mapping[str, str]) -> None:
        """Store new or changed labels of a run."""
        if labels:
            self._flush()
            self._tx.changes += 1
            rows = [{"run_id": run_id, "key": key, "value": labels[key]} for key in labels]
            self._tx.connection.execute(_UPSERT, rows)

    def remove(self, run_id: str, keys: Collection[str]) -> None:
        """Remove labels of a run."""
        if keys:
            self._flush()
            self._tx.changes += 1
            which = delete(label).where(label.c.run_id == run_id, label.c.key.in_(keys))
            self._tx.connection.execute(which)

    def delete_of(self, run_ids: Sequence[str]) -> bool:
        """Delete some labels of these runs; return True if there may be more."""
        self._flush()
        keys = select(label.c.run_id, label.c.key).where(label.c.run_id.in_(run_ids))
        found = tuple_(label.c.run_id, label.c.key).in_(keys.limit(DELETED_AT_ONCE))
        return self._tx.connection.execute(delete(label).where(found)).rowcount == DELETED_AT_ONCE


def _labels_of(connection: Connection, run_id: str) -> dict[str, str]:
    columns = select(label.c.key, label.c.value).where(label.c.run_id == run_id)
    rows = connection.execute(columns.order_by(label.c.key))
    return {row.key: row.value for row in rows}


def _list_statement(query: LabelQuery) -> Select[*tuple[Any, ...]]:
    statement = select(label).where(label.c.key == query.key)
    if query.value is not None:
        statement = statement.where(label.c.value == query.value)
    if query.after_run_id is not None:
        statement = statement.where(label.c.run_id < query.after_run_id)
    return statement.order_by(label.c.run_id.desc()).limit(query.limit + 1)
