"""Judge who is silent, by durations that this process measured. Pure; see docs/decisions/leases.md.

A session's row holds a count that changes with each stored sign of life, and for how long the
session may be silent. A process that looks at the rows again and again remembers each count and
adds up for how long it has not changed, on its own monotonic clock. No two clocks are compared, and
no wall clock is read: neither a step of one nor a difference between two machines can matter.

Time in which the process could not have heard a session does not count against it. Looks come
regularly; one that comes late shows that this process, its event loop, the writer or the database
stood still.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MAX_INTERVAL_US = 1_000_000
MIN_INTERVAL_US = 200_000
LONG_STALL_US = 2_000_000
"""A stall this long, and as long as half of what a session is granted, begins its lease anew."""
MAX_STALLS = 8
"""Stalls that are taken into account in one silence: a service that is always late must still find
its dead."""


class StoredSign(NamedTuple):
    """The row of an open session, as far as its lease is concerned.

    Attributes:
        session_id: Which session.
        renewals: The count of its stored signs of life.
        lease_us: Its lease.
        silence_us: How long it may be silent from this sign on: its lease, or the grace.
        expires_us: What a service process of an older version changes with each sign of life, while
            it runs over the same database. It is compared with itself alone.
    """

    session_id: str
    renewals: int
    lease_us: int
    silence_us: int
    expires_us: int = 0


class Watched(NamedTuple):
    """What this process knows of a session.

    Attributes:
        sign: What was stored (`renewals`, `expires_us`), and the count of the frames that came to
            this process.
        silent_us: For how long none of it has changed.
        limit_us: How long that may be.
        stalls: How often this process stood still meanwhile.
    """

    sign: tuple[int, int, int]
    silent_us: int
    limit_us: int
    stalls: int = 0


class Look(NamedTuple):
    """What a look at all open sessions has found.

    Attributes:
        at_us: When, on the monotonic clock of this process.
        watched: What is known after it, by session.
        silent: The sessions that have been silent for too long, the most silent ones first.
        shortest_us: The least of the limits.
    """

    at_us: int
    watched: dict[str, Watched]
    silent: list[str]
    shortest_us: int


class LeaseWatch:
    """The memory of one process.

    Args:
        lease_us: The default lease. Sessions that are seen for the first time when the process
            starts, or after it stood still, get this or their own lease, whichever is longer.
    """

    def __init__(self, *, lease_us: int) -> None:
        self._lease_us = lease_us
        self._last: Look | None = None

    @property
    def interval_us(self) -> int:
        """How long to wait before the next look: less than usual if some limit is short."""
        shortest = MAX_INTERVAL_US * 4
        if self._last is not None:
            shortest = min(shortest, self._last.shortest_us)
        return max(MIN_INTERVAL_US, shortest // 4)

    def judge(
        self, stored: Iterable[StoredSign], frames: Callable[[str], int], *, at_us: int
    ) -> Look:
        """Judge by the rows as they are now. Remembers nothing: see `remember`.

        Args:
            stored: The rows of all open sessions.
            frames: Returns a number that changes with each frame of a session that is connected to
                this process; 0 for one that is not.
            at_us: The monotonic clock, read before the rows were.
        """
        last = self._last
        elapsed_us = 0 if last is None else at_us - last.at_us
        # Looks come four times as often as the shortest limit, or more often.
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
        """Takes a look as the last one. Call it after the transaction of the look was committed."""
        self._last = look

    def _begun_anew(self, watched: Watched, row: StoredSign) -> Watched:
        limit_us = max(watched.limit_us, row.lease_us, self._lease_us)
        return watched._replace(limit_us=limit_us)

    def _stalled(self, before: Watched, elapsed_us: int, row: StoredSign) -> Watched:
        """Return what is known of a session that gave no sign until a look that came late."""
        sign, silent_us, limit_us, stalls = before
        counted_us = limit_us // 3
        if elapsed_us <= counted_us and silent_us + elapsed_us < limit_us:
            return Watched(sign, silent_us + elapsed_us, limit_us, stalls)
        if elapsed_us >= max(limit_us // 2, LONG_STALL_US):
            return self._begun_anew(Watched(sign, 0, limit_us, stalls + 1), row)
        # A late look takes no life: a sign may have come since, and wait. If it is so late that it
        # does not count in full, a part of the limit is left for what could not be heard.
        left_us = 1 if elapsed_us <= counted_us else 1 + limit_us // 4
        silent_us = min(silent_us + counted_us, limit_us - left_us)
        return Watched(sign, silent_us, limit_us, stalls + 1)
