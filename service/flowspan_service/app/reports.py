"""Reports of sessions: batches of events, decided one by one and stored together.

This is the hot path; `app.event_records` describes the events.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flowspan_service.app.artifacts import apply_artifact_event
from flowspan_service.app.event_records import (
    SHORT_RUN_SEQUENCES,
    ShortRun,
    Untimed,
    creation_in,
    pieces_of,
    run_ids_of,
    sequence_count,
    without_first,
)
from flowspan_service.app.families import after_arrival, after_refusal
from flowspan_service.app.ports import Unfinished
from flowspan_service.app.report_outcomes import Applied
from flowspan_service.app.reported_runs import (
    ARTIFACT,
    created_again,
    enter_on_run_clock,
    first_of_run,
    short_run_again,
)
from flowspan_service.app.sessions import Opened, OpenSession, require_session
from flowspan_service.app.transitions import perform
from flowspan_service.domain.artifacts import ArtifactChange, NewArtifact
from flowspan_service.domain.errors import BadSequenceError, ServiceError
from flowspan_service.domain.logs import LogEntry
from flowspan_service.domain.rules.creation import RUN_WAS_DELETED
from flowspan_service.domain.rules.families import PARENT_IS_CANCELLED
from flowspan_service.domain.rules.ownership import FENCED
from flowspan_service.domain.rules.transitions import ProposedTransition, decide, enter
from flowspan_service.domain.sessions import LOGS_BY_SERVICE
from flowspan_service.domain.verdicts import Objection, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowspan_service.app.event_records import ReportedEvent
    from flowspan_service.app.ports import Operation, UnitOfWork
    from flowspan_service.domain.runs import Run
    from flowspan_service.domain.sessions import Session
    from flowspan_service.domain.states import State

PIECE_EVENTS = 2_000
"""A batch with more events is stored in pieces, so that other operations do not wait long."""
BYTES_PER_ROW = 4_000
"""This number of bytes weighs as much as one more row."""
TOLD_CHARACTERS = 2_000
"""The maximum length of a state's message in a verdict."""

_FURTHER = SHORT_RUN_SEQUENCES - 1


