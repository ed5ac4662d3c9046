"""Leases: the detection of silent sessions. Pure; docs/decisions/leases.md gives the reasons.

The row of a session holds a count that changes with each stored sign of life, and the allowed
silence. A process that reads the rows repeatedly remembers each count and measures how long it has
not changed, on its own monotonic clock. It compares no two clocks and reads no wall clock: neither
a step of a clock nor a difference between two machines matters.

Time in which the process could not have received frames does not count against the session. Checks
are made at regular intervals; a late one shows that this process, its event loop, the writer or the
database stalled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MAX_INTERVAL_US = 1_000_000
MIN_INTERVAL_US = 200_000
LONG_STALL_US = 2_000_000
"""A stall of at least this, and at least half the allowed silence, restarts a lease."""
MAX_STALLS = 8
"""The maximum number of stalls excused in one silence: a service that is always late must still
detect dead sessions."""


class StoredSign(NamedTuple):
    """The lease columns of the row of an open session.

    Attributes:
        session_id: The session.
        renewals: The count of its stored signs of life.
        lease_us: The lease.
        silence_us: The silence allowed from this sign on: the lease, or the grace.
        expires_us: A value that a service process of an older version over the same database
            changes with each sign of life. It is compared only with itself.
    """

    session_id: str
    renewals: int
    lease_us: int
    silence_us: int
    expires_us: int = 0


class Watched(NamedTuple):
    """The knowledge of this process about a session.

    Attributes:
        sign: The stored values (`renewals`, `expires_us`), and the count of the frames that came to
            this process.
        silent_us: The time since `sign` last changed.
        limit_us: The silence allowed.
        stalls: The number of stalls of this process during the silence.
    """

    sign: tuple[int, int, int]
    silent_us: int
    limit_us: int
    stalls: int = 0


class Look(NamedTuple):
    """The result of a check of all open sessions.

    Attributes:
        at_us: The time of the check, on the monotonic clock of this process.
        watched: The knowledge after the check, by session.
        silent: The sessions that are silent for too long, the most silent ones first.
        shortest_us: The shortest of the limits.
    """

    at_us: int
    watched: dict[str, Watched]
    silent: list[str]
    shortest_us: int


class LeaseWatch:
    """The memory of one process about all open sessions.

    Args:
        lease_us: The default lease. Sessions first seen at the start of the process, or after a
            stall, get the longer of this and their own lease.
    """

    def __init__(self, *, lease_us: int) -> None:
        self._lease_us = lease_us
        self._last: Look | None = None

    @property
    def interval_us(self) -> int:
        """The time until the next check: shorter if a limit is short."""
        shortest = MAX_INTERVAL_US * 4
        if self._last is not None:
            shortest = min(shortest, self._last.shortest_us)
        return max(MIN_INTERVAL_US, shortest // 4)

    def judge(
        self, stored: Iterable[StoredSign], frames: Callable[[str], int], *, at_us: int
    ) -> Look:
        """Check the current rows. The caller passes the result to `remember`.

        Args:
            stored: The rows of all open sessions.
            frames: Returns a number that changes with each frame of a session that is connected to
                this process; 0 for one that is not.
            at_us: The monotonic clock, read before the rows.
        """
        last = self._last
        elapsed_us = 0 if last is None else at_us - last.at_us
        # Checks come at least four times in the shortest limit.
        in_time = elapsed_us <= self.interval_us * 3 // 2
        watched: dict[str, Watched] = {}
        silent: list[str] = []
        shortest_us = 4 * MAX_INTERVAL_US
        for row in stored:
            session_id = row[0]
            sign = (row[1], row[4], frames(session_id))
            before = None if last is None else last.watched.get(session_id)
            if before is None or before[0] != sign:
                now = Watched(sign, 0, row.silence_us or row.lease_us)
                if last is None:
                    now = self._begun_anew(now, row)
            elif in_time or before.stalls >= MAX_STALLS:
                now = Watched(sign, before[1] + elapsed_us, before[2], before[3])
            else:
                now = self._stalled(before, elapsed_us, row)
            if now[1] >= now[2]:
                silent.append(session_id)
            if now[2] < shortest_us:
                shortest_us = now[2]
            watched[session_id] = now
        silent.sort(key=lambda each: watched[each].limit_us - watched[each].silent_us)
        return Look(at_us, watched, silent, shortest_us)

    def remember(self, look: Look) -> None:
        """Store a check as the last one, once its transaction was committed."""
        self._last = look

    def _begun_anew(self, watched: Watched, row: StoredSign) -> Watched:
        limit_us = max(watched.limit_us, row.lease_us, self._lease_us)
        return watched._replace(limit_us=limit_us)

    def _stalled(self, before: Watched, elapsed_us: int, row: StoredSign) -> Watched:
        """Return the knowledge about a session without a sign of life until a late check."""
        sign, silent_us, limit_us, stalls = before
        counted_us = limit_us // 3
        if elapsed_us <= counted_us and silent_us + elapsed_us < limit_us:
            return Watched(sign, silent_us + elapsed_us, limit_us, stalls)
        if elapsed_us >= max(limit_us // 2, LONG_STALL_US):
            return self._begun_anew(Watched(sign, 0, limit_us, stalls + 1), row)
        # A late check ends no session: a sign of life may have come since, and wait. If the check
        # is too late to count in full, a part of the limit stays for signs that could not be heard.
        left_us = 1 if elapsed_us <= counted_us else 1 + limit_us // 4
        silent_us = min(silent_us + counted_us, limit_us - left_us)
        return Watched(sign, silent_us, limit_us, stalls + 1)
