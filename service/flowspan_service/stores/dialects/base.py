"""The face that both dialects show to the writer and the reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Generator, Iterable, Iterator, Sequence

    from sqlalchemy import Table
    from sqlalchemy.engine import Connection, Engine

    from flowspan_service.app.ports.runs import RunKey
    from flowspan_service.domain.commands import Command
    from flowspan_service.domain.runs import Run, Transition


class Head(NamedTuple):
    """The row of the table `head`."""

    position: int
    log_position: int
    generation: int
    latest_us: int


class DatabaseGoneError(Exception):
    """What is at the address is not the database that the service opened; says what to do."""


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
    """Makes the writer's connection, in autocommit: the writer itself begins and commits."""
    reading: Engine
    """A pool of connections for the reads, in autocommit."""
    is_local: bool
    """True if a row is read sooner than another thread can be woken to read it."""
    writes_whole_rows: bool
    """True if a row is written with its payloads when another column changes."""
    null: object
    """What stands for NULL in the values given to `insert` and `update_runs`."""
    gone: str | None
    """Why the database that was opened is not there any more, as found by the last look; None if
    it is."""

    def settle(self, database_id: str) -> None:
        """From now on this database is used and no other, and none is created."""
        ...

    def check_place(self) -> None:
        """See whether the database is where it was. Costs little, and asks no server.

        Raises:
            DatabaseGoneError: It is not.
        """
        ...

    def look(self) -> str | None:
        """Look thoroughly, over a connection; may block. Notes what it finds in `gone`.

        Returns:
            Why the database cannot be used at present; None if it can.
        """
        ...

    def begin(self, connection: Connection) -> Head:
        """Begins a transaction that writes, and keeps other writers out until its end.

        Raises:
            DatabaseGoneError: It is another database than the one that was opened.
        """
        ...

    def together(
        self, connection: Connection, *, row_count: int
    ) -> contextlib.AbstractContextManager[None]:
        """Statements in here may be sent without waiting for the answers of those before.

        Their errors are raised at the latest where the context ends.

        Args:
            connection: The writer's.
            row_count: About how many rows they write.
        """
        ...

    def insert(self, connection: Connection, table: Table, values: Sequence[Any]) -> None:
        """Inserts rows in few statements.

        Args:
            connection: The writer's.
            table: Where to.
            values: Of all columns for each row, one after the other, ids as bytes.
        """
        ...

    def update_runs(self, connection: Connection, values: Sequence[Any]) -> None:
        """Updates runs in few statements.

        Args:
            connection: The writer's.
            values: Of runs.CHANGING_COLUMNS for each run, one after the other.

        Raises:
            RuntimeError: One of them is not in the database.
        """
        ...

    def find_run(self, kind: int, run_id: str) -> Run | None:
        """Return one run of that kind, on a connection of the dialect's own choice."""
        ...

    def find_runs(self, run_ids: Sequence[str]) -> list[Run]:
        """Return the runs with these ids, as far as there are any, on such a connection."""
        ...

    def find_place(self, run_id: str | None) -> tuple[int, str | None]:
        """Return the newest position, and the root of the run's tree if there is such a run."""
        ...

    def transitions_between(
        self, after: int, upto: int, *, root_run_id: str | None, limit: int
    ) -> contextlib.AbstractContextManager[Iterator[Transition]]:
        """Some transitions by position, one by one, on a connection of the dialect's own choice.

        Args:
            after: They come after this position …
            upto: … and up to this one.
            root_run_id: Whose tree is wanted; None for all.
            limit: How many at most.
        """
        ...

    def open_commands(
        self, session_id: str, after: Command | None, *, limit: int
    ) -> contextlib.AbstractContextManager[Iterator[Command]]:
        """Some of a session's open commands, by run and number, after one; on such a connection."""
        ...

    def fetch_keys(self, statement: Statement) -> list[RunKey]:
        """Return the keys in the answer to a statement that selects `run_lists.KEY_COLUMNS`."""
        ...

    def load_runs(self, connection: Connection, run_ids: Iterable[str]) -> list[Run]:
        """The runs with these ids, as far as there are any, in few statements."""
        ...

    def run_versions(
        self, connection: Connection, run_ids: Sequence[str]
    ) -> dict[str, tuple[int, str | None]]:
        """Return the position and the session of each of the runs that are there."""
        ...

    def fetch_runs(self, connection: Connection, statement: Statement) -> Generator[Run]:
        """The runs in the answer to a statement that selects the columns of `run`, one by one."""
        ...

    def size_bytes(self, connection: Connection) -> int:
        """Return the size of the database in bytes; 0 if it is unknown."""
        ...

    def explain(self, error: Exception) -> str | None:
        """Why the database cannot be used at present, for people.

        None if the error is not about the database, but about what was asked of it.
        """
        ...

    def dispose(self) -> None:
        """Closes all connections."""
        ...


def check_updated(row_count: int, expected: int) -> None:
    """Checks that an update found all the runs that it was to change.

    Raises:
        RuntimeError: It did not.
    """
    if row_count != expected:
        msg = f"of {expected} runs that were changed, {row_count} are in the database"
        raise RuntimeError(msg)
