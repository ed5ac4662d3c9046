"""Reports of sessions: batches of events, decided one by one and stored together.

This is the hot path. An event is a pair: the id of a run, and a `NewRun`, `ProposedTransition`,
`LogEntry`, `NewArtifact`, `ArtifactChange` or `NotUnderstood`. Plain tuples and slotted records
keep the cost of an event at a few microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from flowspan_service.app.artifacts import apply_event
from flowspan_service.app.ports import Unfinished
from flowspan_service.app.sessions import Opened, OpenSession, require_session
from flowspan_service.domain.artifacts import ArtifactChange, NewArtifact
from flowspan_service.domain.errors import BadSequenceError, ServiceError
from flowspan_service.domain.logs import LogEntry
from flowspan_service.domain.rules.transitions import (
    INITIAL_TYPES,
    ProposedTransition,
    decide,
    enter,
)
from flowspan_service.domain.runs import NewRun, Run
from flowspan_service.domain.states import Cause, StateType
from flowspan_service.domain.verdicts import Verdict, VerdictKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowspan_service.app.ports import Operation, UnitOfWork
    from flowspan_service.domain.states import State
    from flowspan_service.domain.verdicts import Objection


PIECE_EVENTS = 2_000
"""A batch with more events is stored in pieces, so that nobody waits long for the writer."""
BYTES_PER_ROW = 4_000
"""So many bytes count as one row more."""
TOLD_CHARACTERS = 2_000
"""A verdict tells at most so much of a state's message."""

_REPORTED = int(Cause.REPORTED)
_CANCELLING = int(StateType.CANCELLING)
_ACCEPTED = VerdictKind.ACCEPTED
_WAS_DELETED = (VerdictKind.ABORT, "run_was_deleted", "The run was deleted.")
_ARTIFACT = (_ACCEPTED, "", "")
"""For what is not decided by the run: artifacts."""


class NotUnderstood(NamedTuple):
    """An event that a newer client may send and this service does not know."""

    rule: str
    reason: str


Happened = NewRun | ProposedTransition | LogEntry | NewArtifact | ArtifactChange | NotUnderstood

ReportedEvent = tuple[str, Happened]
"""The id of a run (empty where the event names none), and what happened to it."""


@dataclass(slots=True)
class Applied:
    """What became of a batch."""

    up_to_sequence: int
    """All events up to this one are stored."""
    verdicts: list[Verdict] = field(default_factory=list)
    """The answers to what was not simply accepted, by sequence."""
    transition_count: int = 0
    """How many transitions were written."""
    has_commands: bool = False
    """Whether the session was given runs for which there are commands."""

    def followed_by(self, later: Applied) -> Applied:
        """What became of these events and of later ones."""
        return Applied(
            later.up_to_sequence,
            self.verdicts + later.verdicts,
            self.transition_count + later.transition_count,
            self.has_commands or later.has_commands,
        )


class ApplyReport:
    """Stores a batch of a session's events and moves its watermark, in one transaction.

    Events that the watermark covers are skipped, so that a batch may come any number of times.

    Raises (when called):
        NotFoundError: There is no such session.
        SessionTakenOverError: Another connection has the session.
        BadSequenceError: Events are missing between the watermark and the batch.
    """

    __slots__ = (
        *("applied", "connection_id", "events", "first_sequence", "run_ids", "session_id"),
        *("size_bytes", "weight"),
    )

    def __init__(
        self,
        session_id: str,
        *,
        first_sequence: int,
        events: Sequence[ReportedEvent],
        run_ids: Sequence[str],
        connection_id: str | None = None,
        size_bytes: int = 0,
        applied: Applied | None = None,
    ) -> None:
        """Prepares it.

        Args:
            session_id: Whose events they are.
            first_sequence: The sequence of the first event.
            events: The events, in order.
            run_ids: The runs that the events are about, and the parents of new ones.
            connection_id: The connection they came over; None for calls without one.
            size_bytes: How large they are, as a long message costs as much as many rows.
            applied: What became of the events before them in their batch, to be told with theirs.
        """
        self.session_id = session_id
        self.first_sequence = first_sequence
        self.events = events
        self.run_ids: Sequence[str] = run_ids
        self.connection_id = connection_id
        self.size_bytes = size_bytes
        self.applied = applied
        self.weight = 1 + len(events) + size_bytes // BYTES_PER_ROW

    def __call__(self, uow: UnitOfWork) -> Applied | Unfinished:
        """Does it."""
        session = require_session(uow, self.session_id, connection_id=self.connection_id)
        already = session.last_sequence + 1 - self.first_sequence
        if already < 0:
            raise BadSequenceError(
                f"Event {session.last_sequence + 1} is missing: "
                f"the batch begins with {self.first_sequence}.",
                advice="Send the events after the last acknowledged one, without gaps.",
                expected=str(session.last_sequence + 1),
            )
        events = self.events[already:] if already else self.events
        first = self.first_sequence + already
        applied = Applied(session.last_sequence)
        done = 0
        if events:
            done = _apply(uow, session.id, events, first, applied)
            applied.up_to_sequence = session.last_sequence = first + done - 1
        session.renew(uow.now_us)
        uow.save_session(session)
        if self.applied is not None:
            applied = self.applied.followed_by(applied)
        return applied if done == len(events) else self._rest(events[done:], applied)

    def _rest(self, events: Sequence[ReportedEvent], applied: Applied) -> Unfinished:
        rest = ApplyReport(
            self.session_id,
            first_sequence=applied.up_to_sequence + 1,
            events=events,
            run_ids=_run_ids(events),
            connection_id=self.connection_id,
            size_bytes=self.size_bytes * len(events) // len(self.events),
            applied=applied,
        )
        progress = f"The events up to {applied.up_to_sequence} are stored."
        return Unfinished(rest, progress, session_id=self.session_id)