class ApplyReport:
    """Store a batch of a session's events and move its watermark, in one transaction.

    Idempotent: events that the watermark covers are skipped.

    Raises (when called):
        NotFoundError: There is no such session.
        SessionTakenOverError: Another connection has the session.
        BadSequenceError: Events are missing between the watermark and the batch.
    """

    __slots__ = (
        *("applied", "connection_id", "events", "first_sequence", "run_ids", "sequence_count"),
        *("session_id", "size_bytes", "weight"),
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
        """Initialize the operation.

        Args:
            session_id: The session that reports the events.
            first_sequence: The sequence of the first event.
            events: The events, in order.
            run_ids: The runs that the events are about, and the parents of new ones.
            connection_id: The connection of the batch; None for calls without one.
            size_bytes: The size of the events: a long message costs as much as many rows.
            applied: The outcome of earlier events of the batch, to be returned with this one.
        """
        self.session_id = session_id
        self.first_sequence = first_sequence
        self.events = events
        self.run_ids: Sequence[str] = run_ids
        self.connection_id = connection_id
        self.size_bytes = size_bytes
        self.applied = applied
        self.sequence_count = sequence_count(events)
        self.weight = 1 + self.sequence_count + size_bytes // BYTES_PER_ROW

    def __call__(self, uow: UnitOfWork) -> Applied | Unfinished:
        """Apply the events until the transaction is full."""
        session = require_session(uow, self.session_id, connection_id=self.connection_id)
        already = session.last_sequence + 1 - self.first_sequence
        if already < 0:
            raise BadSequenceError(
                f"Event {session.last_sequence + 1} is missing: "
                f"the batch begins with {self.first_sequence}.",
                advice="Send the events after the last acknowledged one, without gaps.",
                expected=str(session.last_sequence + 1),
            )
        events = without_first(self.events, already) if already else self.events
        first = self.first_sequence + already
        applied = Applied(session.last_sequence)
        done = 0
        if events:
            fenced = uow.fences.of(session.id, self.run_ids) if session.has_fences else set()
            done = _apply(uow, session, events, first, applied, fenced)
            if applied.verdicts:
                uow.verdicts.add(session.id, applied.verdicts)
            session.last_sequence = applied.up_to_sequence
        session.renew(uow.now_us)
        uow.sessions.save(session)
        told = applied
        if self.applied is not None:
            applied = self.applied.followed_by(applied)
        if uow.families.has_orphans and done:
            return self._mend(uow, events[:done], told, self._outcome(events[done:], applied))
        return self._outcome(events[done:], applied)

    def _outcome(self, left: Sequence[ReportedEvent], applied: Applied) -> Applied | Unfinished:
        return self._rest(left, applied) if left else applied

    def _mend(
        self,
        uow: UnitOfWork,
        events: Sequence[ReportedEvent],
        told: Applied,
        outcome: Applied | Unfinished,
    ) -> Applied | Unfinished:
        """Give the runs that waited for these ones their places; then go on with the outcome."""
        refused = {each.run_id for each in told.verdicts if each.rule == PARENT_IS_CANCELLED.rule}
        after_refusal(uow, list(refused))
        created = [run_id for run_id, what in events if creation_in(what) is not None]
        return after_arrival(uow, created, outcome, session_id=self.session_id)

    def _rest(self, events: Sequence[ReportedEvent], applied: Applied) -> Unfinished:
        rest = ApplyReport(
            self.session_id,
            first_sequence=applied.up_to_sequence + 1,
            events=events,
            run_ids=run_ids_of(events),
            connection_id=self.connection_id,
            size_bytes=self.size_bytes * len(events) // len(self.events),
            applied=applied,
        )
        progress = f"The events up to {applied.up_to_sequence} are stored."
        return Unfinished(rest, progress, session_id=self.session_id)


@dataclass(slots=True)
class Reported:
    """An open session, and the outcome of the report that came with it."""

    opened: Opened
    outcome: Applied | ServiceError
    """An error if the report was refused. The session is open in any case."""


class OpenAndReport:
    """Open a session, store events of it, and end it, in one transaction.

    For calls without a connection, which do all that with a single wait for the disk.

    Raises (when called):
        WrongSecretError: The session belongs to another client; nothing was stored.
    """

    __slots__ = ("ending", "opening", "report", "run_ids", "session_id", "weight")

    def __init__(
        self,
        session_id: str,
        opening: OpenSession | Opened,
        report: Operation[Applied] | Applied | None = None,
        ending: Operation[int] | None = None,
    ) -> None:
        """Initialize the operation.

        Args:
            session_id: The session.
            opening: Opens the session; Opened if an earlier operation has.
            report: Stores the events; Applied if an earlier operation has, None if there are none.
            ending: Ends the session, unless the report is refused; None if it stays open.
        """
        self.session_id = session_id
        self.opening = opening
        self.report = report
        self.ending = ending
        parts = [part for part in (report, ending) if part is not None]
        operations = [part for part in parts if not isinstance(part, Applied)]
        self.run_ids: Sequence[str] = operations[0].run_ids if operations else ()
        self.weight = 1 + sum(part.weight for part in operations)

    def __call__(self, uow: UnitOfWork) -> Reported | Unfinished:
        """Open the session, apply the report, and end the session."""
        opening = self.opening
        opened = opening(uow) if isinstance(opening, OpenSession) else opening
        outcome = self._apply(uow, opened)
        if isinstance(outcome, Unfinished):
            rest = OpenAndReport(self.session_id, opened, outcome.rest, self.ending)
            return replace(outcome, rest=rest)
        if self.ending is not None and not isinstance(outcome, ServiceError):
            ended = self.ending(uow)
            if isinstance(ended, Unfinished):
                rest = OpenAndReport(self.session_id, opened, outcome, ended.rest)
                return replace(ended, rest=rest)
            outcome = replace(outcome, transition_count=outcome.transition_count + ended)
        return Reported(opened, outcome)

    def _apply(self, uow: UnitOfWork, opened: Opened) -> Applied | ServiceError | Unfinished:
        if self.report is None:
            return Applied(opened.resume_after)
        if isinstance(self.report, Applied):
            return self.report
        try:
            return self.report(uow)
        except ServiceError as refusal:
            # A report is refused before it changes anything, and its sender is alive.
            return refusal


def report_pieces(
    session_id: str,
    *,
    first_sequence: int,
    events: Sequence[ReportedEvent],
    run_ids: Sequence[str],
    connection_id: str | None = None,
    size_bytes: int = 0,
) -> list[ApplyReport]:
    """Return the operations that store a batch. Submit them together and in this order.

    The arguments are those of ApplyReport.
    """
    piece = ApplyReport(
        session_id,
        first_sequence=first_sequence,
        events=events,
        run_ids=run_ids,
        connection_id=connection_id,
        size_bytes=size_bytes,
    )
    if piece.sequence_count <= PIECE_EVENTS:
        return [piece]
    return [
        ApplyReport(
            session_id,
            first_sequence=first_sequence + before,
            events=some,
            run_ids=run_ids_of(some),
            connection_id=connection_id,
            size_bytes=size_bytes * len(some) // len(events),
        )
        for before, some in pieces_of(events, PIECE_EVENTS)
    ]


def _apply(  # noqa: C901 - the hot path: calls would take as long as what they do
    uow: UnitOfWork,
    session: Session,
    events: Sequence[ReportedEvent],
    first: int,
    applied: Applied,
    fenced: set[str],
) -> int:
    """Apply events until the transaction is full; return their number, at least one.

    Sets the sequence and the verdicts of `applied`. `fenced` has the runs about which nothing that
    the session says is accepted; it may grow.
    """
    find, add_transition, budget = uow.runs.get, uow.runs.add_transition, uow.budget
    session_id = session.id
    logs: list[LogEntry] = []
    has_artifacts = False
    told: dict[str, State] = {}
    entered = short_runs = 0
    sequence = first - 1
    # Usually no run is being deleted, and no event pays for the check.
    is_doomed = uow.deletions.covers if uow.deletions.begun() else None
    for run_id, what in events:
        if budget.is_full:
            break
        sequence += 1
        kind = what.__class__
        run = find(run_id) if run_id else None
        objection: Objection | None
        if run is not None and is_doomed is not None and is_doomed(run):
            objection = RUN_WAS_DELETED
        elif fenced and run_id in fenced:
            objection = FENCED if run is not None else PARENT_IS_CANCELLED
        elif run is None:
            objection = first_of_run(uow, session, run_id, what, fenced)
            if objection is None:
                if kind is ShortRun:
                    short_runs += 1
                    sequence += _FURTHER
                    entered += _FURTHER
                entered += 1
                continue
        elif (
            kind is ProposedTransition
            and run.session_id == session_id
            and run.clock_shift_us is None
        ):
            # `app.transitions.make_transition`, inlined.
            objection = decide(run, what)  # type: ignore[arg-type] # its class was just looked at
            if objection is None:
                effects = enter(run, what)  # type: ignore[arg-type] # its class was just looked at
                add_transition(run)
                if effects:
                    perform(uow, effects)
                entered += 1
                continue
        elif kind is LogEntry:
            logs.append(what)  # type: ignore[arg-type] # its class was just looked at
            continue
        elif kind is ShortRun:
            answers = short_run_again(uow, session, run, what, applied, fenced)  # type: ignore[arg-type] # its class was just looked at
            for part, objection in enumerate(answers, sequence):
                if objection is None:
                    entered += 1
                else:
                    applied.verdicts.append(_answer(objection, part, run_id, run, told))
            short_runs += 1
            sequence += _FURTHER
            continue
        elif kind is ProposedTransition or (
            kind is Untimed and what.what.__class__ is ProposedTransition  # type: ignore[union-attr] # likewise
        ):
            objection = enter_on_run_clock(uow, session, run, what)  # type: ignore[arg-type] # likewise
            if objection is None:
                entered += 1
                continue
        else:
            objection = created_again(uow, session, run, what, applied, fenced)  # type: ignore[arg-type] # the other classes
        if objection is ARTIFACT:
            if not has_artifacts:
                has_artifacts = True
                uow.artifacts.preload(_artifact_ids(events))
            objection = apply_artifact_event(uow, run, what)  # type: ignore[arg-type] # an artifact
            if objection is None:
                continue
        applied.verdicts.append(_answer(objection, sequence, run_id, run, told))
        if kind is ShortRun:
            short_runs += 1
            sequence += _FURTHER
    uow.logs.add(logs)
    if logs and LOGS_BY_SERVICE in session.client:
        uow.log_exports.add(session_id, logs)
    applied.transition_count = entered
    applied.up_to_sequence = sequence
    return sequence + 1 - first - _FURTHER * short_runs


def _artifact_ids(events: Sequence[ReportedEvent]) -> list[str]:
    return [what.id for _, what in events if isinstance(what, NewArtifact | ArtifactChange)]


def _answer(
    objection: Objection,
    sequence: int,
    run_id: str,
    run: Run | None,
    told: dict[str, State],
) -> Verdict:
    """Return the verdict, with the run's state unless an earlier verdict has the same one."""
    kind, rule, reason = objection
    verdict = Verdict(kind, run_id, rule, reason, sequence=sequence)
    if run is not None:
        verdict.attempt = run.attempt
        if told.get(run_id) is not run.state:
            told[run_id] = run.state
            verdict.state = _without_payloads(run.state)
    return verdict


def _without_payloads(state: State) -> State:
    """Return the part of a state that a verdict contains: a batch may have many verdicts."""
    if state.failure is None and state.result is None and len(state.message) <= TOLD_CHARACTERS:
        return state
    return replace(state, message=state.message[:TOLD_CHARACTERS], failure=None, result=None)
