"""Sessions: open, renew, end, reap and forget them."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flowspan_service.app.clocks import service_time
from flowspan_service.app.ports import Unfinished
from flowspan_service.app.transitions import make_transition
from flowspan_service.domain.errors import (
    NotFoundError,
    SessionTakenOverError,
    WrongSecretError,
)
from flowspan_service.domain.rules.transitions import at_session_end
from flowspan_service.domain.sessions import (
    BROKEN_OFF,
    LOGS_BY_SERVICE,
    PROCESS_MARK,
    Session,
    SessionStatus,
)
from flowspan_service.domain.verdicts import KEPT_EVENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from flowspan_service.app.ports import UnitOfWork
    from flowspan_service.domain.leases import LeaseWatch, Look
    from flowspan_service.domain.runs import Run
    from flowspan_service.domain.sessions import OtlpTarget
    from flowspan_service.domain.verdicts import Verdict

CRASHED_AT_ONCE = 200
CRASHED_BYTES = 4_000_000
"""The maximum size of the open runs that are read together."""

_CONNECTION = "connection_id"
"""The key in Session.client of the connection that owns the session. It is stored, so that a
connection to another service process takes over just as one to this process does."""


@dataclass(slots=True, frozen=True, kw_only=True)
class LeaseTerms:
    """The lifetimes of sessions, in microseconds.

    Attributes:
        lease_us: The default time after the last frame.
        grace_us: The time after the connection broke.
        min_lease_us: The shortest lease that a client may ask for.
        max_lease_us: The longest lease that a client may ask for.
    """

    lease_us: int
    grace_us: int
    min_lease_us: int = 1_000_000
    max_lease_us: int = 3_600_000_000

    def granted(self, asked_us: int) -> int:
        """Return the lease for a client that asks for `asked_us`; 0 asks for the default."""
        if asked_us <= 0:
            return self.lease_us
        return max(self.min_lease_us, min(asked_us, self.max_lease_us))


@dataclass(slots=True, frozen=True, kw_only=True)
class Introduction:
    """The part of a Hello about the clock of a client and its spans.

    Attributes:
        clock_offset_us: The service's clock minus the client's; None if the client sent no time.
        resource: The OpenTelemetry resource of the client.
        spans_by_service: True if the service exports the spans of the session's runs.
        logs_by_service: True if the service exports the logs of the session's runs.
        target: The receivers of the client's own spans and logs; None if it named none.
        process_mark: The mark of the client's process (see `domain.session_ends`); empty if it
            cannot be seen here, None if it was not looked at.
        is_recovering: True if another process delivers the events of the session's process. Its
            clock counts only as long as no other is known, its spans not at all.
    """

    clock_offset_us: int | None = None
    resource: Mapping[str, str] = field(default_factory=dict)
    spans_by_service: bool = False
    logs_by_service: bool = False
    target: OtlpTarget | None = None
    process_mark: str | None = None
    is_recovering: bool = False


@dataclass(slots=True)
class Opened:
    """The outcome of opening a session."""

    resume_after: int
    lease_us: int
    is_new: bool
    verdicts: list[Verdict] = field(default_factory=list)
    """The kept verdicts whose ack may be lost, ordered by sequence."""


class OpenSession:
    """Open or resume a session, and make the calling connection its owner.

    A session that was LOST or CLOSED is OPEN again. A session with a secret opens only for callers
    that present it. A session without one stays without, so that no caller can lock its client out.
    """

    __slots__ = (
        "client",
        "connection_id",
        "introduction",
        "lease_us",
        "run_ids",
        "secret_hash",
        "session_id",
        "verdicts_after",
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
        verdicts_after: int | None = None,
        introduction: Introduction | None = None,
    ) -> None:
        """Initialize the operation.

        Args:
            session_id: The session.
            client: The client, for people.
            lease_us: The granted lease.
            secret: The secret that the caller presents; empty without one.
            connection_id: The new owner of the session; None for calls without a connection, which
                leave the owner as it is.
            verdicts_after: The last event whose verdict has certainly reached the caller; None if
                the caller wants no verdicts of earlier reports.
            introduction: The clock of the client, and what its spans need.
        """
        self.introduction = introduction or Introduction()
        self.session_id = session_id
        self.client = client
        self.lease_us = lease_us
        self.secret_hash = hash_of_secret(secret)
        self.connection_id = connection_id
        self.verdicts_after = verdicts_after
        self.run_ids: Sequence[str] = ()
        self.weight = 1

    def __call__(self, uow: UnitOfWork) -> Opened:
        """Open the session.

        Raises:
            WrongSecretError: The session has another secret.
        """
        session = uow.sessions.get(self.session_id)
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
            check_secret(session, self.secret_hash)
            self._update_client(session)
        if self.connection_id is not None:
            session.client[_CONNECTION] = self.connection_id
        session.lease_us = self.lease_us
        self._introduce(uow, session, is_new=is_new)
        session.renew(uow.now_us)
        uow.sessions.save(session)
        opened = Opened(session.last_sequence, session.lease_us, is_new)
        if self.verdicts_after is not None and self.verdicts_after < session.last_sequence:
            oldest = max(self.verdicts_after, session.last_sequence - KEPT_EVENTS)
            opened.verdicts = uow.verdicts.after(session.id, oldest)
        return opened

    def _update_client(self, session: Session) -> None:
        session.client.pop(BROKEN_OFF, None)
        session.client = {**session.client, **self.client}

    def _introduce(self, uow: UnitOfWork, session: Session, *, is_new: bool) -> None:
        said = self.introduction
        if said.is_recovering and session.clock_offset_us is not None:
            return  # the events are by the clock of the process that ended
        if said.clock_offset_us is not None:
            session.clock_offset_us = said.clock_offset_us
        if said.is_recovering:
            return
        session.spans_by_service = said.spans_by_service
        session.client.pop(LOGS_BY_SERVICE, None)
        if said.logs_by_service:
            session.client[LOGS_BY_SERVICE] = "1"
        if said.process_mark:
            session.client[PROCESS_MARK] = said.process_mark
        elif said.process_mark is not None:
            session.client.pop(PROCESS_MARK, None)
        if said.resource:
            uow.sessions.save_resource(session.id, said.resource)
        if said.target is not None or not is_new:
            uow.sessions.save_target(session.id, said.target)


class RenewLease:
    """Store a sign of life of a session: its lease starts again."""

    __slots__ = ("connection_id", "run_ids", "session_id", "weight")

    def __init__(self, session_id: str, *, connection_id: str | None = None) -> None:
        """Initialize with the session, and the connection of the sign of life."""
        self.session_id = session_id
        self.connection_id = connection_id
        self.run_ids: Sequence[str] = ()
        self.weight = 1

    def __call__(self, uow: UnitOfWork) -> None:
        """Renew the lease.

        Raises:
            NotFoundError: There is no such session.
            SessionTakenOverError: Another connection owns the session.
        """
        session = require_session(uow, self.session_id, connection_id=self.connection_id)
        session.renew(uow.now_us)
        uow.sessions.save(session)


class EndSession:
    """Close a session after its Goodbye. Its open runs have CRASHED."""

    __slots__ = ("connection_id", "run_ids", "session_id", "weight")

    def __init__(self, session_id: str, *, connection_id: str | None = None) -> None:
        """Initialize with the session, and the connection of the Goodbye."""
        self.session_id = session_id
        self.connection_id = connection_id
        self.run_ids: Sequence[str] = ()
        self.weight = 100

    def __call__(self, uow: UnitOfWork) -> int | Unfinished:
        """Close the session.

        Returns:
            The number of runs that crashed.

        Raises:
            NotFoundError: There is no such session.
            SessionTakenOverError: Another connection owns the session.
        """
        session = require_session(uow, self.session_id, connection_id=self.connection_id)
        session.status = SessionStatus.CLOSED
        session.lease_expires_us = uow.now_us
        uow.sessions.save(session)
        uow.verdicts.delete_of([session.id])  # its client has taken leave and reads no more acks
        return _unfinished(_crash_open_runs(uow, session))


class CrashOpenRuns:
    """Crash the open runs of a session that has ended. A no-op if the session came back."""

    __slots__ = ("crashed", "run_ids", "session_id", "weight")

    def __init__(self, session_id: str, *, crashed: int = 0) -> None:
        """Initialize with the session, and the number of its runs that crashed already."""
        self.session_id = session_id
        self.crashed = crashed
        self.run_ids: Sequence[str] = ()
        self.weight = 100

    def __call__(self, uow: UnitOfWork) -> int | Unfinished:
        """Crash as many runs as there is time for; return the number that crashed."""
        session = uow.sessions.get(self.session_id)
        if session is None or session.status == SessionStatus.OPEN:
            return self.crashed
        return _unfinished(_crash_open_runs(uow, session, crashed=self.crashed))


class ConnectionBroken:
    """Start the grace of a session whose connection ended without a Goodbye."""

    __slots__ = ("connection_id", "grace_us", "is_broken_off", "run_ids", "session_id", "weight")

    def __init__(
        self, session_id: str, *, connection_id: str, grace_us: int, is_broken_off: bool = False
    ) -> None:
        """Initialize the operation.

        Args:
            session_id: The session.
            connection_id: The connection that broke.
            grace_us: The grace.
            is_broken_off: True if the other side ended the connection, as the system of a process
                does that has ended.
        """
        self.is_broken_off = is_broken_off
        self.session_id = session_id
        self.connection_id = connection_id
        self.grace_us = grace_us
        self.run_ids: Sequence[str] = ()
        self.weight = 1

    def __call__(self, uow: UnitOfWork) -> None:
        """Start the grace, unless the session came back over another connection."""
        session = uow.sessions.get(self.session_id)
        if session is None or session.status != SessionStatus.OPEN:
            return
        if session.client.get(_CONNECTION) != self.connection_id:
            return
        # The end of a connection is a sign of life, too: the client may have lived until then.
        session.renew(uow.now_us, silence_us=max(1, min(self.grace_us, session.lease_us)))
        if self.is_broken_off:
            session.client[BROKEN_OFF] = "1"
        uow.sessions.save(session)


@dataclass(slots=True)
class Reaped:
    """The outcome of a reaping."""

    sessions: list[str]
    """The sessions that are LOST now."""
    crashed_run_count: int
    has_more: bool
    """True if the limit was reached: there may be more."""
    look: Look
    """The state of all open sessions now, for `LeaseWatch.remember`."""
    unfinished: list[str] = field(default_factory=list)
    """The sessions that may have more open runs: see CrashOpenRuns."""


class Reap:
    """Mark sessions that are silent for too long as LOST, and their open runs as CRASHED.

    Reading and deciding are one transaction. It comes after all signs of life that the writer got
    before it, so that a slow writer does not hide one.
    """

    __slots__ = ("frames", "limit", "monotonic_us", "run_ids", "watch", "weight")

    def __init__(
        self,
        watch: LeaseWatch,
        *,
        limit: int,
        frames: Callable[[str], int],
        monotonic_us: Callable[[], int],
    ) -> None:
        """Initialize the operation.

        Args:
            watch: The memory of this process about the sessions.
            limit: The maximum number of sessions.
            frames: See `LeaseWatch.judge`; called in the writer's thread.
            monotonic_us: The monotonic clock.
        """
        self.watch = watch
        self.limit = limit
        self.frames = frames
        self.monotonic_us = monotonic_us
        self.run_ids: Sequence[str] = ()
        self.weight = 100

    def __call__(self, uow: UnitOfWork) -> Reaped:
        """Reap the silent sessions."""
        at_us = self.monotonic_us()  # before the rows are read: that may take long
        look = self.watch.judge(uow.sessions.stored_signs(), self.frames, at_us=at_us)
        reaped = Reaped([], 0, len(look.silent) > self.limit, look)
        for session_id in look.silent[: self.limit]:
            session = uow.sessions.get(session_id)
            if session is None:
                continue
            reaped.sessions.append(session.id)
            session.be_lost(uow.now_us)
            uow.sessions.save(session)
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
    """Forget sessions that ended long ago. The runs that they reported stay.

    A client that resumes such a session starts at its first event again. Its existing runs answer
    with DUPLICATE or REJECTED.
    """

    __slots__ = ("kept_us", "run_ids", "session_ids", "weight")

    def __init__(self, session_ids: Sequence[str], *, kept_us: int) -> None:
        """Initialize the operation.

        Args:
            session_ids: Sessions that may have ended long ago. A read finds them, as the search
                takes long among many.
            kept_us: The time that a session is kept after its end.
        """
        self.session_ids = session_ids
        self.kept_us = kept_us
        self.run_ids: Sequence[str] = ()
        self.weight = len(session_ids)

    def __call__(self, uow: UnitOfWork) -> int:
        """Delete the sessions; return their number."""
        count = uow.sessions.delete(self.session_ids, ended_before_us=uow.now_us - self.kept_us)
        if count:
            uow.fences.delete_of(self.session_ids)
        return count


def require_session(uow: UnitOfWork, session_id: str, *, connection_id: str | None) -> Session:
    """Return the session if the connection owns it.

    Args:
        uow: The transaction.
        session_id: The session.
        connection_id: The calling connection; None for calls without one.

    Raises:
        NotFoundError: There is no such session.
        SessionTakenOverError: Another connection owns the session.
    """
    session = uow.sessions.get(session_id)
    if session is None:
        raise session_is_unknown(session_id)
    if connection_id is not None and session.client.get(_CONNECTION) != connection_id:
        raise taken_over(session_id)
    return session


def hash_of_secret(secret: bytes) -> bytes | None:
    """Return the hash of a secret, as it is stored; None for an empty one.

    The secret has as much entropy as the hash: neither salt nor a slow hash adds to it.
    """
    return hashlib.sha256(secret).digest() if secret else None


def check_secret(session: Session, secret_hash: bytes | None) -> None:
    """Check that a caller knows the secret of a session.

    Raises:
        WrongSecretError: The session has another secret.
    """
    if session.secret_hash is None:
        return
    if not hmac.compare_digest(session.secret_hash, secret_hash or b""):
        raise WrongSecretError(
            f"The session {session.id} is protected by a secret, which this call did not contain.",
            advice="Open a session of your own, with an id and a secret that you choose.",
            session_id=session.id,
        )


def session_is_unknown(session_id: str) -> NotFoundError:
    """Return the error for a call about a session that does not exist."""
    return NotFoundError(
        f"There is no session {session_id}.", advice="Begin with Hello.", session_id=session_id
    )


def taken_over(session_id: str) -> SessionTakenOverError:
    """Return the error for a connection whose session another one has taken over."""
    return SessionTakenOverError(
        f"Another connection has taken over the session {session_id}.",
        advice="Do not reconnect; each process needs a session of its own.",
        session_id=session_id,
    )


def _crash_open_runs(uow: UnitOfWork, session: Session, *, crashed: int = 0) -> int | CrashOpenRuns:
    """Crash open runs while there is time; return their number, or the operation for the rest."""
    why = "ended without finishing it" if session.status == SessionStatus.CLOSED else "fell silent"
    message = f"The process that ran it{_who(session)} {why}."
    while True:
        page = uow.runs.open_of(session.id, limit=CRASHED_AT_ONCE, limit_bytes=CRASHED_BYTES)
        for run in page.items:
            now_us = service_time(uow, run)
            _note_last_sign(uow, run, session)
            make_transition(uow, run, at_session_end(run, message, now_us=now_us))
        crashed += len(page.items)
        if not page.has_more:
            return crashed
        if uow.is_spent():
            return CrashOpenRuns(session.id, crashed=crashed)


def _note_last_sign(uow: UnitOfWork, run: Run, session: Session) -> None:
    """Store when the process of a run was last heard of: the span of the run ends then."""
    if run.trace is None or session.status != SessionStatus.LOST:
        return
    at_us = service_time(uow, run, at_us=session.last_sign_us)
    # The clock of the process may be ahead; what it reported was before.
    uow.last_signs.note(run.id, max(at_us, run.state.time_us))


def _unfinished(crashed: int | CrashOpenRuns) -> int | Unfinished:
    if isinstance(crashed, int):
        return crashed
    return Unfinished(
        crashed,
        f"{crashed.crashed} runs have crashed; the others will when the service runs again.",
    )


def _who(session: Session) -> str:
    host, process = session.client.get("hostname", ""), session.client.get("process_id", "")
    if process and host:
        return f" (process {process} on {host})"
    return f" (on {host})" if host else ""
