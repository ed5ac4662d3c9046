"""Creation of the schema of a new database, and migration of an older one with Alembic."""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING
from uuid import uuid4

from sqlalchemy import inspect, text

from flowspan_service.stores.errors import StoreOpenError
from flowspan_service.stores.schema import MIGRATIONS, SCHEMA_VERSION, head, identity, metadata

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine

VERSION_TABLE = "schema_version"

_LOCK_SQL = {"postgresql": "SELECT pg_advisory_xact_lock(7162051293)", "sqlite": "BEGIN IMMEDIATE"}
"""Exclude other processes from migrating the same database at the same time."""

_log = logging.getLogger(__name__)


def migrate(engine: Engine) -> None:
    """Bring the database to SCHEMA_VERSION, in one transaction.

    Raises:
        StoreOpenError: A newer program created the database, or it is not a database of flowspan.
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
                if version is None:
                    _create(connection)
                else:
                    _upgrade(connection, version)
            connection.exec_driver_sql("COMMIT")
        except BaseException:
            connection.exec_driver_sql("ROLLBACK")
            raise


def current_version(connection: Connection) -> str | None:
    """Return the version of the database's schema; None without one."""
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


def _create(connection: Connection) -> None:
    """Create the tables of the newest version: a new database needs no migrations."""
    _log.info("Creating a new database, with schema version %s", SCHEMA_VERSION)
    metadata.create_all(connection, checkfirst=False)
    connection.execute(head.insert(), {"id": 1, "position": 0, "log_position": 0, "generation": 0})
    row = {"id": 1, "database_id": str(uuid4()), "token_key": secrets.token_bytes(32)}
    connection.execute(identity.insert(), row)
    connection.exec_driver_sql(
        f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL,"
        f" CONSTRAINT {VERSION_TABLE}_pkc PRIMARY KEY (version_num))"
    )
    connection.exec_driver_sql(f"INSERT INTO {VERSION_TABLE} VALUES ('{SCHEMA_VERSION}')")  # noqa: S608 - own name


def _upgrade(connection: Connection, version: str) -> None:
    # Loading Alembic would cost each start 0.1 s and 10 MB.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    _log.info("Migrating the database from schema version %s to %s", version, SCHEMA_VERSION)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
