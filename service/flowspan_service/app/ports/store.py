"""The store port: one registration of each noun for the reads, and one for the writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

    from flowspan_service.app.ports.artifacts import ArtifactReads, ArtifactWrites
    from flowspan_service.app.ports.cancellations import CancellationReads, CancellationWrites
    from flowspan_service.app.ports.claims import ClaimReads, ClaimWrites
    from flowspan_service.app.ports.commands import CommandReads, CommandWrites
    from flowspan_service.app.ports.deletions import DeletionReads, DeletionWrites
    from flowspan_service.app.ports.families import FamilyReads, FamilyWrites
    from flowspan_service.app.ports.fences import FenceWrites
    from flowspan_service.app.ports.flows import FlowReads
    from flowspan_service.app.ports.labels import LabelReads, LabelWrites
    from flowspan_service.app.ports.logs import LogReads, LogWrites
    from flowspan_service.app.ports.notifier import CommitListener, NewsListener
    from flowspan_service.app.ports.operations import Budget, Operation
    from flowspan_service.app.ports.runs import RunReads, RunWrites
    from flowspan_service.app.ports.sessions import SessionReads, SessionWrites
    from flowspan_service.app.ports.tokens import TokenReads, TokenWrites
    from flowspan_service.app.ports.transitions import TransitionReads
    from flowspan_service.app.ports.variables import VariableReads, VariableWrites
    from flowspan_service.app.ports.verdicts import VerdictWrites

T = TypeVar("T")


class Heads(NamedTuple):
    """The last positions given out: the progress of a database."""

    position: int
    log_position: int


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


class UnitOfWork(Protocol):
    """One transaction, as an operation sees it.

    Reads see the writes before them, also those of earlier operations in the same transaction.
    """

    now_us: int
    """The service's clock when the transaction began."""

    def is_spent(self) -> bool:
        """Return True if the transaction has lasted long enough: other operations wait for it.

        An operation without a bound on its work asks between pieces, and returns Unfinished.
        """
        ...

    @property
    def budget(self) -> Budget:
        """The budget of bytes. Ask before each event: a small one may concern a large run."""
        ...

    @property
    def artifacts(self) -> ArtifactWrites:
        """The artifacts in this transaction."""
        ...

    @property
    def cancellations(self) -> CancellationWrites:
        """The cancellations in this transaction."""
        ...

    @property
    def claims(self) -> ClaimWrites:
        """The claims in this transaction."""
        ...

    @property
    def commands(self) -> CommandWrites:
        """The commands in this transaction."""
        ...

    @property
    def deletions(self) -> DeletionWrites:
        """The deletions in this transaction."""
        ...

    @property
    def families(self) -> FamilyWrites:
        """The families in this transaction."""
        ...

    @property
    def fences(self) -> FenceWrites:
        """The fences in this transaction."""
        ...

    @property
    def labels(self) -> LabelWrites:
        """The labels in this transaction."""
        ...

    @property
    def logs(self) -> LogWrites:
        """The logs in this transaction."""
        ...

    @property
    def runs(self) -> RunWrites:
        """The runs in this transaction."""
        ...

    @property
    def sessions(self) -> SessionWrites:
        """The sessions in this transaction."""
        ...

    @property
    def tokens(self) -> TokenWrites:
        """The access tokens in this transaction."""
        ...

    @property
    def variables(self) -> VariableWrites:
        """The variables in this transaction."""
        ...

    @property
    def verdicts(self) -> VerdictWrites:
        """The verdicts in this transaction."""
        ...


class Store(Protocol):
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

    @property
    def artifacts(self) -> ArtifactReads:
        """The reads of artifacts."""
        ...

    @property
    def cancellations(self) -> CancellationReads:
        """The reads of cancellations."""
        ...

    @property
    def claims(self) -> ClaimReads:
        """The reads of claims."""
        ...

    @property
    def commands(self) -> CommandReads:
        """The reads of commands."""
        ...

    @property
    def deletions(self) -> DeletionReads:
        """The reads of deletions."""
        ...

    @property
    def families(self) -> FamilyReads:
        """The reads of families."""
        ...

    @property
    def flows(self) -> FlowReads:
        """The reads of flows."""
        ...

    @property
    def labels(self) -> LabelReads:
        """The reads of labels."""
        ...

    @property
    def logs(self) -> LogReads:
        """The reads of logs."""
        ...

    @property
    def runs(self) -> RunReads:
        """The reads of runs."""
        ...

    @property
    def sessions(self) -> SessionReads:
        """The reads of sessions."""
        ...

    @property
    def tokens(self) -> TokenReads:
        """The reads of access tokens."""
        ...

    @property
    def transitions(self) -> TransitionReads:
        """The reads of transitions."""
        ...

    @property
    def variables(self) -> VariableReads:
        """The reads of variables."""
        ...
