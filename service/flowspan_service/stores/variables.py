"""Variables: table, row mapping, reads, and writes in a unit of work."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Column, LargeBinary, Table, Text, delete, select, text

from flowspan_service.domain.payloads import Payload
from flowspan_service.domain.variables import Variable
from flowspan_service.stores.engine.bounds import OBJECT_BYTES, fetch_page, tag_bytes, text_bytes
from flowspan_service.stores.ids import begins_with
from flowspan_service.stores.schema import NAME, metadata

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowspan_service.app.ports.pages import Page
    from flowspan_service.app.ports.variables import VariableQuery
    from flowspan_service.stores.engine.reading import Reading
    from flowspan_service.stores.engine.transaction import Transaction

ROWS_BUFFERED = 16

variable = Table(
    "variable",
    metadata,
    Column("name", NAME, primary_key=True),
    Column("value_encoding", Text, nullable=False),
    Column("value", LargeBinary, nullable=False),
    Column("tags", Text),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
)
"""Named values that flows and people share."""

_UPSERT = text(
    "INSERT INTO variable (name, value_encoding, value, tags, created_us, updated_us)"
    " VALUES (:name, :value_encoding, :value, :tags, :created_us, :updated_us)"
    " ON CONFLICT (name) DO UPDATE SET value_encoding = excluded.value_encoding,"
    " value = excluded.value, tags = excluded.tags, updated_us = excluded.updated_us"
)


def variable_values(variable: Variable) -> dict[str, Any]:
    """Return the columns of a row of `variable`."""
    return {
        "name": variable.name,
        "value_encoding": variable.value.encoding,
        "value": variable.value.data,
        "tags": json.dumps(variable.tags, ensure_ascii=True) if variable.tags else None,
        "created_us": variable.created_us,
        "updated_us": variable.updated_us,
    }


def variable_of(row: Sequence[Any]) -> Variable:
    """Return the variable in a row of `variable`."""
    name, encoding, value, tags, created_us, updated_us = row
    return Variable(
        name=name,
        value=Payload(encoding, value),
        tags=tuple(json.loads(tags)) if tags else (),
        created_us=created_us,
        updated_us=updated_us,
    )


def variable_bytes(variable: Variable) -> int:
    """Return the approximate size of a variable's message."""
    size = OBJECT_BYTES + text_bytes(variable.name) + tag_bytes(variable.tags)
    return size + len(variable.value.data)


class VariableReads:
    """Implementation of app.ports.variables.VariableReads."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def get(self, name: str) -> Variable | None:
        """Return the variable, or None."""
        with self._reading.connection() as connection:
            row = connection.execute(select(variable).where(variable.c.name == name)).first()
        return None if row is None else variable_of(row)

    def list(self, query: VariableQuery) -> Page[Variable]:
        """Return a page of variables."""
        name = variable.c.name
        statement = select(variable).order_by(name)
        if query.name_prefix:
            statement = statement.where(*begins_with(name, query.name_prefix))
        if query.after_name is not None:
            statement = statement.where(name > query.after_name)
        wanted = set(query.tags)
        with self._reading.connection() as connection:
            return fetch_page(
                connection,
                statement,
                variable_of,
                variable_bytes,
                query,
                rows_buffered=ROWS_BUFFERED,
                is_wanted=lambda item: wanted <= set(item.tags),
            )


class VariableWrites:
    """Implementation of app.ports.variables.VariableWrites. Nothing is buffered."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    def get(self, name: str) -> Variable | None:
        """Return the variable, or None."""
        statement = select(variable).where(variable.c.name == name)
        row = self._tx.connection.execute(statement).first()
        return None if row is None else variable_of(row)

    def put(self, variable: Variable) -> None:
        """Store a new or changed variable."""
        self._tx.changes += 1
        self._tx.connection.execute(_UPSERT, variable_values(variable))

    def delete(self, name: str) -> bool:
        """Delete a variable; return True if there was one."""
        self._tx.changes += 1
        statement = delete(variable).where(variable.c.name == name)
        return self._tx.connection.execute(statement).rowcount > 0
