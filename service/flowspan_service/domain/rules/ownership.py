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


def is_same_process(session: Session, other: Session | None) -> bool:
    """Return True if two sessions say that they are of one process of one host."""
    if other is None or not session.client.get("process_id"):
        return False
    return all(
        session.client.get(key, "") == other.client.get(key, "")
        for key in ("hostname", "process_id")
    )


def may_claim(run: Run, session: Session, owner: Session | None) -> bool:
    """Return True if a session owns the run, or may become its owner.

    A process may report in several sessions: the file with the starts of its runs has its own.

    Args:
        run: The run.
        session: The session that reports about it.
        owner: The session of the run; None without one.
    """
    return (
        run.session_id in (None, session.id)
        or not is_alive(owner)
        or is_same_process(session, owner)
    )


def takes_over(run: Run, session: Session, owner: Session | None) -> bool:
    """Return True if a session that creates the run again becomes its owner.

    The arguments are those of `may_claim`.
    """
    is_new = run.session_id != session.id and not run.state.is_terminal
    return is_new and may_claim(run, session, owner)


def decide_of_other_session(
    objection: Objection | None, run: Run, session: Session, owner: Session | None
) -> Objection | None:
    """Decide about a state that a session other than the run's reports.

    Args:
        objection: The objection of the rules of transitions. An ABORT tells more than this rule.
        run: The run.
        session: The session that reports the state.
        owner: The session of the run; None without one.
    """
    if objection is not None and objection.kind == VerdictKind.ABORT:
        return objection
    return objection if may_claim(run, session, owner) else ANOTHER_SESSION_HAS_IT
