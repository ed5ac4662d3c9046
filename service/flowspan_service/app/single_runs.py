"""Single runs: each is a session of its own, and its process reports it with a few calls.

The service does what a client with a report stream does itself: it chooses the times and the states
and ends the session. Everything else (leases, cancellations, deletions, spans) is as for all runs.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from flowspan_service.app.cancellations import is_refused_below
from flowspan_service.app.families import after_arrival
from flowspan_service.app.reports import BYTES_PER_ROW
from flowspan_service.app.transitions import make_transition
from flowspan_service.domain.errors import AlreadyExistsError, NotFoundError, StateConflictError
from flowspan_service.domain.rules.creation import PARENT_WAS_DELETED, RUN_WAS_DELETED
from flowspan_service.domain.rules.families import PARENT_IS_CANCELLED, put_below
from flowspan_service.domain.rules.transitions import ProposedTransition, is_silence
from flowspan_service.domain.sessions import Session, SessionStatus
from flowspan_service.domain.states import DEFAULT_NAMES, Cause, State, StateType
from flowspan_service.domain.traces import trace_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flowspan_service.app.ports import Unfinished, UnitOfWork
    from flowspan_service.domain.logs import LogEntry
    from flowspan_service.domain.runs import NewRun, Run

DEFAULT_LEASE_US = 900_000_000
ATTEMPT = 1
"""The attempt of a single run: none is retried."""
_REPORTED = int(Cause.REPORTED)


class RunSession(NamedTuple):
    """The session of a single run, which follows from the run and a key of the database."""

    id: str
    secret_hash: bytes
    """The hash of its secret, which no client has."""


class Logged(NamedTuple):
    """The log records of a call."""

    entries: Sequence[LogEntry] = ()
    number: int = 0
    """The number of the call: records of a number that is stored are not stored again. 0 without
    one."""
    size_bytes: int = 0


@dataclass(slots=True)
class SingleRun:
    """The outcome of starting or ending a run."""

    run: Run
    """The run, with its trace context."""
    lease_us: int
    transition_count: int
    """The number of transitions written."""


@dataclass(slots=True)
class Touched:
    """The outcome of a sign of life."""

    is_cancelling: bool
    reason: str
    """The reason of the cancellation, for people."""
    lease_us: int
    transition_count: int


class StartSingleRun:
    """Create a run that its caller executes, RUNNING, with its session. Idempotent by the id."""

    __slots__ = (
        *("client_name", "lease_us", "new", "resource", "run_ids"),
        *("session", "session_id", "weight"),
    )

    def __init__(
        self,
        new: NewRun,
        session: RunSession,
        *,
        client_name: str,
        resource: Mapping[str, str],
        lease_us: int,
    ) -> None:
        """Initialize the operation.

        Args:
            new: The content of the run.
            session: Its session.
            client_name: The name of the client, for people and spans.
            resource: The OpenTelemetry resource of the client.
            lease_us: The granted lease.
        """
        self.new = new
        self.session = session
        self.session_id = session.id
        self.client_name = client_name
        self.resource = resource
        self.lease_us = lease_us
        parent_id = new.parent_run_id
        self.run_ids: Sequence[str] = (new.id, parent_id) if parent_id else (new.id,)
        self.weight = 4

    def __call__(self, uow: UnitOfWork) -> SingleRun | Unfinished:
        """Create the run, or return the one that the same request has created before.

        Raises:
            AlreadyExistsError: The id belongs to another run.
            StateConflictError: The run of that id, or the parent, was deleted; or the parent, or
                one further up, is being cancelled or was.
        """
        run = uow.runs.get(self.new.id)
        if run is None:
            return self._start(uow)
        if uow.deletions.covers(run):
            raise _own_id_was_deleted(run.id)
        if run.session_id != self.session.id or not self.new.agrees_with(run):
            raise AlreadyExistsError(
                f"The id {run.id} is taken by another run.",
                advice="Choose a new id for a new run, or leave it out.",
                run_id=run.id,
            )
        session = _session_of(uow, self.session)
        if not run.state.is_terminal:
            session.renew(uow.now_us)
            uow.sessions.save(session)
        return SingleRun(_answer(uow, run), session.lease_us, 0)

    def _start(self, uow: UnitOfWork) -> SingleRun | Unfinished:
        new = self.new
        if uow.deletions.was_deleted(new.id):
            raise _own_id_was_deleted(new.id)
        parent = self._parent(uow)
        self._open_session(uow)
        run = new.make(cause=_REPORTED, session_id=self.session.id)
        if parent is not None:
            put_below(run, parent)
        uow.runs.add(run)
        if parent is None and run.parent_run_id is not None:
            uow.families.wait_for_parent(run)
        _enter(uow, run, State(StateType.RUNNING, DEFAULT_NAMES[StateType.RUNNING], "", 0))
        started = SingleRun(_answer(uow, run), self.lease_us, 2)
        return after_arrival(uow, (run.id,), started, session_id=self.session.id)

    def _parent(self, uow: UnitOfWork) -> Run | None:
        """Return the run that started the program; None without one, or before it has arrived."""
        parent_id = self.new.parent_run_id
        if parent_id is None:
            return None
        parent = uow.runs.get(parent_id)
        if parent is None:
            if uow.deletions.was_deleted(parent_id):
                raise _bad_parent(PARENT_WAS_DELETED.reason, parent_id)
            if uow.fences.is_refused(parent_id):
                raise _bad_parent(PARENT_IS_CANCELLED.reason, parent_id)
            return None
        if uow.deletions.covers(parent):
            raise _bad_parent(PARENT_WAS_DELETED.reason, parent_id)
        if is_refused_below(uow, parent, None):
            raise _bad_parent(PARENT_IS_CANCELLED.reason, parent_id)
        return parent

    def _open_session(self, uow: UnitOfWork) -> None:
        session = _session_of(uow, self.session)
        # An earlier run of the same id may have ended and been deleted.
        session.last_sequence = 0
        session.client["name"] = self.client_name
        session.lease_us = self.lease_us
        session.renew(uow.now_us)
        uow.sessions.save(session)
        uow.sessions.save_resource(session.id, self.resource)


class _OfRun:
    """An operation on a run that was started."""

    __slots__ = ("logged", "run_id", "run_ids", "session", "session_id", "weight")

    def __init__(self, run_id: str, session: RunSession, logged: Logged) -> None:
        self.run_id = run_id
        self.session = session
        self.session_id = session.id
        self.logged = logged
        self.run_ids: Sequence[str] = (run_id,)
        self.weight = 3 + len(logged.entries) + logged.size_bytes // BYTES_PER_ROW

    def _find(self, uow: UnitOfWork) -> Run:
        """Return the run.

        Raises:
            NotFoundError: The run was deleted.
            StateConflictError: Another session has taken the run over.
        """
        run = uow.runs.get(self.run_id)
        if run is None or uow.deletions.covers(run):
            raise NotFoundError(
                f"There is no run {self.run_id}: it was deleted, or a backup was restored.",
                advice="Stop the program, or start a new run.",
                run_id=self.run_id,
            )
        if run.session_id != self.session.id:
            raise StateConflictError(
                f"Another session reports the run {run.id}.",
                advice="Start a new run; one process reports a run.",
                run_id=run.id,
            )
        return run

    def _store_logs(self, uow: UnitOfWork, session: Session) -> None:
        entries, number, _ = self.logged
        if not entries or 0 < number <= session.last_sequence:
            return
        uow.logs.add(entries)
        if number:
            session.last_sequence = number


class TouchSingleRun(_OfRun):
    """Renew the lease of a run, and store log records."""

    __slots__ = ()

    def __call__(self, uow: UnitOfWork) -> Touched:
        """Renew the lease.

        A run that CRASHED because it fell silent continues: its process is alive after all.

        Raises:
            NotFoundError: The run was deleted.
            StateConflictError: The run has ended.
        """
        run = self._find(uow)
        transitions = 0
        if run.state.is_terminal:
            if not is_silence(run):
                raise _has_ended(run, "Stop the program: nothing more is stored for the run.")
            _revive(uow, run)
            transitions = 1
        session = _session_of(uow, self.session)
        self._store_logs(uow, session)
        session.renew(uow.now_us)
        uow.sessions.save(session)
        is_cancelling = run.state.type == StateType.CANCELLING
        reason = run.state.message if is_cancelling else ""
        return Touched(is_cancelling, reason, session.lease_us, transitions)


class FinishSingleRun(_OfRun):
    """End a run, and its session with it."""

    __slots__ = ("state",)

    def __init__(self, run_id: str, session: RunSession, logged: Logged, state: State) -> None:
        """Initialize the operation; the service's clock sets the time of the state."""
        super().__init__(run_id, session, logged)
        self.state = state

    def __call__(self, uow: UnitOfWork) -> SingleRun:
        """End the run. A no-op if it has ended this way.

        Raises:
            NotFoundError: The run was deleted.
            StateConflictError: The run has ended in another way.
        """
        run = self._find(uow)
        session = _session_of(uow, self.session)
        is_over = run.state.is_terminal and not is_silence(run)
        if is_over and not self._is_end_of(run):
            raise _has_ended(run, "The outcome of the run stays as it is.")
        # The records of an unnumbered call are stored with the end that the call causes, and a
        # repeated call causes none.
        if not is_over or self.logged.number or run.cause != Cause.REPORTED:
            self._store_logs(uow, session)
        if not is_over:
            _enter(uow, run, self.state)
        session.status = SessionStatus.CLOSED
        session.lease_expires_us = uow.now_us
        uow.sessions.save(session)
        return SingleRun(_answer(uow, run), session.lease_us, 0 if is_over else 1)

    def _is_end_of(self, run: Run) -> bool:
        wanted, now = self.state, run.state
        if wanted.type != now.type:
            return False
        if wanted.type == StateType.CANCELLED:  # Its message may be the reason of the caller.
            return True
        return (wanted.message, wanted.result, wanted.failure) == (
            now.message,
            now.result,
            now.failure,
        )


