"""What the use cases need of the outside: a store, a clock, a sink for what was committed.

Writing goes through operations. An operation is a callable over a unit of work; the store's one
writer collects the operations that wait, runs them in the order in which they came, and commits
them in one transaction (group commit). Their futures are resolved after the commit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from concurrent.futures import Future

    from flowspan_service.app.queries import (
        ArtifactQuery,
        Changes,
        FoundRuns,
        LatestArtifactQuery,
        LogPage,
        LogQuery,
        Page,
        RunFilter,
        RunKey,
        RunQuery,
        VariableQuery,
    )
    from flowspan_service.domain.artifacts import Artifact
    from flowspan_service.domain.commands import Command
    from flowspan_service.domain.flows import Flow
    from flowspan_service.domain.leases import StoredSign
    from flowspan_service.domain.logs import LogEntry
    from flowspan_service.domain.runs import Run, Transition
    from flowspan_service.domain.sessions import Session
    from flowspan_service.domain.variables import Variable

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


class Clock(Protocol):
    """The time."""

    def now_us(self) -> int:
        """The wall clock, in microseconds since 1970 UTC: what people are told. It may step."""
        ...

    def steady_us(self) -> int:
        """The monotonic clock, in microseconds since some moment: for durations in this process."""
        ...


class Budget(Protocol):
    """How many bytes of runs and artifacts a transaction has touched."""

    @property
    def is_full(self) -> bool:
        """Whether that is as many as it should. Never where an operation begins."""
        ...


class UnitOfWork(Protocol):
    """One transaction, as an operation sees it.

    Reads see what was put before, also by the operations before it in the same transaction.

    The records that it returns are shared: change them only to hand them to a method of the unit of
    work, and decide before changing (an operation that raises has its whole group run again, one by
    one, each in a transaction of its own).
    """

    now_us: int
    """The service's clock when the transaction began."""

    def is_spent(self) -> bool:
        """Whether the transaction has lasted long enough, as everybody else waits for it.

        An operation whose work has no bound asks this between pieces, and returns Unfinished.
        """
        ...

    @property
    def budget(self) -> Budget:
        """What it has touched; asked before each event, as small ones may be about large runs."""
        ...

    def run(self, run_id: str) -> Run | None:
        """The run, or None. Cheap for ids that the operation named in `run_ids`."""
        ...

    def add_run(self, run: Run) -> None:
        """A run that is new, with its first transition (made from run.state, ordinal 1)."""
        ...

    def add_transition(self, run: Run) -> None:
        """The run has been changed to its new state: run.state, attempt, cause and so on.

        Writes the transition and the run.
        """
        ...

    def update_run(self, run: Run) -> None:
        """The run has been changed without a transition (session_id)."""
        ...

    def add_logs(self, entries: Sequence[LogEntry]) -> None:
        """Log records, in order."""
        ...

    def session(self, session_id: str) -> Session | None:
        """The session, or None."""
        ...

    def save_session(self, session: Session) -> None:
        """A session, new or changed."""
        ...

    def open_runs_of(self, session_id: str, *, limit: int, limit_bytes: int) -> Page[Run]:
        """Some of the session's runs that have not ended, the deepest first (by id, descending).

        The page ends after the run with which its payloads exceed limit_bytes.
        """
        ...

    def stored_signs(self) -> list[StoredSign]:
        """The signs of life of all OPEN sessions, in any order."""
        ...

    def delete_sessions(self, session_ids: Sequence[str], *, ended_before_us: int) -> int:
        """Deletes those of the sessions that ended before that time and have no open run.

        Returns how many.
        """
        ...

    def add_command(self, command: Command) -> None:
        """A command to a session; nothing, if there is one with its run and number."""
        ...

    def finish_commands(self, run_id: str) -> None:
        """The run has left the state that its commands are about: they are done."""
        ...

    def move_commands(self, run_id: str, session_id: str) -> None:
        """Another session executes the run: its open commands are for that one."""
        ...

    def deletions(self) -> Collection[str]:
        """The runs whose deletion, with all that they called, was begun and is not finished."""
        ...

    def begin_deletion(self, run: Run) -> None:
        """Notes that the run and all that it called are being deleted."""
        ...

    def end_deletion(self, run_id: str) -> None:
        """Notes that nothing of them is left."""
        ...

    def is_being_deleted(self, run: Run) -> bool:
        """Whether the run, or one that called it, is being deleted. Cheap if no run is."""
        ...

    def open_run_below(
        self, run_id: str, *, after: Place | None
    ) -> tuple[Run | None, Place | None]:
        """Look through some of the runs of a tree that have not ended, for one below the run.

        Args:
            run_id: The run; it counts itself.
            after: The place that the call before returned; None to begin.

        Returns:
            A run that has not ended, if one was found; else where to go on looking, or None if
            there is no more.
        """
        ...

    def delete_below(self, path: list[str]) -> int:
        """Delete some runs of a tree, each after all that it called.

        Goes with them: transitions, log records, artifacts without a key, commands. Remembers the
        ids of those that were not in a terminal state (see `was_deleted`).

        Args:
            path: The run whose tree is deleted, and where in it to go on: each the parent of the
                next. Is changed for the next call; empty if nothing is left.

        Returns:
            The number of runs deleted. It is 0 if only some of what belongs to a run was.
        """
        ...

    def was_deleted(self, run_id: str) -> bool:
        """Whether the run was deleted before it had ended. Asked only of runs that do not exist."""
        ...

    def preload_artifacts(self, artifact_ids: Sequence[str]) -> None:
        """These artifacts will be asked for: loads them in few statements, but not large ones."""
        ...

    def artifact(self, artifact_id: str) -> Artifact | None:
        """The artifact, or None."""
        ...

    def put_artifact(self, artifact: Artifact) -> None:
        """An artifact, new or changed. `artifacts` was asked for it before."""
        ...

    def delete_artifacts(
        self, *, artifact_id: str | None = None, key: str | None = None, limit: int
    ) -> int:
        """Deletes an artifact, or some of a key.

        Returns how many: as many as the limit at most, and then there may be more.
        """
        ...

    def variable(self, name: str) -> Variable | None:
        """The variable, or None."""
        ...

    def put_variable(self, variable: Variable) -> None:
        """A variable, new or changed."""
        ...

    def delete_variable(self, name: str) -> bool:
        """Deletes a variable; returns whether there was one."""
        ...


