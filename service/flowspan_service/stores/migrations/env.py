"""Runs the migrations on the connection that `stores.migrate` gives, inside its transaction."""

from __future__ import annotations

from alembic import context

from flowspan_service.stores.migrate import VERSION_TABLE
from flowspan_service.stores.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    transactional_ddl=False,
)
context.run_migrations()
