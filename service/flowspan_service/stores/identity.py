"""The identity of a database, which is created with it and stored in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from flowspan_service.app.ports import Identity
from flowspan_service.stores.schema import identity

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine


def read_identity(engine: Engine) -> Identity:
    """Read the identity of a database that was migrated."""
    with engine.connect() as connection:
        row = connection.execute(select(identity.c.database_id, identity.c.token_key)).one()
    return Identity(row.database_id, row.token_key)
