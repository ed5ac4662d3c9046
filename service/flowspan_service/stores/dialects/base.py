"""The protocol of the dialects, for the writer and the reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Generator, Iterable, Iterator, Sequence

    from sqlalchemy import Table
    from sqlalchemy.engine import Connection, Engine

    from flowspan_service.app.ports.runs import RunKey
    from flowspan_service.domain.commands import Command
    from flowspan_service.domain.runs import Run, Transition

Version: TypeAlias = tuple[int, str | None, str, str | None]
"""The position, session, root and flow run of a run: a row with the same four is the same row.
A transition changes the position, and only the others change without a transition."""


class Head(NamedTuple):
    """The row of the table `head`."""

    position: int
    log_position: int
    generation: int
    latest_us: int


class DatabaseGoneError(Exception):
    """The database at the address is not the one that the service opened. Says what to do."""


class Syntax(Protocol):
    """The syntax of parameters in a dialect."""

    def parameter(self, name: str) -> str:
        """Return the parameter of that name, in SQL."""
        ...

    def id_parameter(self, name: str) -> str:
        """Return the parameter of that name for an id, in SQL."""
        ...

    def id_value(self, run_id: str) -> object:
        """Return an id as the value of a parameter."""
        ...

    def id_digits(self, column: str) -> str:
        """Return the expression for the hex digits of an id, lower-case."""
        ...


class Statement(NamedTuple):
    """SQL with its parameters."""

    sql: str
    parameters: dict[str, Any]


class Dialect(Syntax, Protocol):
    """One kind of database, at one address."""

    name: str
    writing: Engine
    """Makes the writer's connection, in autocommit: the writer begins and commits itself."""
    reading: Engine
    """A pool of connections for the reads, in autocommit."""
    is_local: bool
    """True if reading a row takes less time than waking another thread to read it."""
    is_shared: bool
    """True if other service processes may use the same database."""
    writes_whole_rows: bool
    """True if a row is written with its payloads when another column changes."""
    null: object
    """The value that stands for NULL in the arguments of `insert` and `update_runs`."""
    gone: str | None
    """The reason why the opened database is gone, as of the last check; None if it is there."""

    def settle(self, database_id: str) -> None:
        """Use this database only from now on, and create none."""
        ...

    def check_place(self) -> None:
        """Check that the database is still at its place. Cheap: it asks no server.

        Raises:
            DatabaseGoneError: The database is gone.
        """
        ...

    def look(self) -> str | None:
        """Check the database over a connection, and update `gone`. May block.

        Returns:
            The reason why the database is unusable at present; None if it is usable.
        """
        ...

    def begin(self, connection: Connection) -> Head:
        """Begin a write transaction, which excludes other writers until its end.

        Raises:
            DatabaseGoneError: It is not the database that was opened.
        """
        ...

    def together(
        self, connection: Connection, *, row_count: int
    ) -> contextlib.AbstractContextManager[None]:
        """Pipeline the statements in this context, without waiting for each answer.

        Their errors are raised at the end of the context at the latest.

        Args:
            connection: The writer's.
            row_count: The approximate number of rows that they write.
        """
        ...

    def insert(self, connection: Connection, table: Table, values: Sequence[Any]) -> None:
        """Insert rows in few statements.

        Args:
            connection: The writer's.
            table: The table.
            values: The values of all columns of each row, one after the other, ids as bytes.
        """
        ...

    def update_runs(self, connection: Connection, values: Sequence[Any]) -> None:
        """Update runs in few statements.

        Args:
            connection: The writer's.
            values: The values of runs.CHANGING_COLUMNS of each run, one after the other.

        Raises:
            RuntimeError: A run is not in the database.
        """
        ...

    def find_run(self, kind: int, run_id: str) -> Run | None:
        """Return a run of that kind, over a connection that the dialect chooses."""
        ...

    def find_runs(self, run_ids: Sequence[str]) -> list[Run]:
        """Return the existing runs among these, over a connection that the dialect chooses."""
        ...

    def find_place(self, run_id: str | None) -> tuple[int, str | None]:
        """Return the newest position, and the root of the run's tree if there is such a run."""
        ...

    def transitions_between(
        self, after: int, upto: int, *, root_run_id: str | None, limit: int
    ) -> contextlib.AbstractContextManager[Iterator[Transition]]:
        """Stream transitions by position, over a connection that the dialect chooses.

        Args:
            after: The position before the first one.
            upto: The position of the last one.
            root_run_id: The root of the wanted tree; None for all.
            limit: The maximum number of transitions.
        """
        ...

    def open_commands(
        self, session_id: str, after: Command | None, *, limit: int
    ) -> contextlib.AbstractContextManager[Iterator[Command]]:
        """Stream open commands of a session, by run and number, after one of them."""
        ...

    def fetch_keys(self, statement: Statement) -> list[RunKey]:
        """Return the keys in the answer to a statement that selects `run_lists.KEY_COLUMNS`."""
        ...

    def load_runs(self, connection: Connection, run_ids: Iterable[str]) -> list[Run]:
        """Return the existing runs among these, in few statements."""
        ...

    def run_versions(self, connection: Connection, run_ids: Sequence[str]) -> dict[str, Version]:
        """Return the version of each existing run."""
        ...

    def fetch_runs(self, connection: Connection, statement: Statement) -> Generator[Run]:
        """Stream the runs in the answer to a statement that selects the columns of `run`."""
        ...

    def size_bytes(self, connection: Connection) -> int:
        """Return the size of the database in bytes; 0 if it is unknown."""
        ...

    def explain(self, error: Exception) -> str | None:
        """Return why the database is unusable at present, for people.

        None if the error concerns the request and not the database.
        """
        ...

    def dispose(self) -> None:
        """Close all connections."""
        ...


def check_updated(row_count: int, expected: int) -> None:
    """Check that an update found all changed runs.

    Raises:
        RuntimeError: It found a different number.
    """
    if row_count != expected:
        msg = f"{row_count} of {expected} changed runs are in the database"
        raise RuntimeError(msg)