class Place(NamedTuple):
    """How far UnitOfWork.open_run_below has come."""

    index_range: int
    run_id: str


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The outcome of an operation that has more to do than one transaction should.

    Everything up to here is committed; what is left is done after the operations that wait, and the
    future of the first operation is resolved with the outcome of the last.
    """

    rest: Operation[Any]
    progress: str
    """What was done and what becomes of the rest if the service stops now, for the caller."""
    session_id: str | None = None
    """Whose later operations are to wait for the rest (those with this `session_id`); they do not
    make sense without it, so it is also done when the service stops."""


class Operation(Protocol[T_co]):
    """A change to the store. What it returns is its outcome, or Unfinished.

    May be run more than once (see UnitOfWork): it must not have effects outside the unit of work
    and its return value.
    """

    run_ids: Sequence[str]
    """The runs that it will ask for, so that a whole group is loaded in one query."""
    weight: int
    """Roughly how many rows it writes; the writer bounds a group by it."""

    def __call__(self, uow: UnitOfWork) -> T_co | Unfinished:
        """Does it."""
        ...


class Heads(NamedTuple):
    """The last positions given out: how far a database has come."""

    position: int
    log_position: int


class Identity(NamedTuple):
    """Which database it is."""

    database_id: str
    """A random id, made with the database; a backup has the same."""
    token_key: bytes
    """Signs the tokens of this database."""


@dataclass(frozen=True, slots=True)
class WriteTimes:
    """How long transactions have kept all others waiting."""

    longest_s: float
    """Since the service started."""
    recent_longest_s: float
    """In the last minute."""


class Store(Protocol):
    """The database. `submit` never blocks; the reads block and are to be called in a thread."""

    def submit(self, operation: Operation[T]) -> Future[T]:
        """Queues a change. The future is resolved after the commit.

        It fails with what the operation raised, with StoreUnavailableError when the database could
        not commit (whether it did is then unknown: submit again, operations are idempotent), or
        with StoppingError after `close`.
        """
        ...

    @property
    def queued_weight(self) -> int:
        """The weight of the operations that wait."""
        ...

    @property
    def is_local(self) -> bool:
        """True if a row is read sooner than another thread can be woken to read it."""
        ...

    identity: Identity
    """Which database it is."""

    @property
    def gone(self) -> str | None:
        """Why the database that was opened is not there any more; None if it is."""
        ...

    def problem(self) -> str | None:
        """Look whether the database can be used; return why not, or None. May block for seconds."""
        ...

    def write_times(self) -> WriteTimes:
        """How long transactions have kept all others waiting."""
        ...

    def begun_deletions(self) -> list[str]:
        """The runs whose deletion was begun and is not finished."""
        ...

    def ended_sessions_with_open_runs(self) -> list[str]:
        """The sessions that are LOST or CLOSED and have runs that have not ended."""
        ...

    def sessions_ended_before(
        self, ended_before_us: int, *, after_id: str | None, limit: int
    ) -> list[str]:
        """Sessions that ended before that time, by id, after an id."""
        ...

    def get_run(self, kind: int, run_id: str) -> Run | None:
        """One run of that kind."""
        ...

    def list_runs(self, query: RunQuery) -> Page[Run]:
        """A page of runs."""
        ...

    def list_run_keys(self, query: RunQuery) -> Page[RunKey]:
        """A page of runs, their keys alone; its bytes are not bounded."""
        ...

    def load_runs(self, run_ids: Sequence[str]) -> list[Run]:
        """The runs with these ids, in any order, as far as there are any."""
        ...

    def count_runs(self, kind: int, run_filter: RunFilter) -> dict[int, int]:
        """How many runs are in states of each type."""
        ...

    def tree_runs(
        self, run_id: str, *, after_id: str | None, limit: int, limit_bytes: int = 2_000_000
    ) -> Page[Run]:
        """A page of the run and all that it called, by id ascending (parents before children).

        It ends after the run with which its payloads exceed limit_bytes.
        """
        ...

    def tree_ids(self, run_id: str) -> list[str]:
        """The ids of the run and of all that it called, ascending."""
        ...

    def runs(self, run_ids: Sequence[str], *, limit_bytes: int = 2_000_000) -> FoundRuns:
        """The first of these runs, as far as there are any, up to about so much of payloads."""
        ...

    def transitions(self, run_id: str) -> list[Transition]:
        """The history of a run, by ordinal; empty if there is no such run."""
        ...

    def transition_page(
        self,
        run_id: str,
        *,
        after_ordinal: int = 0,
        limit: int | None = None,
        limit_bytes: int = 2_000_000,
    ) -> Page[Transition]:
        """A page of the history of a run, by ordinal; all of it without a limit.

        It ends after the transition with which its payloads exceed limit_bytes.
        """
        ...

    def changes(
        self, *, after: int, run_id: str | None, limit: int, limit_bytes: int = 2_000_000
    ) -> Changes:
        """Transitions by position, after a position, of all runs or of one run's tree.

        They end after the one with which their payloads exceed limit_bytes.
        """
        ...

    def position(self) -> int:
        """The position of the last transition committed; 0 if there is none."""
        ...

    def heads(self) -> Heads:
        """How far the database has come."""
        ...

    def changed_roots(self, after: int, upto: int) -> Collection[str] | None:
        """The roots of the trees that changed between two positions; None if there are too many."""
        ...

    def log_position(self) -> int:
        """The position of the last log record committed; 0 if there is none."""
        ...

    def commit_time(self, position: int) -> int:
        """When the transition at the position was committed; 0 if it was deleted since."""
        ...

    def list_logs(self, query: LogQuery) -> LogPage:
        """A page of log records."""
        ...

    def size_bytes(self) -> int:
        """Return the size of the database; 0 if it is unknown."""
        ...

    def get_flow(self, *, flow_id: str | None = None, name: str | None = None) -> Flow | None:
        """A flow, by either of its keys."""
        ...

    def list_flows(self, *, after_name: str | None, limit: int) -> list[Flow]:
        """Flows by name, after a name."""
        ...

    def get_artifact(
        self, *, artifact_id: str | None = None, key: str | None = None
    ) -> Artifact | None:
        """One artifact by its id, or the latest of a key."""
        ...

    def list_artifacts(self, query: ArtifactQuery) -> Page[Artifact]:
        """A page of artifacts."""
        ...

    def latest_artifacts(self, query: LatestArtifactQuery) -> Page[Artifact]:
        """A page of the latest artifacts of each key."""
        ...

    def open_commands(
        self,
        session_id: str,
        *,
        after: Command | None = None,
        limit: int,
        limit_bytes: int = 1_000_000,
    ) -> Page[Command]:
        """A page of the open commands of a session, by run and number.

        It ends after the command with which their reasons exceed limit_bytes.
        """
        ...

    def sessions_with_commands(self, session_ids: Sequence[str]) -> list[str]:
        """Those of the sessions that have open commands."""
        ...

    def get_variable(self, name: str) -> Variable | None:
        """One variable."""
        ...

    def list_variables(self, query: VariableQuery) -> Page[Variable]:
        """A page of variables."""
        ...

    def on_commit(self, listener: CommitListener) -> None:
        """Calls the listener after each commit that changed something, in the writer's thread."""
        ...

    def schema_version(self) -> str:
        """The version of the schema."""
        ...

    def close(self) -> None:
        """Commits what waits, and ends the writer."""
        ...


class CommitListener(Protocol):
    """Told of what was committed."""

    def __call__(
        self,
        *,
        position: int,
        log_position: int,
        ended: Sequence[Run],
        roots: Collection[str],
        before: Heads,
    ) -> None:
        """Must return at once.

        Args:
            position: Of the last transition.
            log_position: Of the last log record.
            ended: Copies of the runs that entered a terminal state.
            roots: The roots of the trees of which anything changed.
            before: The positions before the commit.
        """
        ...
