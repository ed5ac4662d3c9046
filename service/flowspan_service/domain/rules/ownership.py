"""The rules about sessions and the runs that they report: owners, claims and fences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan_service.domain.sessions import SessionStatus
from flowspan_service.domain.verdicts import Objection, VerdictKind

if TYPE_CHECKING:
    from flowspan_service.domain.runs import Run
    from flowspan_service.domain.sessions import Session

ANOTHER_SESSION_HAS_IT = Objection(
    VerdictKind.REJECTED,
    "another_session_has_it",
    "Another session reports this run, and it is alive.",
)
FENCED = Objection(
    VerdictKind.ABORT,
    "creation_agrees",
    "This session created another run with this id. Nothing that it says about the id is accepted.",
)


def is_alive(session: Session | None) -> bool:
    """Return True if a session can own a run: it exists, and is neither LOST nor CLOSED."""
    return session is not None and session.status == SessionStatus.OPEN


def may_claim(run: Run, session_id: str, owner: Session | None) -> bool:
    """Return True if a session owns the run, or may become its owner.

    Args:
        run: The run.
        session_id: The session that reports about it.
        owner: The session of the run; None without one.
    """
    return run.session_id in (None, session_id) or not is_alive(owner)


def takes_over(run: Run, session_id: str, owner: Session | None) -> bool:
    """Return True if a session that creates the run again becomes its owner.

    The arguments are those of `may_claim`.
    """
    is_new = run.session_id != session_id and not run.state.is_terminal
    return is_new and may_claim(run, session_id, owner)


def decide_of_other_session(
    objection: Objection | None, run: Run, session_id: str, owner: Session | None
) -> Objection | None:
    """Decide about a state that a session other than the run's reports.

    Args:
        objection: The objection of the rules of transitions. An ABORT tells more than this rule.
        run: The run.
        session_id: The session that reports the state.
        owner: The session of the run; None without one.
    """
    if objection is not None and objection.kind == VerdictKind.ABORT:
        return objection
    return objection if may_claim(run, session_id, owner) else ANOTHER_SESSION_HAS_IT