@dataclass(slots=True)
class Reported:
    """A session that is open, and what became of what was reported with that."""

    opened: Opened
    outcome: Applied | ServiceError
    """An error if it was refused; the session is open all the same."""


class OpenAndReport:
    """Opens a session and stores events of it, in one transaction: one wait for the disk.

    For calls that keep no connection, each of which does both.

    Raises (when called):
        WrongSecretError: The session is somebody else's; nothing was stored.
    """

    __slots__ = ("opening", "report", "run_ids", "session_id", "weight")

    def __init__(
        self, session_id: str, opening: OpenSession | Opened, report: Operation[Applied]
    ) -> None:
        """Prepares it; the session may have been opened with earlier events of the batch."""
        self.session_id = session_id
        self.opening = opening
        self.report = report
        self.run_ids = report.run_ids
        self.weight = 1 + report.weight

    def __call__(self, uow: UnitOfWork) -> Reported | Unfinished:
        """Does it."""
        opening = self.opening
        opened = opening(uow) if isinstance(opening, OpenSession) else opening
        outcome: Applied | ServiceError | Unfinished
        try:
            outcome = self.report(uow)
        except ServiceError as refusal:
            # It is refused before it has changed anything, and its sender lives.
            outcome = refusal
        if isinstance(outcome, Unfinished):
            return replace(outcome, rest=OpenAndReport(self.session_id, opened, outcome.rest))
        return Reported(opened, outcome)


def report_pieces(
    session_id: str,
    *,
    first_sequence: int,
    events: Sequence[ReportedEvent],
    run_ids: Sequence[str],
    connection_id: str | None = None,
    size_bytes: int = 0,
) -> list[ApplyReport]:
    """The operations that store a batch, to be submitted together and in this order.

    The arguments are those of ApplyReport.
    """
    if len(events) <= PIECE_EVENTS:
        piece = ApplyReport(
            session_id,
            first_sequence=first_sequence,
            events=events,
            run_ids=run_ids,
            connection_id=connection_id,
            size_bytes=size_bytes,
        )
        return [piece]
    return [
        ApplyReport(
            session_id,
            first_sequence=first_sequence + start,
            events=(some := events[start : start + PIECE_EVENTS]),
            run_ids=_run_ids(some),
            connection_id=connection_id,
            size_bytes=size_bytes * len(some) // len(events),
        )
        for start in range(0, len(events), PIECE_EVENTS)
    ]


def _run_ids(events: Sequence[ReportedEvent]) -> list[str]:
    """The runs that events are about, and the parents of new ones."""
    found = {run_id: None for run_id, _ in events if run_id}
    for _, what in events:
        if isinstance(what, NewRun) and what.parent_run_id:
            found[what.parent_run_id] = None
    return list(found)


