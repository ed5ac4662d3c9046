"""The store port: the database, with the reads of all nouns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from flowspan_service.app.ports.nouns import AllReads

if TYPE_CHECKING:
    from concurrent.futures import Future

    from flowspan_service.app.ports.heads import Heads
    from flowspan_service.app.ports.notifier import CommitListener, NewsListener
    from flowspan_service.app.ports.operations import Operation

T = TypeVar("T")


class Identity(NamedTuple):
    """The identity of a database."""

    database_id: str
    """A random id, created with the database; a backup has the same id."""
    token_key: bytes
    """The key that signs the tokens of this database."""


@dataclass(frozen=True, slots=True)
class WriteTimes:
    """The longest times that a transaction held the writer."""

    longest_s: float
    """Since the service started."""
    recent_longest_s: float
    """In the last minute."""


class Written(NamedTuple):
    """Facts about a transaction that changed something."""

    began_ns: int
    """The time of its begin, in nanoseconds since 1970 UTC."""
    took_s: float
    """The time from its begin to the end of its commit."""
    waited_s: float
    """The longest time that one of its operations had waited for it."""
    operation_count: int
    transition_count: int


class WriteListener(Protocol):
    """A callback for transactions."""

    def __call__(self, written: Written) -> None:
        """Note a transaction that was committed. Must return at once."""
        ...


class Store(AllReads, Protocol):
    """The database. `submit` never blocks; the reads block, so call them in a thread."""

    def submit(self, operation: Operation[T]) -> Future[T]:
        """Queue a change. The future is resolved after the commit.

        The future fails with the error of the operation, with StoreUnavailableError when the
        database could not commit (whether it did is then unknown: submit again, operations are
        idempotent), or with StoppingError after `close`.
        """
        ...

    @property
    def queued_weight(self) -> int:
        """The weight of the waiting operations."""
        ...

    @property
    def queued_operation_count(self) -> int:
        """The number of waiting operations."""
        ...

    @property
    def is_local(self) -> bool:
        """True if reading a row takes less time than waking another thread to read it."""
        ...

    @property
    def is_shared(self) -> bool:
        """True if other service processes may use the same database."""
        ...

    identity: Identity
    """The identity of the database."""

    @property
    def gone(self) -> str | None:
        """The reason why the opened database is gone; None if it is there."""
        ...

    def problem(self) -> str | None:
        """Check the database; return why it is unusable, or None. May block for seconds."""
        ...

    def write_times(self) -> WriteTimes:
        """Return the longest times that a transaction held the writer."""
        ...

    def position(self) -> int:
        """Return the position of the last committed transition; 0 for an empty store."""
        ...

    def log_position(self) -> int:
        """Return the position of the last committed log record; 0 for an empty store."""
        ...

    def heads(self) -> Heads:
        """Return the progress of the database."""
        ...

    def generation(self) -> int:
        """Return the number of commits, of all service processes over the database."""
        ...

    def size_bytes(self) -> int:
        """Return the size of the database; 0 if it is unknown."""
        ...

    def on_commit(self, listener: CommitListener) -> None:
        """Call the listener after each commit that changed something, in the writer's thread."""
        ...

    def on_write(self, listener: WriteListener) -> None:
        """Call the listener after each commit that changed something, in the writer's thread."""
        ...

    def on_session_news(self, listener: NewsListener) -> None:
        """Call the listener with the sessions that got a command or ended, after their commit.

        It is called in the writer's thread, and only for commits of this process.
        """
        ...

    def schema_version(self) -> str:
        """Return the version of the schema."""
        ...

    def close(self) -> None:
        """Commit the waiting operations, and end the writer."""
        ...
