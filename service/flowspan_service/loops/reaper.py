"""The reaper, which ends silent sessions and crashes their open runs.

Each service process on a database judges all sessions, by its own observations on its own monotonic
clock. It needs no claim: a new holder of a claim would have observed no silence yet, and would find
dead sessions one lease later. Stored signs of life keep a session alive that is connected to
another process. A session that one process has reaped is closed, so the others do not find it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from flowspan_service.app.sessions import CrashOpenRuns, Reap
from flowspan_service.domain.errors import ServiceError
from flowspan_service.domain.leases import LeaseWatch

if TYPE_CHECKING:
    from flowspan_service.app.ports import Clock, Connections, Store
    from flowspan_service.app.sessions import LeaseTerms

log = structlog.get_logger("flowspan.reaper")

LIMIT = 100
"""Maximum number of sessions that one transaction reaps."""


class Reaper:
    """The loop that finds sessions whose leases have expired.

    Args:
        store: The store.
        clock: The clock; its monotonic time measures the silence.
        connections: The sessions that are connected to this process.
        terms: The durations of leases and grace periods.
    """

    def __init__(
        self, store: Store, clock: Clock, connections: Connections, terms: LeaseTerms
    ) -> None:
        self._store = store
        self._clock = clock
        self._connections = connections
        self._watch = LeaseWatch(lease_us=terms.lease_us)

    async def run(self, *, interval_s: float | None = None) -> None:
        """Reap at every interval, by default as often as the leases need, until cancelled."""
        while True:
            await asyncio.sleep(self._watch.interval_us / 1e6 if interval_s is None else interval_s)
            try:
                await self.reap()
            except ServiceError as error:
                log.warning("cannot check the leases", error=str(error))

    async def reap(self) -> list[str]:
        """Reap once; return the ids of the lost sessions."""
        lost: list[str] = []
        while True:
            operation = Reap(
                self._watch,
                limit=LIMIT,
                frames=self._connections.sign_of,
                monotonic_us=self._clock.monotonic_us,
            )
            reaped = await asyncio.wrap_future(self._store.submit(operation))
            self._watch.remember(reaped.look)
            lost += reaped.sessions
            for session_id in reaped.sessions:
                log.info("session lost", session_id=session_id)
            crashed = reaped.crashed_run_count
            for session_id in reaped.unfinished:
                rest = self._store.submit(CrashOpenRuns(session_id))
                crashed += await asyncio.wrap_future(rest)
            if crashed:
                log.info("runs crashed", count=crashed)
            if not reaped.has_more:
                return lost
