"""Sessions: opening and ending them, and the leases that say whether their processes live."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flowspan_service.app.ports import Unfinished
from flowspan_service.domain.errors import (
    NotFoundError,
    SessionTakenOverError,
    WrongSecretError,
)
from flowspan_service.domain.rules.transitions import ProposedTransition, enter
from flowspan_service.domain.sessions import Session, SessionStatus
from flowspan_service.domain.states import DEFAULT_NAMES, Cause, State, StateType

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from flowspan_service.app.ports import UnitOfWork
    from flowspan_service.domain.leases import LeaseWatch, Look
    from flowspan_service.domain.runs import Run

CRASHED_AT_ONCE = 200
CRASHED_BYTES = 4_000_000
"""Open runs of a session that are read together."""

_CONNECTION = "connection_id"
"""The key in Session.client of the connection that has the session. Kept in the store, so that a
connection to another service process takes over just as one to this process does."""


@dataclass(slots=True, frozen=True, kw_only=True)
class LeaseTerms:
    """How long sessions live, in microseconds.

    Attributes:
        lease_us: After their last frame, where they do not ask for something else.
        grace_us: After their connection broke.
        min_lease_us: The least that a client may ask for.
        max_lease_us: The most that a client may ask for.
    """

    lease_us: int
    grace_us: int
    min_lease_us: int = 1_000_000
    max_lease_us: int = 3_600_000_000

    def granted(self, asked_us: int) -> int:
        """The lease for a client that asks for so much; 0 asks for the default."""
        if asked_us <= 0:
            return self.lease_us
        return max(self.min_lease_us, min(asked_us, self.max_lease_us))


@dataclass(slots=True)
class Opened:
    """A session that is open."""

    resume_after: int
    lease_us: int
    is_new: bool


class OpenSession:
    """Opens a session, or resumes it, and gives it to the connection that asks.

    A session that was LOST or CLOSED is OPEN again. One that began with a secret is only for those
    who show it; one that began without stays without, so that no other can lock its client out.
    """

    __slots__ = (
        "client",
        "connection_id",
        "lease_us",
        "run_ids",
        "secret_hash",
        "session_id",
        "weight",
    )

    def __init__(
        self,
        session_id: str,
        *,
        client: Mapping[str, str],
        lease_us: int,
        secret: bytes = b"",
        connection_id: str | None = None,
    ) -> None:
        """Prepares it.

        Args:
            session_id: Which session.
            client: Who it is, for people.
            lease_us: The lease granted.
            secret: What the caller shows; empty if nothing.
            connection_id: The connection that has the session from now on; None for calls without
                one, which take it from nobody.
        """
        self.session_id = session_id
        self.client = client
        self.lease_us = lease_us
        # The secret has as much entropy as the hash: neither salt nor a slow hash adds to it.
        self.secret_hash = hashlib.sha256(secret).digest() if secret else None
        self.connection_id = connection_id
        self.run_ids: Sequence[str] = ()
        self.weight = 1

    def __call__(self, uow: UnitOfWork) -> Opened:
        """Does it.

        Raises:
            WrongSecretError: The session has a secret, and this is not it.
        """
        session = uow.session(self.session_id)
        is_new = session is None
        if session is None:
            session = Session(
                id=self.session_id,
                status=SessionStatus.OPEN,
                last_sequence=0,
                lease_us=self.lease_us,
                lease_expires_us=0,
                created_us=uow.now_us,
                client=dict(self.client),
                secret_hash=self.secret_hash,
            )
        else:
            self._check_secret(session)
            session.client = {**session.client, **self.client}
        if self.connection_id is not None:
            session.client[_CONNECTION] = self.connection_id
        session.lease_us = self.lease_us
        session.renew(uow.now_us)
        uow.save_session(session)
        return Opened(session.last_sequence, session.lease_us, is_new)

    def _check_secret(self, session: Session) -> None:
        if session.secret_hash is None:
            return
        if not hmac.compare_digest(session.secret_hash, self.secret_hash or b""):
            raise WrongSecretError(
                f"The session {session.id} is of a client that has its secret, and this Hello did "
                "not show it.",
                advice="Begin a session of your own, with an id and a secret that you choose.",
                session_id=session.id,
            )


class RenewLease:
    """A sign of life of a session: its lease begins anew."""

    __slots__ = ("connection_id", "run_ids", "session_id", "weight")

    def __init__(self, session_id: str, *, connection_id: str | None = None) -> None:
        """Prepares it, for a session and the connection that the sign came over."""
        self.session_id = session_id
        self.connection_id = connection_id
        self.run_ids: Sequence[str] = ()
        self.weight = 1

    def __call__(self, uow: UnitOfWork) -> None:
        """Does it.

        Raises:
            NotFoundError: There is no such session.
            SessionTakenOverError: Another connection has it.
        """
        session = require_session(uow, self.session_id, connection_id=self.connection_id)
        session.renew(uow.now_us)
        uow.save_session(session)


class EndSession:
    """Goodbye: the session is CLOSED, and what it left open has crashed."""

    __slots__ = ("connection_id", "run_ids", "session_id", "weight")

    def __init__(self, session_id: str, *, connection_id: str | None = None) -> None:
        """Prepares it, for a session and the connection that the Goodbye came over."""
        self.session_id = session_id
        self.connection_id = connection_id
        self.run_ids: Sequence[str] = ()
        self.weight = 100

    def __call__(self, uow: UnitOfWork) -> int | Unfinished:
        """Does it.

        Returns:
            How many runs have crashed.

        Raises:
            NotFoundError: There is no such session.
            SessionTakenOverError: Another connection has it.
        """
        session = require_session(uow, self.session_id, connection_id=self.connection_id)
        session.status = SessionStatus.CLOSED
        session.lease_expires_us = uow.now_us
        uow.save_session(session)
        return _unfinished(_crash_open_runs(uow, session))


class CrashOpenRuns:
    """What a session that has ended left open has crashed. Nothing, if the session came back."""

    __slots__ = ("crashed", "run_ids", "session_id", "weight")

    def __init__(self, session_id: str, *, crashed: int = 0) -> None:
        """Prepares it, for a session of which so many runs have crashed already."""
        self.session_id = session_id
        self.crashed = crashed
        self.run_ids: Sequence[str] = ()
        self.weight = 100

    def __call__(self, uow: UnitOfWork) -> int | Unfinished:
        """Does it; returns how many runs have crashed."""
        session = uow.session(self.session_id)
        if session is None or session.status == SessionStatus.OPEN:
            return self.crashed
        return _unfinished(_crash_open_runs(uow, session, crashed=self.crashed))


class ConnectionBroken:
    """A connection ended without Goodbye: the session has the grace to come back."""

    __slots__ = ("connection_id", "grace_us", "run_ids", "session_id", "weight")

    def __init__(self, session_id: str, *, connection_id: str, grace_us: int) -> None:
        """Prepares it, for a session, the connection that broke, and the grace."""
        self.session_id = session_id
        self.connection_id = connection_id
        self.grace_us = grace_us
        self.run_ids: Sequence[str] = ()
        self.weight = 1

    def __call__(self, uow: UnitOfWork) -> None:
        """Does it; nothing, if the session came back over another connection meanwhile."""
        session = uow.session(self.session_id)
        if session is None or session.status != SessionStatus.OPEN:
            return
        if session.client.get(_CONNECTION) != self.connection_id:
            return
        # The end of a connection is a sign, too: until then it may have lived.
        session.renew(uow.now_us, silence_us=max(1, min(self.grace_us, session.lease_us)))
        uow.save_session(session)


@dataclass(slots=True)
class Reaped:
    """What a reaping found."""

    sessions: list[str]
    """The sessions that are lost."""
    crashed_run_count: int
    has_more: bool
    """Whether the limit was reached, so that there may be more."""
    look: Look
    """What is known of all open sessions now: to be remembered for the next time."""
    unfinished: list[str] = field(default_factory=list)
    """Those of the sessions that may have left more open runs: see CrashOpenRuns."""


class Reap:
    """Sessions that are silent for too long are LOST, and the runs they left open have CRASHED.

    Looking and deciding are one transaction. It comes after all signs of life that were handed to
    the writer before it, so that none is overlooked because the writer is slow.
    """

    __slots__ = ("frames", "limit", "run_ids", "steady_us", "watch", "weight")

    def __init__(
        self,
        watch: LeaseWatch,
        *,
        limit: int,
        frames: Callable[[str], int],
        steady_us: Callable[[], int],
    ) -> None:
        """Prepares it.

        Args:
            watch: What this process knows of the sessions.
            limit: How many sessions at most.
            frames: See `LeaseWatch.judge`; called in the writer's thread.
            steady_us: The monotonic clock.
        """
        self.watch = watch
        self.limit = limit
        self.frames = frames
        self.steady_us = steady_us
        self.run_ids: Sequence[str] = ()
        self.weight = 100

    def __call__(self, uow: UnitOfWork) -> Reaped:
        """Does it."""
        at_us = self.steady_us()  # before the rows are read, which may take its time
        look = self.watch.judge(uow.stored_signs(), self.frames, at_us=at_us)
        reaped = Reaped([], 0, len(look.silent) > self.limit, look)
        for session_id in look.silent[: self.limit]:
            session = uow.session(session_id)
            if session is None:
                continue
            reaped.sessions.append(session.id)
            session.status = SessionStatus.LOST
            session.lease_expires_us = uow.now_us
            uow.save_session(session)
            self._crash(uow, session, reaped)
        return reaped

    def _crash(self, uow: UnitOfWork, session: Session, reaped: Reaped) -> None:
        if uow.is_spent():
            reaped.unfinished.append(session.id)
            return
        crashed = _crash_open_runs(uow, session)
        if isinstance(crashed, CrashOpenRuns):
            reaped.unfinished.append(session.id)
            crashed = crashed.crashed
        reaped.crashed_run_count += crashed


class DeleteSessions:
    """Sessions that ended long ago are forgotten; the runs that they reported stay.

    Whoever resumes one after that begins at the first event again, and what is still known of its
    runs answers as DUPLICATE or REJECTED.
    """

    __slots__ = ("kept_us", "run_ids", "session_ids", "weight")

    def __init__(self, session_ids: Sequence[str], *, kept_us: int) -> None:
        """Prepares it.

        Args:
            session_ids: Some sessions that may have ended long ago; found by a read, as to look for
                them takes long where there are many.
            kept_us: How long a session is kept after its end.
        """
        self.session_ids = session_ids
        self.kept_us = kept_us
        self.run_ids: Sequence[str] = ()
        self.weight = len(session_ids)

    def __call__(self, uow: UnitOfWork) -> int:
        """Does it; returns how many were deleted."""
        return uow.delete_sessions(self.session_ids, ended_before_us=uow.now_us - self.kept_us)


def require_session(uow: UnitOfWork, session_id: str, *, connection_id: str | None) -> Session:
    """The session, if the connection may speak for it.

    Args:
        uow: The transaction.
        session_id: Which session.
        connection_id: The connection that speaks; None for calls without one.

    Raises:
        NotFoundError: There is no such session.
        SessionTakenOverError: Another connection has it.
    """
    session = uow.session(session_id)
    if session is None:
        raise NotFoundError(
            f"There is no session {session_id}.",
            advice="Begin with Hello.",
            session_id=session_id,
        )
    if connection_id is not None and session.client.get(_CONNECTION) != connection_id:
        raise taken_over(session_id)
    return session


def taken_over(session_id: str) -> SessionTakenOverError:
    """The error for a connection whose session another one has taken over."""
    return SessionTakenOverError(
        f"Another connection has taken over the session {session_id}.",
        advice="Do not reconnect; each process needs a session of its own.",
        session_id=session_id,
    )


def _crash_open_runs(uow: UnitOfWork, session: Session, *, crashed: int = 0) -> int | CrashOpenRuns:
    """Crash open runs as long as there is time; return how many, or the operation for the rest."""
    why = "ended without finishing it" if session.status == SessionStatus.CLOSED else "fell silent"
    message = f"The process that ran it{_who(session)} {why}."
    while True:
        page = uow.open_runs_of(session.id, limit=CRASHED_AT_ONCE, limit_bytes=CRASHED_BYTES)
        for run in page.items:
            _crash(uow, run, message)
        crashed += len(page.items)
        if not page.has_more:
            return crashed
        if uow.is_spent():
            return CrashOpenRuns(session.id, crashed=crashed)


def _unfinished(crashed: int | CrashOpenRuns) -> int | Unfinished:
    if isinstance(crashed, int):
        return crashed
    return Unfinished(
        crashed,
        f"{crashed.crashed} runs have crashed; the others will when the service runs again.",
    )


def _crash(uow: UnitOfWork, run: Run, message: str) -> None:
    state = State(
        StateType.CRASHED,
        DEFAULT_NAMES[StateType.CRASHED],
        message,
        # A reporter's clock may be ahead; the history's times do not go back for that.
        max(uow.now_us, run.state.time_us),
    )
    if run.state.type == StateType.CANCELLING:
        uow.finish_commands(run.id)
    enter(run, ProposedTransition(state, run.attempt, Cause.SESSION_LOST))
    uow.add_transition(run)


def _who(session: Session) -> str:
    host, process = session.client.get("hostname", ""), session.client.get("process_id", "")
    if process and host:
        return f" (process {process} on {host})"
    return f" (on {host})" if host else ""
