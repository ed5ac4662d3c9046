"""PostgreSQL over psycopg 3: bulk writes with COPY; a row lock serializes the writers."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format
from psycopg.types.string import TextLoader
from sqlalchemy import create_engine, event, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import NullPool, QueuePool

from flowspan_service.app.ports.runs import RunKey
from flowspan_service.domain.commands import Command
from flowspan_service.process.open_files import from_reserve
from flowspan_service.stores.commands import open_commands_statement
from flowspan_service.stores.dialects.base import DatabaseGoneError, Head, check_updated
from flowspan_service.stores.dialects.binary import (
    SIGNATURE,
    TRAILER,
    ArrayEncoder,
    RowEncoder,
)
from flowspan_service.stores.runs import CHANGING_COLUMNS, ID_COLUMNS, RUN_COLUMNS, run, run_of
from flowspan_service.stores.schema import metadata
from flowspan_service.stores.transitions import transition_of, transitions_statement

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from sqlalchemy import Table
    from sqlalchemy.engine import URL, Connection, Engine
    from sqlalchemy.engine import Dialect as SqlAlchemyDialect

    from flowspan_service.domain.runs import Run, Transition
    from flowspan_service.stores.dialects.base import Statement, Version

READERS = 8
FEW_ROWS = 8
"""A page up to this size is fetched in one round trip, whatever its bytes."""
ROWS_BUFFERED = 64
COMMANDS_BUFFERED = 500
CONNECT_TIMEOUT_S = 10
LOCK_TIMEOUT_MS = 15_000
"""The maximum wait for the writer of another service process."""
IDLE_TIMEOUT_MS = 30_000
"""A process stopped in a transaction loses it after this time: other processes wait for it."""

COPY_CHUNK_ROWS = 1_000
"""Rows encoded at once: some megabytes."""

PIPELINE_ROWS = 500
"""Up to this number of rows, round trips take longer than the work: pipeline them."""

_PLACE = "SELECT position, (SELECT root_run_id FROM run WHERE id = %s::uuid) FROM head"
_RUN_VERSIONS = (
    b"SELECT id, position, session_id, root_run_id, flow_run_id FROM run WHERE id = ANY(%s::uuid[])"
)
_IDENTITY = b"SELECT database_id FROM identity"
_LOCK_HEAD = (
    b"SELECT position, log_position, generation, latest_us, (SELECT database_id FROM identity)"
    b" FROM head FOR UPDATE"
)

_WRITER_SETTINGS = (
    f"SET lock_timeout = {LOCK_TIMEOUT_MS}",
    f"SET idle_in_transaction_session_timeout = {IDLE_TIMEOUT_MS}",
    # Acked data must be on the disk, whatever the server's default is.
    "SELECT set_config('synchronous_commit', 'on', false)"
    " WHERE current_setting('synchronous_commit') IN ('off', 'local')",
)

_CHANGES = ArrayEncoder([run.c[name] for name in CHANGING_COLUMNS])

_UNAVAILABLE_CLASSES = {
    "08": "The connection to PostgreSQL {where} broke",
    "28": "PostgreSQL {where} refused the login. Check the user and the password in --db",
    "40": "PostgreSQL {where} rolled the transaction back",
    "53": "PostgreSQL {where} has run out of a resource (disk, memory, connections)",
    "55": "PostgreSQL {where}: another process holds a lock",
    "57": "PostgreSQL {where} is shutting down, or an administrator intervened",
    "58": "PostgreSQL {where} has a disk or system problem",
    "XX": "PostgreSQL {where} reports damage or a bug",
}
_INVALID_CATALOG = "3D000"
_READ_ONLY_TRANSACTION = "25006"


class PostgresqlDialect:
    """Implementation of dialects.base.Dialect."""

    name = "postgresql"
    is_local = False
    is_shared = True
    writes_whole_rows = False  # large values have a table of their own (TOAST)
    null: object = None

    def __init__(self, url: URL) -> None:
        """Prepare the connections without opening one.

        Args:
            url: A URL of SQLAlchemy or libpq; the driver is always psycopg.
        """
        self._url = url.set(drivername="postgresql+psycopg")
        self.gone: str | None = None
        self._database_id: str | None = None
        self._encoders: dict[str, RowEncoder] = {}
        self._inserts: dict[str, tuple[bytes, ArrayEncoder]] = {}
        self._updates: list[tuple[psycopg.Cursor[Any], int]] | None = None
        """In `together`: the updates whose counts are unknown yet."""
        _declare_partial_indexes()
        self.writing: Engine = self._engine(
            _WRITER_SETTINGS, isolation_level="AUTOCOMMIT", poolclass=NullPool
        )
        # A read of several statements sees one state of the database.
        self.reading: Engine = self._engine(
            ("SET default_transaction_read_only = on",),
            isolation_level="REPEATABLE READ",
            poolclass=QueuePool,
            pool_size=READERS,
            max_overflow=READERS,
            pool_pre_ping=True,
        )
        self._rows = self._engine(
            ("SET default_transaction_read_only = on",),
            isolation_level="AUTOCOMMIT",
            poolclass=QueuePool,
            pool_size=READERS,
            max_overflow=0,
            pool_reset_on_return=None,
        )

    def _engine(self, settings: Sequence[str], **options: Any) -> Engine:
        arguments = {"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "flowspan"}
        arguments = {
            name: value for name, value in arguments.items() if name not in self._url.query
        }
        engine = create_engine(
            self._url,
            connect_args=arguments,
            use_native_hstore=False,
            **options,
        )

        @event.listens_for(engine, "do_connect")
        def _connect(
            dialect: SqlAlchemyDialect, _record: object, call: Sequence[Any], named: dict[str, Any]
        ) -> Any:
            with from_reserve():
                return dialect.connect(*call, **named)

        @event.listens_for(engine, "connect")
        def _on_connect(connection: psycopg.Connection[Any], _record: object) -> None:
            # Ids are text in Python: making UUID objects takes longer than all other work.
            connection.adapters.register_loader("uuid", TextLoader)
            connection.adapters.register_dumper(_Encoded, _EncodedDumper)
            for setting in settings:
                connection.execute(setting.encode())
            connection.commit()

        return engine

    def settle(self, database_id: str) -> None:
        """Use this database only from now on, and create none."""
        self._database_id = database_id

    def check_place(self) -> None:
        """Check the last known state. Each transaction asks the server; see `begin`."""
        if self.gone is not None:
            raise DatabaseGoneError(self.gone)

    def look(self) -> str | None:
        """Check the database over a connection, and update `gone`. May block."""
        try:
            with self.reading.connect() as connection, _other_database(self._other):
                row = _driver_of(connection).execute(_IDENTITY).fetchone()
            self._check_id(row)
        except PoolTimeoutError:
            return None  # a busy database is there
        except DatabaseGoneError as error:
            self.gone = str(error)
            return self.gone
        except Exception as error:
            reason = self.explain(error)
            if reason is None:
                raise
            return reason
        self.gone = None
        return None

    def _check_id(self, row: Sequence[Any] | None) -> None:
        if row is None or row[-1] != self._database_id:
            raise self._other()

    def _other(self) -> DatabaseGoneError:
        self.gone = (
            f"The database {self._url.database!r} of PostgreSQL at"
            f" {self._url.host or 'the local socket'} is not the one that the service opened:"
            " another database replaced it, or another server has the address. Nothing is stored"
            " any more: restore the old database, or restart the service."
        )
        return DatabaseGoneError(self.gone)

    def begin(self, connection: Connection) -> Head:
        """Begin a write transaction, which excludes other writers until its end."""
        driver = _driver_of(connection)
        with _other_database(self._other), driver.pipeline():
            driver.execute(b"BEGIN")
            head = driver.execute(_LOCK_HEAD)
        row = head.fetchone()
        self._check_id(row)
        return Head(*row[:-1])  # type: ignore[index] # it was just looked at

    @contextlib.contextmanager
    def together(self, connection: Connection, *, row_count: int) -> Iterator[None]:
        """Pipeline the statements in this context, without waiting for each answer."""
        if row_count > PIPELINE_ROWS:  # COPY is faster then, and impossible in a pipeline
            yield
            return
        self._updates = []
        try:
            with _driver_of(connection).pipeline():
                yield
            for cursor, expected in self._updates:
                check_updated(cursor.rowcount, expected)
                cursor.close()
        finally:
            self._updates = None

    def insert(self, connection: Connection, table: Table, values: Sequence[Any]) -> None:
        """Insert rows in few statements."""
        if not values:
            return
        if self._updates is not None:
            if table.name not in self._inserts:
                columns = ArrayEncoder(list(table.c))
                self._inserts[table.name] = _insert_sql(table.name, columns), columns
            sql, columns = self._inserts[table.name]
            with _driver_of(connection).cursor() as cursor:
                cursor.execute(sql, _encoded(columns, values))
            return
        encoder = self._encoders.get(table.name)
        if encoder is None:
            encoder = self._encoders[table.name] = RowEncoder(list(table.c))
        self._copy(connection, f"COPY {table.name} FROM STDIN (FORMAT binary)", encoder, values)

    def update_runs(self, connection: Connection, values: Sequence[Any]) -> None:
        """Update runs in few statements."""
        expected = len(values) // len(CHANGING_COLUMNS)
        cursor = _driver_of(connection).cursor()
        cursor.execute(_UPDATE_RUNS, _encoded(_CHANGES, values))
        if self._updates is not None:
            self._updates.append((cursor, expected))
            return
        check_updated(cursor.rowcount, expected)
        cursor.close()

    def _copy(
        self, connection: Connection, sql: str, encoder: RowEncoder, values: Sequence[Any]
    ) -> None:
        step = COPY_CHUNK_ROWS * encoder.width
        with _driver_of(connection).cursor() as cursor, cursor.copy(sql.encode()) as copy:
            copy.write(SIGNATURE)
            # The server works on one chunk while the next one is encoded.
            for start in range(0, len(values), step):
                copy.write(encoder.encode(values[start : start + step]))
            copy.write(TRAILER)

    def find_run(self, kind: int, run_id: str) -> Run | None:
        """Return a run of that kind, over a connection that the dialect chooses."""
        runs = map(run_of, self._read(_LOAD_RUNS, ("{" + run_id + "}",), binary=True))
        return next((found for found in runs if found.kind == kind), None)

    def find_runs(self, run_ids: Sequence[str]) -> list[Run]:
        """Return the existing runs among these, over a connection that the dialect chooses."""
        wanted = "{" + ",".join(run_ids) + "}"
        return list(map(run_of, self._read(_LOAD_RUNS, (wanted,), binary=True)))

    def find_place(self, run_id: str | None) -> tuple[int, str | None]:
        """Return the newest position, and the root of the run's tree if there is such a run."""
        ((position, root),) = self._read(_PLACE, (run_id,))
        return position, root

    @contextlib.contextmanager
    def transitions_between(
        self, after: int, upto: int, *, root_run_id: str | None, limit: int
    ) -> Iterator[Iterator[Transition]]:
        """Stream transitions by position, over a connection that the dialect chooses."""
        statement = transitions_statement(after, upto, root_run_id, limit, self)
        if min(limit, upto - after) <= FEW_ROWS:
            yield map(transition_of, self._read(*statement))
            return
        with self._rows_of(statement, ROWS_BUFFERED) as rows:
            yield map(transition_of, rows)

    @contextlib.contextmanager
    def open_commands(
        self, session_id: str, after: Command | None, *, limit: int
    ) -> Iterator[Iterator[Command]]:
        """Stream open commands of a session, by run and number, after one of them."""
        statement = open_commands_statement(session_id, after, limit, self)
        with self._rows_of(statement, COMMANDS_BUFFERED) as rows:
            yield (Command(*row) for row in rows)

    @contextlib.contextmanager
    def _rows_of(self, statement: Statement, buffered: int) -> Iterator[Iterable[Any]]:
        """Stream a few rows at a time."""
        with (
            self.reading.connect() as connection,
            connection.exec_driver_sql(
                *statement, execution_options={"yield_per": buffered}
            ) as rows,
        ):
            yield rows

    def fetch_keys(self, statement: Statement) -> list[RunKey]:
        """Return the keys in the answer to a statement that selects `run_lists.KEY_COLUMNS`."""
        return [RunKey(*row) for row in self._read(*statement)]

    def _read(self, sql: str, parameters: Any, *, binary: bool = False) -> list[tuple[Any, ...]]:
        """Read with one statement in a transaction of its own: one round trip to the server.

        Other reads take three more: a check of the connection, and two for the transaction. This
        one replaces broken connections instead; all of the pool may be broken.
        """
        for _ in range(READERS):
            with contextlib.suppress(_BrokenError):
                return self._read_once(sql, parameters, binary=binary)
        return self._read_once(sql, parameters, binary=binary)

    def _read_once(self, sql: str, parameters: Any, *, binary: bool) -> list[tuple[Any, ...]]:
        pooled = self._rows.raw_connection()
        driver: psycopg.Connection[Any] = pooled.driver_connection  # type: ignore[assignment] # it is psycopg's
        try:
            return driver.execute(sql.encode(), parameters, binary=binary).fetchall()
        except psycopg.OperationalError as error:
            if driver.closed:
                raise _BrokenError(*error.args) from error
            raise
        finally:
            if driver.closed:
                pooled.invalidate()
            pooled.close()

    def load_runs(self, connection: Connection, run_ids: Iterable[str]) -> list[Run]:
        """Return the existing runs among these, in few statements."""
        # One string is sent faster than a list of ids.
        wanted = "{" + ",".join(run_ids) + "}"
        rows = _driver_of(connection).execute(_LOAD_RUNS.encode(), (wanted,), binary=True)
        return [run_of(row) for row in rows]

    def run_versions(self, connection: Connection, run_ids: Sequence[str]) -> dict[str, Version]:
        """Return the version of each existing run."""
        wanted = "{" + ",".join(run_ids) + "}"
        rows = _driver_of(connection).execute(_RUN_VERSIONS, (wanted,))
        return {row[0]: (row[1], row[2], row[3], row[4]) for row in rows}

    def fetch_runs(self, connection: Connection, statement: Statement) -> Generator[Run]:
        """Stream the runs in the answer to a statement that selects the columns of `run`."""
        with connection.exec_driver_sql(*statement) as rows:
            yield from map(run_of, rows)

    def parameter(self, name: str) -> str:
        """Return the parameter of that name, in SQL."""
        return f"%({name})s"

    def id_parameter(self, name: str) -> str:
        """Return the parameter of that name for an id, in SQL."""
        return f"%({name})s::uuid"

    def id_value(self, run_id: str) -> object:
        """Return an id as the value of a parameter."""
        return run_id

    def id_digits(self, column: str) -> str:
        """Return the expression for the hex digits of an id, lower-case."""
        return f"replace({column}::text, '-', '')"

    def size_bytes(self, connection: Connection) -> int:
        """Return the size of the database in bytes; 0 if it is unknown."""
        statement = select(func.pg_database_size(func.current_database()))
        return int(connection.execute(statement).scalar_one())

    def explain(self, error: Exception) -> str | None:
        """Return why the database is unusable at present, for people."""
        original = error.orig if isinstance(error, DBAPIError) else error
        if isinstance(original, DatabaseGoneError):
            return str(original)
        if not isinstance(original, psycopg.Error):
            return None
        where = f"at {self._url.host or 'the local socket'}"
        detail = (str(original).strip().splitlines() or [type(original).__name__])[0]
        state = original.sqlstate
        if state == _INVALID_CATALOG or (state is None and "does not exist" in detail):
            return (
                f"PostgreSQL {where}: {detail}. Create the database"
                f" (createdb {self._url.database}), or name another one with --db."
            )
        if state == _READ_ONLY_TRANSACTION:
            return f"PostgreSQL {where} does not accept writes (a standby, or read-only): {detail}"
        if state is not None:
            known = _UNAVAILABLE_CLASSES.get(state[:2])
            return f"{known.format(where=where)}: {detail}" if known else None
        if not isinstance(original, psycopg.OperationalError | psycopg.InterfaceError):
            return None
        if "password" in detail or "authentication" in detail:
            return (
                f"PostgreSQL {where} refused the login: {detail}. Check the user and the password"
                " in --db."
            )
        return (
            f"PostgreSQL {where} cannot be reached: {detail}. Check that it runs, and the host and"
            " the port in --db."
        )

    def dispose(self) -> None:
        """Close all connections."""
        self._rows.dispose()
        self.reading.dispose()
        self.writing.dispose()


