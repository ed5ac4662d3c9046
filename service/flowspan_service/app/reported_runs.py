"""The decisions about reported events of one run that `app.reports` does not take inline.

These are creations, events about runs that do not exist, and transitions whose times are on another
clock than those of the run, or that come from another session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan_service.app import clocks
from flowspan_service.app.cancellations import is_refused_below
from flowspan_service.app.event_records import NotUnderstood, ShortRun, Untimed
from flowspan_service.app.transitions import perform
from flowspan_service.domain.artifacts import NewArtifact
from flowspan_service.domain.effects import effects_of_takeover
from flowspan_service.domain.rules.creation import (
    PARENT_WAS_DELETED,
    RUN_IS_UNKNOWN,
    RUN_WAS_DELETED,
    decide_creation,
    decide_repeated_creation,
)
from flowspan_service.domain.rules.families import PARENT_IS_CANCELLED, put_below
from flowspan_service.domain.rules.ownership import decide_of_other_session, takes_over
from flowspan_service.domain.rules.transitions import ProposedTransition, decide, enter
from flowspan_service.domain.runs import NewRun
from flowspan_service.domain.states import Cause
from flowspan_service.domain.traces import exported_by_service
from flowspan_service.domain.verdicts import Objection, VerdictKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowspan_service.app.event_records import Happened
    from flowspan_service.app.ports import UnitOfWork
    from flowspan_service.app.report_outcomes import Applied
    from flowspan_service.domain.runs import Run
    from flowspan_service.domain.sessions import Session

_REPORTED = int(Cause.REPORTED)
ARTIFACT = Objection(VerdictKind.ACCEPTED, "", "")
"""A marker for events that the rules of artifacts decide, and not the state of a run."""


def enter_on_run_clock(
    uow: UnitOfWork, session: Session, run: Run, event: ProposedTransition | Untimed
) -> Objection | None:
    """Decide about a transition whose time must be moved, or that comes from another session."""
    shift_us = clocks.shift_in(uow, run, session)
    what = clocks.on_clock_of(run, event, session, shift_us)
    objection = decide(run, what)
    if run.session_id != session.id:
        owner = uow.sessions.get(run.session_id) if run.session_id else None
        objection = decide_of_other_session(objection, run, session, owner)
    if objection is None:
        effects = enter(run, what)
        if run.session_id != session.id:
            _hand_over(uow, run, session, shift_us)
        uow.runs.add_transition(run)
        perform(uow, effects)
    return objection


def _hand_over(uow: UnitOfWork, run: Run, session: Session, shift_us: int | None) -> None:
    """Make a session the reporter of a run; the caller stores the changed run."""
    run.session_id = session.id
    trace = exported_by_service(run.trace) if session.spans_by_service else run.trace
    if (shift_us, trace) != (run.clock_shift_us, run.trace):
        run.clock_shift_us, run.trace = shift_us, trace
        uow.runs.hand_over(run)


def first_of_run(
    uow: UnitOfWork, session: Session, run_id: str, what: Happened, fenced: set[str]
) -> Objection | None:
    """Decide about an event whose run does not exist; None if the event created it."""
    shift_us = None
    if what.__class__ is Untimed and what.what.__class__ is NewRun:
        what, shift_us = what.what, clocks.shift_of_untimed(session)
    if what.__class__ is NewRun:
        objection = _create(uow, session, what, shift_us, fenced)
        return _fence_refused(uow, session.id, run_id, objection, fenced)
    if what.__class__ is ShortRun:
        objection = _create_short_run(uow, session, what, fenced)
        return _fence_refused(uow, session.id, run_id, objection, fenced)
    if what.__class__ is NotUnderstood:
        return Objection(VerdictKind.REJECTED, *what)
    if not run_id:
        return ARTIFACT
    return RUN_WAS_DELETED if uow.deletions.was_deleted(run_id) else RUN_IS_UNKNOWN


def _fence_refused(
    uow: UnitOfWork, session_id: str, run_id: str, objection: Objection | None, fenced: set[str]
) -> Objection | None:
    """Fence the session off a run that was refused below a cancelled one.

    Its process may report more about the run, and runs that it calls, before it stops.
    """
    if objection is PARENT_IS_CANCELLED:
        uow.fences.add(session_id, run_id)
        fenced.add(run_id)
    return objection


def _create(
    uow: UnitOfWork, session: Session, new: NewRun, shift_us: int | None, fenced: set[str]
) -> Objection | None:
    objection = decide_creation(new)
    if objection is not None:
        return objection
    run = new.make(cause=_REPORTED, session_id=session.id)
    if session.spans_by_service:
        run.trace = exported_by_service(run.trace)
    if shift_us is not None:
        run.clock_shift_us = shift_us
    parent_id = new.parent_run_id
    if parent_id is None:
        uow.runs.add(run)
        return None
    parent = uow.runs.get(parent_id)
    if parent is None:
        return _create_before_parent(uow, run, fenced)
    if uow.deletions.covers(parent):
        return PARENT_WAS_DELETED
    if is_refused_below(uow, parent, session.id):
        return PARENT_IS_CANCELLED
    put_below(run, parent)
    uow.runs.add(run)
    return None


def _create_before_parent(uow: UnitOfWork, run: Run, fenced: set[str]) -> Objection | None:
    """Store a new run whose parent has not arrived yet, unless it never will."""
    parent_id = str(run.parent_run_id)
    if parent_id in fenced:
        return PARENT_IS_CANCELLED
    if uow.deletions.was_deleted(parent_id):
        return PARENT_WAS_DELETED
    if uow.fences.is_refused(parent_id):
        return PARENT_IS_CANCELLED
    uow.runs.add(run)
    uow.families.wait_for_parent(run)
    return None


def _create_short_run(
    uow: UnitOfWork, session: Session, short: ShortRun, fenced: set[str]
) -> Objection | None:
    """Create a run and let it end; None if that was done.

    Without the creation, the states are not considered: they would be about no run. A new run has
    no state that a rule compares them with, so no rule objects to RUNNING and an end.
    """
    new, running, ended = short
    shift_us = None
    if isinstance(new, Untimed):
        new, shift_us = new.what, clocks.shift_of_untimed(session)  # type: ignore[assignment] # a creation
    if isinstance(new, NotUnderstood):
        return Objection(VerdictKind.REJECTED, *new)
    objection = _create(uow, session, new, shift_us, fenced)  # type: ignore[arg-type] # a NewRun is left
    if objection is not None:
        return objection
    run: Run = uow.runs.get(new.id)  # type: ignore[assignment,union-attr] # it was just created
    for proposed in (running, ended):
        if shift_us is not None or proposed.__class__ is Untimed:
            proposed = clocks.on_clock_of(run, proposed, session, shift_us)  # noqa: PLW2901 - rare
        enter(run, proposed)  # type: ignore[arg-type] # its time is known now
        uow.runs.add_transition(run)
    return None


def short_run_again(
    uow: UnitOfWork,
    session: Session,
    run: Run,
    short: ShortRun,
    applied: Applied,
    fenced: set[str],
) -> Iterator[Objection | None]:
    """Decide about a short run that exists, as about its three events one after the other.

    If it is another run than the existing one, the states are not considered.
    """
    new, running, ended = short
    objection = created_again(uow, session, run, new, applied, fenced)
    yield objection
    if objection.kind != VerdictKind.DUPLICATE:
        return
    for proposed in (running, ended):
        yield enter_on_run_clock(uow, session, run, proposed)


def created_again(
    uow: UnitOfWork,
    session: Session,
    run: Run,
    what: NewRun | NewArtifact | NotUnderstood | Untimed,
    applied: Applied,
    fenced: set[str],
) -> Objection:
    """Decide about a creation of a run that exists. The session may claim the run."""
    if what.__class__ is Untimed:
        what = what.what  # type: ignore[assignment] # a creation
    if what.__class__ is NewArtifact:
        return ARTIFACT
    if what.__class__ is NotUnderstood:
        return Objection(VerdictKind.REJECTED, *what)
    objection = decide_repeated_creation(run, what)  # type: ignore[arg-type] # a NewRun is left
    if objection.kind == VerdictKind.ABORT:
        uow.fences.add(session.id, run.id)
        fenced.add(run.id)
        return objection
    if run.session_id == session.id:
        return objection
    owner = uow.sessions.get(run.session_id) if run.session_id else None
    if takes_over(run, session, owner):
        _hand_over(uow, run, session, clocks.shift_in(uow, run, session))
        uow.runs.update(run)
        effects = effects_of_takeover(run)
        perform(uow, effects)
        applied.has_commands = applied.has_commands or bool(effects)
    return objection
