"""SQLite: WAL, every commit synced, one writing connection and a few reading ones."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import threading
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool, StaticPool

from flowspan_service.app.ports.runs import RunKey
from flowspan_service.domain.commands import Command
from flowspan_service.process.open_files import from_reserve
from flowspan_service.stores.commands import open_commands_statement
from flowspan_service.stores.dialects.base import DatabaseGoneError, Head, check_updated
from flowspan_service.stores.ids import to_bytes, to_text
from flowspan_service.stores.runs import CHANGING_COLUMNS, ID_COLUMNS, RUN_COLUMNS, run, run_of
from flowspan_service.stores.transitions import transition, transition_of, transitions_statement

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence
    from pathlib import Path

    from sqlalchemy import Table
    from sqlalchemy.engine import Connection, Engine, Row

    from flowspan_service.domain.runs import Run, Transition
    from flowspan_service.stores.dialects.base import Statement, Version

CHUNK_SIZES = (960, 256, 64, 16, 4, 1)
"""Rows per statement: few sizes, so that the prepared statements of all of them stay cached.
960 rows of the widest table stay below SQLite's default limit of 32,766 variables.
"""
READERS = 8
CONNECT_TRIES = 3
STATEMENT_CACHE_SIZE = 64
WRITER_CACHE_KIB = 32_768
READER_CACHE_KIB = 4_096
CHECKPOINT_PAGES = 2_000
"""16 MiB: a commit that copies the log into the database makes all others wait for that."""
JOURNAL_LIMIT_BYTES = 128 << 20
FULL_BELOW_BYTES = 64 << 10
"""A disk with less free space is full: the index of the write-ahead log takes 32 KiB."""

_HEAD = (
    "SELECT position, log_position, generation, latest_us, (SELECT database_id FROM identity)"
    " FROM head"
)
_PLACE = "SELECT position, (SELECT root_run_id FROM run WHERE id = ?) FROM head"
_FILES = {
    "": "The database",
    "-wal": "A part of the database, the file",
    "-shm": "A part of the database, the file",
}
"""The files of a database in use; each is open as long as the service runs."""

_MOSTLY_THE_SAME = {
    run: (
        *("kind", "attempt", "cause", "state_scheduled_us", "state_message", "state_failure"),
        *("state_result", "version", "tags", "parameters_encoding", "parameters", "tracestate"),
        "exported_by_service",
    ),
    transition: (
        *("attempt", "cause", "commit_us", "scheduled_us", "message", "failure", "result"),
    ),
}
"""Columns that mostly have one value throughout a statement: each binding takes 50 ns."""
_FOLDABLE = {
    table.name: tuple(index for index, column in enumerate(table.c) if column.name in names)
    for table, names in _MOSTLY_THE_SAME.items()
}

_UNAVAILABLE = {
    sqlite3.SQLITE_BUSY: "The database {path} is locked by another program (a sqlite3 shell with an"
    " open transaction, a backup?). End that transaction.",
    sqlite3.SQLITE_LOCKED: "The database {path} is locked.",
    sqlite3.SQLITE_FULL: "The disk that holds {path} is full. Free some space.",
    sqlite3.SQLITE_IOERR: "Reading or writing {path} failed ({error}). Check the disk.",
    sqlite3.SQLITE_READONLY: "The database {path} cannot be written: the file or its folder"
    " is read-only. Change its permissions.",
    sqlite3.SQLITE_CANTOPEN: "The database {path} cannot be opened. Check that the folder exists"
    " and can be written.",
    sqlite3.SQLITE_CORRUPT: "The database {path} is damaged ({error}). Restore a backup.",
    sqlite3.SQLITE_NOTADB: "The file {path} is not a SQLite database.",
    sqlite3.SQLITE_NOMEM: "SQLite is out of memory.",
    sqlite3.SQLITE_PERM: "The database {path} may not be accessed. Change its permissions.",
}


class SqliteDialect:
    """Implementation of dialects.base.Dialect."""

    name = "sqlite"
    is_local = True
    is_shared = False
    writes_whole_rows = True
    # SQLite stores NaN as NULL (sqlite.org/floatingpoint.html), and Python's sqlite3 binds a float
    # five times as fast as None, for which it looks for an adapter each time.
    null: object = float("nan")

    def __init__(self, path: Path, *, busy_timeout_s: float) -> None:
        self.path = path
        self.gone: str | None = None
        self._busy_timeout_s = busy_timeout_s
        self._database_id: bytes | None = None
        """The id of the database in use; None as long as it may be created."""
        self._files: dict[str, tuple[int, int]] = {}
        self._anchor: sqlite3.Connection | None = None
        self._is_saved = False
        self.writing: Engine = self._engine(read_only=False)
        self.reading: Engine = self._engine(read_only=True)
        self._row_lock = threading.Lock()
        self._row_reader: sqlite3.Connection | None = None

    def _engine(self, *, read_only: bool) -> Engine:
        pool: dict[str, Any] = (
            {"poolclass": QueuePool, "pool_size": READERS, "max_overflow": READERS}
            if read_only
            else {"poolclass": StaticPool}
        )
        engine = create_engine(
            URL.create("sqlite", database=str(self.path)), creator=self._connect, **pool
        )

        @event.listens_for(engine, "connect")
        def _on_connect(connection: sqlite3.Connection, _record: object) -> None:
            for pragma in _pragmas(read_only=read_only):
                connection.execute(f"PRAGMA {pragma}")

        return engine

    def _connect(self) -> sqlite3.Connection:
        """Connect with files of the reserve; create the file only for a new database.

        Retries if a client's connection took the reserved file in between.
        """
        for _ in range(CONNECT_TRIES - 1):
            with contextlib.suppress(sqlite3.OperationalError):
                return self._connect_once()
        return self._connect_once()

    def _connect_once(self) -> sqlite3.Connection:
        mode = "rwc" if self._database_id is None else "rw"
        self._check_files()
        with from_reserve():
            connection = sqlite3.connect(
                f"file:{quote(os.fsencode(self.path))}?mode={mode}",
                uri=True,
                check_same_thread=False,
                timeout=self._busy_timeout_s,
                isolation_level=None,
                cached_statements=STATEMENT_CACHE_SIZE,
            )
            try:
                # The first read opens the write-ahead log.
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            except BaseException:
                connection.close()
                raise
        return connection

    def settle(self, database_id: str) -> None:
        """Use this database only from now on, and create none."""
        self._database_id = bytes(to_bytes(database_id))
        # The files of the log are the same as long as one connection uses them.
        self._anchor = self._connect()
        self._anchor.execute(_HEAD).fetchone()
        for suffix in _FILES:
            file = _file_of(self._path_of(suffix))
            if file is not None:
                self._files[suffix] = file

    def check_place(self) -> None:
        """Check that the database is still at its place. Cheap: it asks no server."""
        if self.gone is not None:
            raise DatabaseGoneError(self.gone)
        self._check_files()

    def _check_files(self) -> None:
        for suffix in self._files:
            self._check_file(suffix)

    def _check_file(self, suffix: str) -> None:
        path = self._path_of(suffix)
        found = _file_of(path)
        if found == self._files.get(suffix, found):
            return
        what = "was deleted or moved away" if found is None else "was replaced by another file"
        self.gone = (
            f"{_FILES[suffix]} {path} {what} while the service runs. Nothing is stored any more:"
            " put it back, or restart the service."
        )
        raise DatabaseGoneError(self.gone)

    def look(self) -> str | None:
        """Check the database over a connection, and update `gone`. May block."""
        try:
            with contextlib.closing(self._connect()) as connection:
                *_, database_id = connection.execute(_HEAD).fetchone()
            self._check_id(database_id)
            self.gone = None
        except DatabaseGoneError as error:
            self._save_log()
            return str(error)
        except sqlite3.Error as error:
            return self.explain(error)
        return None

    def _save_log(self) -> None:
        """Checkpoint the log into the database: the file of the log may be gone."""
        if self._anchor is not None and not self._is_saved:
            self._is_saved = True
            with contextlib.suppress(sqlite3.Error):
                self._anchor.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def _check_id(self, database_id: bytes) -> None:
        if database_id != self._database_id:
            self.gone = (
                f"The database {self.path} was overwritten by another database while the service"
                " was running. Nothing is stored any more: restart the service."
            )
            raise DatabaseGoneError(self.gone)

    def _path_of(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    def begin(self, connection: Connection) -> Head:
        """Begin a write transaction, which excludes other writers until its end."""
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        *head, database_id = connection.exec_driver_sql(_HEAD).one()
        self._check_id(database_id)
        return Head(*head)

    def together(
        self, connection: Connection, *, row_count: int
    ) -> contextlib.AbstractContextManager[None]:
        """Pipeline the statements in this context, without waiting for each answer."""
        del connection, row_count  # a local database answers at once
        return contextlib.nullcontext()

    def insert(self, connection: Connection, table: Table, values: Sequence[Any]) -> None:
        """Insert rows in few statements."""
        width, foldable = len(table.c), _FOLDABLE.get(table.name, ())
        for rows, chunk in _ladder(values, width):
            folded, parameters = _fold(chunk, rows, foldable)
            sql = _insert_sql(table.name, width, rows, folded)
            connection.exec_driver_sql(sql, tuple(parameters))

    def update_runs(self, connection: Connection, values: Sequence[Any]) -> None:
        """Update runs in few statements."""
        for rows, chunk in _ladder(values, len(CHANGING_COLUMNS)):
            updated = connection.exec_driver_sql(_update_sql(rows), tuple(chunk)).rowcount
            check_updated(updated, rows)

    def find_run(self, kind: int, run_id: str) -> Run | None:
        """Return a run of that kind, over a connection that the dialect chooses.

        Without SQLAlchemy, which takes 25 times as long for a row as SQLite.
        """
        rows = self._read(_load_sql(1), (to_bytes(run_id),))
        return next((found for found in _runs_of(rows) if found.kind == kind), None)

    def find_runs(self, run_ids: Sequence[str]) -> list[Run]:
        """Return the existing runs among these, over a connection that the dialect chooses."""
        runs: list[Run] = []
        for size, chunk in _ladder([to_bytes(run_id) for run_id in run_ids], 1):
            runs += _runs_of(self._read(_load_sql(size), tuple(chunk)))
        return runs

    def find_place(self, run_id: str | None) -> tuple[int, str | None]:
        """Return the newest position, and the root of the run's tree if there is such a run."""
        ((position, root),) = self._read(_PLACE, (None if run_id is None else to_bytes(run_id),))
        return position, _id_text(root)

    @contextlib.contextmanager
    def transitions_between(
        self, after: int, upto: int, *, root_run_id: str | None, limit: int
    ) -> Iterator[Iterator[Transition]]:
        """Stream transitions by position, over a connection that the dialect chooses."""
        statement = transitions_statement(after, upto, root_run_id, limit, self)
        with self._rows(*statement) as rows:
            yield (transition_of((*row[:2], _id_text(row[2]), *row[3:])) for row in rows)

    @contextlib.contextmanager
    def open_commands(
        self, session_id: str, after: Command | None, *, limit: int
    ) -> Iterator[Iterator[Command]]:
        """Stream open commands of a session, by run and number, after one of them."""
        statement = open_commands_statement(session_id, after, limit, self)
        with self._rows(*statement) as rows:
            yield (Command(to_text(row[0]), row[1], to_text(row[2]), *row[3:]) for row in rows)

    def fetch_keys(self, statement: Statement) -> list[RunKey]:
        """Return the keys in the answer to a statement that selects `run_lists.KEY_COLUMNS`."""
        return [
            RunKey(to_text(run_id), position, _id_text(session_id))
            for run_id, position, session_id in self._read(*statement)
        ]

    def load_runs(self, connection: Connection, run_ids: Iterable[str]) -> list[Run]:
        """Return the existing runs among these, in few statements."""
        runs: list[Run] = []
        for size, chunk in _ladder([to_bytes(run_id) for run_id in run_ids], 1):
            runs += _runs_of(connection.exec_driver_sql(_load_sql(size), tuple(chunk)))
        return runs

    def run_versions(self, connection: Connection, run_ids: Sequence[str]) -> dict[str, Version]:
        """Return the version of each existing run."""
        versions: dict[str, Version] = {}
        for size, chunk in _ladder([to_bytes(run_id) for run_id in run_ids], 1):
            rows = connection.exec_driver_sql(_versions_sql(size), tuple(chunk))
            for run_id, position, *ids in rows:
                session_id, root_run_id, flow_run_id = map(_id_text, ids)
                version = (position, session_id, str(root_run_id), flow_run_id)
                versions[to_text(run_id)] = version
        return versions

    def fetch_runs(self, connection: Connection, statement: Statement) -> Generator[Run]:
        """Stream the runs in the answer to a statement that selects the columns of `run`."""
        with connection.exec_driver_sql(*statement) as rows:
            yield from _runs_of(rows)

    def parameter(self, name: str) -> str:
        """Return the parameter of that name, in SQL."""
        return f":{name}"

    def id_parameter(self, name: str) -> str:
        """Return the parameter of that name for an id, in SQL."""
        return f":{name}"

    def id_value(self, run_id: str) -> object:
        """Return an id as the value of a parameter."""
        return to_bytes(run_id)

    def id_digits(self, column: str) -> str:
        """Return the expression for the hex digits of an id, lower-case."""
        return f"lower(hex({column}))"

    def _read(self, sql: str, parameters: Any) -> list[tuple[Any, ...]]:
        with self._rows(sql, parameters) as rows:
            return list(rows)

    @contextlib.contextmanager
    def _rows(self, sql: str, parameters: Any) -> Iterator[Iterator[tuple[Any, ...]]]:
        """Stream rows without waiting for another read."""
        if not self._row_lock.acquire(blocking=False):
            with (
                self.reading.connect() as connection,
                connection.exec_driver_sql(sql, parameters) as result,
            ):
                yield map(tuple, result)
            return
        try:
            if self._row_reader is None:
                self._row_reader = self._open_row_reader()
            with contextlib.closing(self._row_reader.execute(sql, parameters)) as cursor:
                yield cursor
        finally:
            self._row_lock.release()

    def _open_row_reader(self) -> sqlite3.Connection:
        connection = self._connect()
        for pragma in _pragmas(read_only=True):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def _is_disk_full(self) -> bool:
        try:
            return shutil.disk_usage(self.path.parent).free < FULL_BELOW_BYTES
        except OSError:
            return False

    def size_bytes(self, connection: Connection) -> int:
        """Return the size of the database in bytes; 0 if it is unknown."""
        del connection
        size = 0
        for suffix in ("", "-wal"):
            with contextlib.suppress(OSError):
                size += self._path_of(suffix).stat().st_size
        return size

    def explain(self, error: Exception) -> str | None:
        """Return why the database is unusable at present, for people."""
        original = error.orig if isinstance(error, DBAPIError) else error
        if isinstance(original, DatabaseGoneError):
            return str(original)
        if not isinstance(original, sqlite3.DatabaseError):
            return None
        code = getattr(original, "sqlite_errorcode", None)
        kind = None if code is None else code & 0xFF
        if kind == sqlite3.SQLITE_IOERR and self._is_disk_full():
            kind = (
                sqlite3.SQLITE_FULL
            )  # SQLite reports a full disk like this for the files beside the database
        text = _UNAVAILABLE.get(kind) if kind is not None else None
        return text.format(path=self.path, error=original) if text else None

    def dispose(self) -> None:
        """Close all connections."""
        with self._row_lock:
            if self._row_reader is not None:
                self._row_reader.close()
                self._row_reader = None
        self.reading.dispose()
        self.writing.dispose()
        if self._anchor is not None:
            self._anchor.close()


