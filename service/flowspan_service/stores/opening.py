"""Opening a store: choose the dialect, check the file, migrate."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_data_path
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from flowspan_service.process.private_files import open_file, tighten
from flowspan_service.stores.dialects.sqlite import SqliteDialect
from flowspan_service.stores.errors import StoreOpenError
from flowspan_service.stores.identity import read_identity
from flowspan_service.stores.migrate import migrate
from flowspan_service.stores.store import SqlStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import URL

    from flowspan_service.app.ports import Clock
    from flowspan_service.stores.dialects.base import Dialect

BUSY_TIMEOUT_S = 5.0
"""The maximum wait for a lock of another program, such as the sqlite3 shell."""

OLDEST_SQLITE = (3, 35, 0)


def default_path() -> Path:
    """Return the default database, in the user's data folder."""
    return user_data_path("flowspan", appauthor=False) / "flowspan.db"


def sqlite_path(url: str | None) -> Path | None:
    """Return the file of a SQLite database; None if the URL names another kind of database.

    Raises:
        StoreOpenError: The URL does not name a database.
    """
    if url is None:
        return default_path()
    if not url.startswith("sqlite:"):
        return None
    # The rest is a literal path, whatever characters it contains.
    path = url.removeprefix("sqlite:///")
    if path in {url, "", ":memory:"}:
        msg = f"{url!r} names no file. Give one, as in sqlite:////var/lib/flowspan/flowspan.db."
        raise StoreOpenError(msg)
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError as error:
        raise StoreOpenError(f"{url!r} names no file: {error} Give an absolute path.") from error


def open_store(
    url: str | None,
    *,
    clock: Clock,
    on_point: Callable[[str], None] | None = None,
    busy_timeout_s: float = BUSY_TIMEOUT_S,
) -> SqlStore:
    """Open the database, create or migrate it if necessary, and start its writer.

    Args:
        url: ``sqlite:///relative/path``, ``sqlite:////absolute/path`` or
            ``postgresql://user:password@host:port/name``; None for the default file.
        clock: The time of the transactions.
        on_point: For tests: called in the writer's thread with the name of each point that a commit
            passes: "before_commit", "after_commit", "before_resolve". An exception at the first two
            counts as an error of the database.
        busy_timeout_s: The maximum wait for a lock of another program (SQLite).

    Raises:
        StoreOpenError: The database cannot be opened; the message says why and what to do.
    """
    path = sqlite_path(url)
    dialect: Dialect
    if path is not None:
        _check_file(path)
        _keep_private(path)
        dialect = SqliteDialect(path, busy_timeout_s=busy_timeout_s)
    else:
        dialect = _postgresql(_parse(str(url)))
    try:
        migrate(dialect.writing)
        identity = read_identity(dialect.writing)
        dialect.settle(identity.database_id)
    except SQLAlchemyError as error:
        dialect.dispose()
        raise StoreOpenError(dialect.explain(error) or f"The database failed: {error}") from error
    except BaseException:
        dialect.dispose()
        raise
    return SqlStore(dialect, identity=identity, clock=clock, on_point=on_point)


def _parse(url: str) -> URL:
    try:
        url.encode()  # psycopg accepts nothing else
        parsed = make_url(url)
        if "@" in (parsed.host or ""):
            raise ValueError(
                "an @ in the password is not encoded, and the text after it is not a host"
            )
    except (ArgumentError, ValueError) as error:
        # Without the URL and the cause: both may contain parts of a password.
        msg = (
            "The address of the database is not a URL such as sqlite:///path or"
            " postgresql://user:password@host:5432/name (special characters of the password are"
            " percent-encoded)."
        )
        raise StoreOpenError(msg) from error
    if parsed.drivername.partition("+")[0] not in {"postgresql", "postgres"}:
        msg = (
            f"Databases of the kind {parsed.drivername!r} are not supported. Use sqlite:///path or"
            " postgresql://host/name."
        )
        raise StoreOpenError(msg)
    return parsed


def _postgresql(url: URL) -> Dialect:
    # Only users of PostgreSQL have psycopg, and pay for loading it.
    try:
        from flowspan_service.stores.dialects.postgresql import PostgresqlDialect  # noqa: PLC0415
    except ImportError as error:
        msg = f"PostgreSQL needs psycopg: pip install 'flowspan[postgres]' ({error})"
        raise StoreOpenError(msg) from error
    return PostgresqlDialect(url)


def _check_file(path: Path) -> None:
    """Check for the common obstacles, to name each clearly."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        msg = (
            f"This Python comes with SQLite {sqlite3.sqlite_version}; flowspan needs 3.35 or newer."
            " Use a newer Python, or PostgreSQL with --db postgresql://…"
        )
        raise StoreOpenError(msg)
    folder = path.parent
    if not folder.is_dir():
        msg = f"The folder {folder} does not exist. Create it, or name another file with --db."
        raise StoreOpenError(msg)
    if path.is_dir():
        msg = f"{path} is a folder. Name a file with --db, such as {path / 'flowspan.db'}."
        raise StoreOpenError(msg)
    if not os.access(folder, os.W_OK | os.X_OK):
        msg = (
            f"The folder {folder} is read-only for this user, but SQLite keeps files beside the"
            " database. Change its permissions, or name another file with --db."
        )
        raise StoreOpenError(msg)
    if path.exists():
        _check_existing(path)


def _keep_private(path: Path) -> None:
    """Create the file of the database if it is missing, and make it private.

    SQLite gives the files beside it the permissions of the database.

    Raises:
        StoreOpenError: The file cannot be created.
    """
    try:
        os.close(open_file(path, os.O_RDWR))
    except OSError as error:
        msg = (
            f"The database {path} cannot be created ({error.strerror}). "
            "Name another file with --db."
        )
        raise StoreOpenError(msg) from error
    for suffix in ("-wal", "-shm", "-journal"):
        tighten(path.with_name(path.name + suffix))


def _check_existing(path: Path) -> None:
    if not os.access(path, os.R_OK | os.W_OK):
        msg = (
            f"The database {path} is read-only for this user. Change its permissions, or name"
            " another file with --db."
        )
        raise StoreOpenError(msg)
    with path.open("rb") as file:
        start = file.read(16)
    if start and start != b"SQLite format 3\0":
        msg = f"The file {path} is not a SQLite database. Name another file with --db."
        raise StoreOpenError(msg)
