"""Runs, their transitions, log records and sessions, as the service keeps them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from flowspan_service.domain.states import Cause, State


class RunKind(IntEnum):
    """The two kinds of runs; the numbers are those of flowspan.v1.RunKind."""

    FLOW = 1
    TASK = 2


@dataclass(slots=True)
class Payload:
    """A value of the user's: bytes and how they are encoded. Never looked into."""

    encoding: str
    data: bytes


@dataclass(slots=True)
class TraceContext:
    """Where a run's span is in its trace (W3C Trace Context)."""

    traceparent: str
    tracestate: str = ""
    parent_span_id: str = ""
    exported_by_service: bool = False


@dataclass(slots=True)
class Run:
    """A flow run or a task run.

    The first block is set when the run is created and never changes; two creations of one run
    must agree in it. The second block follows from the run's transitions.
    """

    id: str
    kind: int
    function_name: str
    run_name: str
    parent_run_id: str | None
    root_run_id: str
    flow_run_id: str | None
    tags: tuple[str, ...]
    parameters: Payload | None
    trace: TraceContext | None
    version: str
    created_us: int

    state: State
    attempt: int = 1
    transition_count: int = 1
    cause: int = Cause.REPORTED
    """Who caused the last transition."""
    session_id: str | None = None
    """The session that reports the run; None if nobody does (yet)."""
    started_us: int | None = None
    ended_us: int | None = None
    run_duration_us: int = 0
    position: int = 0
    """The position of its last transition."""


@dataclass(slots=True)
class Transition:
    """A state entered by a run; see flowspan.v1.Transition."""

    run_id: str
    ordinal: int
    attempt: int
    state: State
    cause: int
    commit_us: int
    position: int = 0
    """Set by the store when it is written."""


@dataclass(slots=True)
class LogEntry:
    """A log record of a run, or a piece of a long one; see flowspan.v1.LogRecord."""

    run_id: str
    attempt: int
    level: int
    time_us: int
    logger: str
    message: str
    trace_id: str = ""
    span_id: str = ""
    chunk_index: int = 0
    chunk_count: int = 0
    position: int = 0
    """Set by the store when it is written."""


class SessionStatus(IntEnum):
    """Whether a session may still report."""

    OPEN = 1
    CLOSED = 2
    """It said Goodbye."""
    LOST = 3
    """Its lease ran out. It may come back: then it is OPEN again."""


@dataclass(slots=True)
class Session:
    """A client process that reports runs."""

    id: str
    status: int
    last_sequence: int
    """The last event that is stored: what comes again up to here is skipped."""
    lease_us: int
    """How long it lives after its last frame, in microseconds."""
    lease_expires_us: int
    """By the wall clock: when it ended or, while it is OPEN, about when its lease will. Only to
    forget old sessions; who lives is judged by `renewals` (see app.leases)."""
    created_us: int
    client: dict[str, str] = field(default_factory=dict)
    """Who it is, for people: name, version, language, hostname, process_id."""
    renewals: int = 0
    """A count that changes with each stored sign of life."""
    silence_us: int = 0
    """How long it may be silent from the last one on: its lease, or the grace after its connection
    broke. 0 in rows that an older version wrote: the lease."""

    secret_hash: bytes | None = field(default=None, repr=False)
    """The SHA-256 of the secret that its client chose; None if it has none. Never changes."""

    def renew(self, now_us: int, *, silence_us: int | None = None) -> None:
        """Stores a sign of life: the session is OPEN, and its lease begins anew.

        Args:
            now_us: The wall clock.
            silence_us: How long it may be silent now; its lease if None.
        """
        self.status = SessionStatus.OPEN
        self.renewals += 1
        self.silence_us = self.lease_us if silence_us is None else silence_us
        self.lease_expires_us = now_us + self.silence_us
