"""Times on the clocks of runs, for the operations that need the clocks of sessions as well."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from flowspan_service.domain.clocks import effective_offset, on_run_clock, shift_after_handover
from flowspan_service.domain.rules.transitions import ProposedTransition

if TYPE_CHECKING:
    from flowspan_service.app.event_records import Untimed
    from flowspan_service.app.ports import UnitOfWork
    from flowspan_service.domain.runs import Run
    from flowspan_service.domain.sessions import Session


def service_time(uow: UnitOfWork, run: Run, *, at_us: int | None = None) -> int:
    """Return a time of the service on the clock of a run.

    Args:
        uow: The transaction.
        run: The run.
        at_us: The time by the service's wall clock; that of the transaction if None.
    """
    offset_us = _offset_of(uow, run.session_id)
    time_us = uow.now_us if at_us is None else at_us
    return on_run_clock(time_us, shift_us=run.clock_shift_us or 0, offset_us=offset_us)


def shift_in(uow: UnitOfWork, run: Run, session: Session) -> int | None:
    """Return the shift of a run once the session reports it; None for no shift."""
    shift_us = run.clock_shift_us or 0
    if run.session_id != session.id:
        shift_us = shift_after_handover(
            shift_us,
            before_us=_offset_of(uow, run.session_id),
            after_us=effective_offset(session.clock_offset_us),
        )
    return shift_us or None


def shift_of_untimed(session: Session) -> int | None:
    """Return the shift of a run that the session created without a time; None for no shift.

    Such a run is on the service's clock: it was created when the service received the event.
    """
    return effective_offset(session.clock_offset_us) or None


def on_clock_of(
    run: Run, event: ProposedTransition | Untimed, session: Session, shift_us: int | None
) -> ProposedTransition:
    """Return a transition that a session reports, with its time on the clock of the run.

    Args:
        run: The run as it is.
        event: The transition. Without a time, its state has the service's when it arrived.
        session: The session.
        shift_us: The shift of the run in that session.
    """
    if isinstance(event, ProposedTransition):
        if shift_us is None:
            return event
        state = event.state
        return event._replace(
            state=replace(state, time_us=on_run_clock(state.time_us, shift_us=shift_us))
        )
    assert isinstance(event.what, ProposedTransition)  # noqa: S101 - creations are not passed here
    return _untimed(run, event.what, session, shift_us or 0)


def _untimed(
    run: Run, proposed: ProposedTransition, session: Session, shift_us: int
) -> ProposedTransition:
    state, now = proposed.state, run.state
    offset_us = effective_offset(session.clock_offset_us)
    time_us = on_run_clock(state.time_us, shift_us=shift_us, offset_us=offset_us)
    is_same = (proposed.attempt, state.type, state.name) == (run.attempt, now.type, now.name)
    # The same state again is a duplicate at any time, and the times of a history do not go back.
    return proposed._replace(
        state=replace(state, time_us=now.time_us if is_same else max(time_us, now.time_us))
    )


def _offset_of(uow: UnitOfWork, session_id: str | None) -> int:
    session = uow.sessions.get(session_id) if session_id is not None else None
    return 0 if session is None else effective_offset(session.clock_offset_us)