class _BrokenError(psycopg.OperationalError):
    """The connection is broken."""


@contextlib.contextmanager
def _other_database(error: Callable[[], DatabaseGoneError]) -> Iterator[None]:
    """Treat a missing table as a sign of another database."""
    try:
        yield
    except psycopg.errors.UndefinedTable as missing:
        raise error() from missing


def _driver_of(connection: Connection) -> psycopg.Connection[Any]:
    """Return psycopg's connection: its statements cost less, and can be pipelined."""
    return connection.connection.driver_connection  # type: ignore[return-value] # it is psycopg's


def _encoded(encoder: ArrayEncoder, values: Sequence[Any]) -> tuple[_Encoded, ...]:
    return tuple(_Encoded(array) for array in encoder.encode(values))


class _Encoded(bytes):
    """A parameter that is already in the server's binary format."""


class _EncodedDumper(Dumper):
    """Passes the bytes through; the statement gives the type."""

    format = Format.BINARY

    def dump(self, obj: bytes) -> bytes:
        return obj


def _unnest(encoder: ArrayEncoder) -> str:
    return f"unnest({', '.join(f'%b::{array_type}' for array_type in encoder.types)})"


def _insert_sql(table: str, encoder: ArrayEncoder) -> bytes:
    return f"INSERT INTO {table} SELECT * FROM {_unnest(encoder)}".encode()  # noqa: S608 - own names only


def _update_runs_sql() -> bytes:
    assignments = ", ".join(f"{name} = new.{name}" for name in CHANGING_COLUMNS if name != "id")
    return (
        f"UPDATE run SET {assignments}"  # noqa: S608 - own names only
        f" FROM {_unnest(_CHANGES)} AS new ({', '.join(CHANGING_COLUMNS)}) WHERE run.id = new.id"
    ).encode()


_UPDATE_RUNS = _update_runs_sql()
_LOADED = [
    f"{column}::text" if index < ID_COLUMNS else column for index, column in enumerate(RUN_COLUMNS)
]
_LOAD_RUNS = f"SELECT {', '.join(_LOADED)} FROM run WHERE id = ANY(%s::uuid[])"  # noqa: S608 - own names only
"""For answers in the binary format: payloads as text take four times as long."""


def _declare_partial_indexes() -> None:
    """Set the predicates of the indexes: in the tables, they would load this dialect."""
    for table in metadata.tables.values():
        for index in table.indexes:
            predicate = index.dialect_options["sqlite"]["where"]
            index.dialect_options["postgresql"]["where"] = predicate
