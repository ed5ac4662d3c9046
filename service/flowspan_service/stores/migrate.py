"""Brings the schema of a database up to date, with Alembic if there is something to do."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

from flowspan_service.stores.errors import StoreOpenError
from flowspan_service.stores.tables import SCHEMA_VERSION

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine

VERSION_TABLE = "schema_version"
MIGRATIONS = Path(__file__).parent / "migrations"

_LOCK_SQL = {"postgresql": "SELECT pg_advisory_xact_lock(7162051293)", "sqlite": "BEGIN IMMEDIATE"}
"""Keeps other processes from migrating the same database at the same time."""

_log = logging.getLogger(__name__)


def migrate(engine: Engine) -> None:
    """Migrates to SCHEMA_VERSION, in one transaction.

    Raises:
        StoreOpenError: The database was made by a newer program, or is not flowspan's.
    """
    with engine.connect() as connection:
        if current_version(connection) == SCHEMA_VERSION:
            return
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("BEGIN")
        connection.exec_driver_sql(_LOCK_SQL[connection.dialect.name])
        try:
            # Again, as another process may have been faster.
            version = current_version(connection)
            if version != SCHEMA_VERSION:
                _check(connection, version)
                _upgrade(connection, version)
            connection.exec_driver_sql("COMMIT")
        except BaseException:
            connection.exec_driver_sql("ROLLBACK")
            raise


def current_version(connection: Connection) -> str | None:
    """The version of the database's schema; None if it has none."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608 - own name


def _check(connection: Connection, version: str | None) -> None:
    if version is None:
        strangers = sorted(set(inspect(connection).get_table_names()))
        if strangers:
            msg = (
                "The database holds tables that are not flowspan's"
                f" ({', '.join(strangers[:5])}). Name another one with --db."
            )
            raise StoreOpenError(msg)
    elif version > SCHEMA_VERSION:
        msg = (
            f"The database has schema version {version}, but this flowspan knows versions up to"
            f" {SCHEMA_VERSION}: it was used by a newer flowspan. Upgrade this one"
            " (pip install --upgrade flowspan), or name another database with --db."
        )
        raise StoreOpenError(msg)


def _upgrade(connection: Connection, version: str | None) -> None:
    # Alembic is needed once in a database's life; loading it costs each start 0.2 s and 10 MB.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    _log.info("Migrating the database from schema version %s to %s", version, SCHEMA_VERSION)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