def _session_of(uow: UnitOfWork, session: RunSession) -> Session:
    """Return the session of a run; a new one if it does not exist, or was forgotten."""
    found = uow.sessions.get(session.id)
    if found is not None:
        return found
    return Session(
        id=session.id,
        status=SessionStatus.OPEN,
        last_sequence=0,
        lease_us=DEFAULT_LEASE_US,
        lease_expires_us=0,
        created_us=uow.now_us,
        secret_hash=session.secret_hash,
        spans_by_service=True,
    )


def _enter(uow: UnitOfWork, run: Run, state: State) -> None:
    """Move a run to a state, now.

    Raises:
        StateConflictError: The rules object.
    """
    # Not in place: an operation may run more than once.
    state = copy(state)
    state.time_us = max(uow.now_us, run.state.time_us)
    objection, _ = make_transition(uow, run, ProposedTransition(state, ATTEMPT, _REPORTED))
    if objection is not None:
        raise StateConflictError(
            f"The run {run.id} cannot become {state.name}: {objection.reason}",
            advice="Read the run to see its state.",
            run_id=run.id,
            state=run.state.name,
        )


def _revive(uow: UnitOfWork, run: Run) -> None:
    """Let a run that CRASHED by silence go on; it still has to stop if that was asked before."""
    reason = uow.commands.last_reason(run.id)
    if reason is None:
        parent = uow.runs.get(run.parent_run_id) if run.parent_run_id else None
        if parent is not None and is_refused_below(uow, parent, None):
            reason = PARENT_IS_CANCELLED.reason
    kind = StateType.RUNNING if reason is None else StateType.CANCELLING
    _enter(uow, run, State(kind, DEFAULT_NAMES[kind], reason or "", 0))


def _answer(uow: UnitOfWork, run: Run) -> Run:
    after = copy(run)
    after.trace = trace_of(run, uow.runs.get)
    return after


def _has_ended(run: Run, advice: str) -> StateConflictError:
    return StateConflictError(
        f"The run {run.id} has ended as {run.state.name}.",
        advice=advice,
        run_id=run.id,
        state=run.state.name,
    )


def _own_id_was_deleted(run_id: str) -> StateConflictError:
    return StateConflictError(
        f"{RUN_WAS_DELETED.reason} Its id is {run_id}.",
        advice="Choose a new id for a new run, or leave it out.",
        run_id=run_id,
    )


def _bad_parent(reason: str, parent_id: str) -> StateConflictError:
    return StateConflictError(
        f"{reason} The run context names {parent_id}.",
        advice="Do not start the program, or start it without a run context (FLOWSPAN_RUN, or the "
        "headers flowspan-run and tracestate).",
        run_id=parent_id,
    )