def _file_of(path: Path) -> tuple[int, int] | None:
    """Return the device and inode of the file at the path; None without a file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _runs_of(rows: Iterable[Row[Any] | tuple[Any, ...]]) -> Iterator[Run]:
    return (run_of((*map(_id_text, row[:ID_COLUMNS]), *row[ID_COLUMNS:])) for row in rows)


@lru_cache(maxsize=4096)
def _id_text(raw: bytes | None) -> str | None:
    # Cached, as many runs of a list share a parent, a root, a flow run and a session.
    return None if raw is None else to_text(raw)


def _pragmas(*, read_only: bool) -> Iterator[str]:
    # The page size counts only for a new database.
    yield "page_size = 8192"
    if read_only:
        yield f"cache_size = -{READER_CACHE_KIB}"
        yield "query_only = ON"
        return
    yield "journal_mode = WAL"
    yield "synchronous = FULL"
    # Debian's SQLite zeroes freed pages, which costs a third of the speed.
    yield "secure_delete = OFF"
    yield f"cache_size = -{WRITER_CACHE_KIB}"
    yield f"wal_autocheckpoint = {CHECKPOINT_PAGES}"
    yield f"journal_size_limit = {JOURNAL_LIMIT_BYTES}"
    yield "temp_store = MEMORY"


def _ladder(values: Sequence[Any], width: int) -> Iterator[tuple[int, list[Any]]]:
    """Cut rows of that width into pieces of CHUNK_SIZES; yield their sizes and values."""
    start, total = 0, len(values)
    if total % width:
        msg = f"{total} values do not make rows of {width}"
        raise ValueError(msg)
    for rows in CHUNK_SIZES:
        step = rows * width
        while total - start >= step:
            yield rows, list(values[start : start + step])
            start += step


def _fold(
    chunk: list[Any], rows: int, columns: tuple[int, ...]
) -> tuple[tuple[int, ...], list[Any]]:
    """Bind columns with the same value in all rows once, in front.

    All of them or none, so that there are two statements for each number of rows.

    Args:
        chunk: The values of the rows, one after the other; may be changed.
        rows: The number of rows.
        columns: The columns, ascending.

    Returns:
        The folded columns, and the values: first theirs, then those of the rows.
    """
    width = len(chunk) // rows
    constants = [chunk[column] for column in columns]
    for column, value in zip(columns, constants, strict=True):
        if chunk[column::width].count(value) != rows:
            return (), chunk
    for removed, column in enumerate(reversed(columns)):
        del chunk[column :: width - removed]
    return columns, constants + chunk


@lru_cache(maxsize=STATEMENT_CACHE_SIZE)
def _insert_sql(table: str, width: int, rows: int, folded: tuple[int, ...]) -> str:
    shared = {column: f"?{number}" for number, column in enumerate(folded, 1)}
    numbers = count(len(folded) + 1)
    first = ",".join(shared.get(column) or f"?{next(numbers)}" for column in range(width))
    # From the second row on, a plain "?" takes the next number. SQLite searches the list of
    # numbered parameters for each of them: numbering all would make the first use of a statement of
    # 960 rows take more than a second.
    further = ",".join(shared.get(column, "?") for column in range(width))
    values = ",".join([f"({first})", *[f"({further})"] * (rows - 1)])
    return f"INSERT INTO {table} VALUES {values}"  # noqa: S608 - own names only


@lru_cache(maxsize=STATEMENT_CACHE_SIZE)
def _update_sql(rows: int) -> str:
    width = len(CHANGING_COLUMNS)
    row = f"({','.join('?' * width)})"
    assignments = ", ".join(
        f"{name} = new.column{index}" for index, name in enumerate(CHANGING_COLUMNS, 1) if index > 1
    )
    return (
        f"UPDATE run SET {assignments}"  # noqa: S608 - own names only
        f" FROM (VALUES {','.join([row] * rows)}) AS new WHERE run.id = new.column1"
    )


@lru_cache(maxsize=len(CHUNK_SIZES))
def _versions_sql(rows: int) -> str:
    marks = ",".join("?" * rows)
    columns = "id, position, session_id, root_run_id, flow_run_id"
    return f"SELECT {columns} FROM run WHERE id IN ({marks})"  # noqa: S608 - own names


@lru_cache(maxsize=STATEMENT_CACHE_SIZE)
def _load_sql(rows: int) -> str:
    columns = ", ".join(RUN_COLUMNS)
    return f"SELECT {columns} FROM run WHERE id IN ({','.join('?' * rows)})"  # noqa: S608 - own names
