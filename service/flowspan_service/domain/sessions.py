"""Sessions: the client processes that report runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class SessionStatus(IntEnum):
    """The liveness of a session."""

    OPEN = 1
    CLOSED = 2
    """The session said Goodbye."""
    LOST = 3
    """The lease ran out. A session that comes back is OPEN again."""


PROCESS_MARK = "process_mark"
"""The key in Session.client of the mark of its process (see `domain.session_ends`)."""
BROKEN_OFF = "broken_off"
"""The key in Session.client that is set if the other side ended the last connection."""
LOGS_BY_SERVICE = "logs_by_service"
"""The key in Session.client that is set if the service exports the logs of the session's runs."""


@dataclass(slots=True)
class Session:
    """A client process that reports runs."""

    id: str
    status: int
    last_sequence: int
    """The last event that is stored. Resent events up to this one are skipped."""
    lease_us: int
    """The lease in microseconds: the time that the session lives after its last frame."""
    lease_expires_us: int
    """The end of the session by the wall clock or, while it is OPEN, the approximate end of its
    lease. Used only to forget old sessions; `renewals` decides about liveness (see
    domain.leases)."""
    created_us: int
    client: dict[str, str] = field(default_factory=dict)
    """The client, for people: name, version, language, hostname, process_id; and what the service
    notes about it, under the keys above."""
    renewals: int = 0
    """A count that changes with each stored sign of life."""
    silence_us: int = 0
    """The silence allowed since the last sign of life: the lease, or the grace after the connection
    broke. 0 in rows written by an older version: the lease. Of a LOST session, its silence until
    it was declared lost."""

    secret_hash: bytes | None = field(default=None, repr=False)
    """The SHA-256 of the secret that the client chose; None without one. Never changes."""
    has_fences: bool = False
    """True if there are runs about which nothing that the session says is accepted."""
    clock_offset_us: int | None = None
    """The service's clock minus the client's, when the last Hello arrived; None if the client did
    not send its time. `domain.clocks.effective_offset` makes it ready for use."""
    spans_by_service: bool = False
    """True if the service exports the spans of all runs of the session."""

    @property
    def last_sign_us(self) -> int:
        """The last stored sign of life, by the wall clock. The allowed silence began then."""
        if self.status == SessionStatus.CLOSED:
            return self.lease_expires_us
        if self.status == SessionStatus.OPEN and not self.silence_us:
            return self.lease_expires_us - self.lease_us
        return self.lease_expires_us - self.silence_us

    def be_lost(self, now_us: int) -> None:
        """Note that the session is LOST, and keep the time of its last sign of life.

        Args:
            now_us: The wall clock.
        """
        silent_us = max(0, now_us - self.last_sign_us)
        self.status = SessionStatus.LOST
        self.lease_expires_us, self.silence_us = now_us, silent_us

    def renew(self, now_us: int, *, silence_us: int | None = None) -> None:
        """Note a sign of life: the session is OPEN, and its lease starts again.

        Args:
            now_us: The wall clock.
            silence_us: The silence allowed from now on; the lease if None.
        """
        self.status = SessionStatus.OPEN
        self.renewals += 1
        self.silence_us = self.lease_us if silence_us is None else silence_us
        self.lease_expires_us = now_us + self.silence_us


class SessionEnd(NamedTuple):
    """The stored facts about the end of a session.

    Attributes:
        status: Its status.
        ended_us: The time at which it was declared lost, by the wall clock; of an OPEN session, the
            end of its lease.
        is_broken_off: True if its last connection was ended by the other side: a process that is
            stopped, or cut off, ends none.
        hostname: The host of its process; empty if unknown.
        process_id: The id of its process; 0 if unknown.
        process_mark: Distinguishes its process from others with that id, on the host of the service
            that saw it; empty if no service could see it.
    """

    status: int
    ended_us: int
    is_broken_off: bool = False
    hostname: str = ""
    process_id: int = 0
    process_mark: str = ""

    @property
    def is_open(self) -> bool:
        """True if the session is OPEN: it came back."""
        return self.status == SessionStatus.OPEN


def end_of(status: int, ended_us: int, client: Mapping[str, str]) -> SessionEnd:
    """Return the facts in the columns of a session.

    Args:
        status: Its status.
        ended_us: The end of its lease.
        client: The facts about its client (`Session.client`).
    """
    process_id = client.get("process_id", "")
    return SessionEnd(
        status,
        ended_us,
        is_broken_off=BROKEN_OFF in client,
        hostname=client.get("hostname", ""),
        process_id=int(process_id) if process_id.isdecimal() else 0,
        process_mark=client.get(PROCESS_MARK, ""),
    )


class OtlpTarget(NamedTuple):
    """The receivers of the OpenTelemetry data of a process, without credentials."""

    protocol: str
    """OTLP_GRPC or OTLP_HTTP."""
    traces_url: str = ""
    """The receiver of spans; empty for none. For gRPC the scheme and the authority, for HTTP the
    whole URL."""
    logs_url: str = ""
    """The receiver of logs, in the same form; empty for none."""


OTLP_GRPC = "grpc"
OTLP_HTTP = "http/protobuf"
OTLP_PROTOCOLS = (OTLP_GRPC, OTLP_HTTP)


class SpanSource(NamedTuple):
    """The facts about a session that the export of its spans needs."""

    client_name: str
    """The name of the client; empty if unknown."""
    resource: Mapping[str, str]
    """The OpenTelemetry resource of the client; empty if unknown."""
    target: OtlpTarget | None = None
    """The receivers that the client itself uses; None if it named none."""
    end: SessionEnd | None = None
    """The facts about the end of the session."""