def _apply(  # noqa: C901 - the hot path: calls would take as long as what they do
    uow: UnitOfWork,
    session_id: str,
    events: Sequence[ReportedEvent],
    first: int,
    applied: Applied,
) -> int:
    """Applies the events until the transaction is full; returns how many, at least one."""
    find, add_transition, budget = uow.run, uow.add_transition, uow.budget
    logs: list[LogEntry] = []
    has_artifacts = False
    told: dict[str, State] = {}
    entered = 0
    sequence = first - 1
    # Mostly nothing is being deleted, and no event pays for it.
    is_doomed = uow.is_being_deleted if uow.deletions() else None
    for run_id, what in events:
        if budget.is_full:
            break
        sequence += 1
        kind = what.__class__
        run = find(run_id) if run_id else None
        objection: Objection | NotUnderstood | tuple[VerdictKind, str, str] | None
        if run is not None and is_doomed is not None and is_doomed(run):
            objection = _WAS_DELETED
        elif run is None:
            objection = _first_of_run(uow, session_id, run_id, what)
            if objection is None:
                entered += 1
                continue
        elif kind is ProposedTransition:
            objection = decide(run, what)  # type: ignore[arg-type] # its class was just looked at
            if objection is None:
                if run.state.type == _CANCELLING:
                    uow.finish_commands(run_id)
                enter(run, what)  # type: ignore[arg-type] # its class was just looked at
                run.session_id = session_id
                add_transition(run)
                entered += 1
                continue
        elif kind is LogEntry:
            logs.append(what)  # type: ignore[arg-type] # its class was just looked at
            continue
        else:
            objection = _created_again(uow, session_id, run, what, applied)  # type: ignore[arg-type] # what is left
        if objection is _ARTIFACT:
            if not has_artifacts:
                has_artifacts = True
                uow.preload_artifacts(_artifact_ids(events))
            objection = apply_event(uow, run, what)  # type: ignore[arg-type] # an artifact
            if objection is None:
                continue
        applied.verdicts.append(_answer(objection, sequence, run_id, run, told))
    uow.add_logs(logs)
    applied.transition_count = entered
    return sequence + 1 - first


def _artifact_ids(events: Sequence[ReportedEvent]) -> list[str]:
    return [what.id for _, what in events if isinstance(what, NewArtifact | ArtifactChange)]


def _answer(
    objection: tuple[VerdictKind, str, str],
    sequence: int,
    run_id: str,
    run: Run | None,
    told: dict[str, State],
) -> Verdict:
    """The verdict; it tells the state of the run, if none before it in the batch has told it."""
    kind, rule, reason = objection
    verdict = Verdict(kind, run_id, rule, reason, sequence=sequence)
    if run is not None:
        verdict.attempt = run.attempt
        if told.get(run_id) is not run.state:
            told[run_id] = run.state
            verdict.state = _without_payloads(run.state)
    return verdict


def _without_payloads(state: State) -> State:
    """What a verdict tells: many may wait for the end of their batch."""
    if state.failure is None and state.result is None and len(state.message) <= TOLD_CHARACTERS:
        return state
    return replace(state, message=state.message[:TOLD_CHARACTERS], failure=None, result=None)


def _first_of_run(
    uow: UnitOfWork, session_id: str, run_id: str, what: Happened
) -> tuple[VerdictKind, str, str] | None:
    """What becomes of an event about a run that is not there; None if it creates it."""
    if what.__class__ is NewRun:
        return _create(uow, session_id, what)
    if what.__class__ is NotUnderstood:
        return (VerdictKind.REJECTED, *what)
    if not run_id:
        return _ARTIFACT
    if uow.was_deleted(run_id):
        return _WAS_DELETED
    return VerdictKind.REJECTED, "run_is_known", "No run with this id was created."


def _create(uow: UnitOfWork, session_id: str, new: NewRun) -> tuple[VerdictKind, str, str] | None:
    if new.state.type not in INITIAL_TYPES:
        return (
            VerdictKind.REJECTED,
            "starts_scheduled_or_pending",
            f"A run begins as Scheduled or Pending, not as {new.state.name}.",
        )
    parent_id = new.parent_run_id
    if parent_id is not None and _is_gone(uow, parent_id):
        return VerdictKind.ABORT, "run_was_deleted", "The run that called it was deleted."
    uow.add_run(new.make(cause=_REPORTED, session_id=session_id))
    return None


def _is_gone(uow: UnitOfWork, run_id: str) -> bool:
    """Whether a run was deleted, or is about to be."""
    run = uow.run(run_id)
    return uow.was_deleted(run_id) if run is None else uow.is_being_deleted(run)


def _created_again(
    uow: UnitOfWork,
    session_id: str,
    run: Run,
    what: NewRun | NewArtifact | NotUnderstood,
    applied: Applied,
) -> tuple[VerdictKind, str, str]:
    """What becomes of a creation of a run that is there; the session takes over its reporting."""
    if what.__class__ is NewArtifact:
        return _ARTIFACT
    if what.__class__ is NotUnderstood:
        return (VerdictKind.REJECTED, *what)
    if not what.agrees_with(run):  # type: ignore[arg-type, union-attr] # a NewRun is left
        return (
            VerdictKind.REJECTED,
            "creation_agrees",
            "A run with this id exists and was created with another content.",
        )
    if run.session_id != session_id and not run.state.is_terminal:
        run.session_id = session_id
        uow.update_run(run)
        if run.state.type == _CANCELLING:
            uow.move_commands(run.id, session_id)
            applied.has_commands = True
    return VerdictKind.DUPLICATE, "creation_agrees", "The run was created before."
