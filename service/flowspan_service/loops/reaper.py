"""The reaper: sessions that fell silent are lost, and the runs that they left open have crashed.

Each service process over a database judges all sessions, by what it has seen itself on its own
monotonic clock, and without a claim: a new holder would know of no silence, and would find the dead
a lease later. The stored signs of life keep a session alive that is connected to another process. A
session that one process has reaped is not open any more, so that the others do not find it.
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
"""How many sessions are reaped in one transaction."""


class Reaper:
    """Looks for sessions that are silent for longer than their leases.

    Args:
        store: The store.
        clock: Its monotonic clock measures the silence.
        live: The sessions that are connected to this process.
        terms: How long sessions live.
    """

    def __init__(self, store: Store, clock: Clock, live: Connections, terms: LeaseTerms) -> None:
        self._store = store
        self._clock = clock
        self._live = live
        self._watch = LeaseWatch(lease_us=terms.lease_us)

    async def run(self, *, interval_s: float | None = None) -> None:
        """Looks until it is cancelled, every interval or as often as the leases need."""
        while True:
            await asyncio.sleep(self._watch.interval_us / 1e6 if interval_s is None else interval_s)
            try:
                await self.reap()
            except ServiceError as error:
                log.warning("leases could not be looked at", error=str(error))

    async def reap(self) -> list[str]:
        """Looks once; returns the sessions that are lost."""
        lost: list[str] = []
        while True:
            operation = Reap(
                self._watch,
                limit=LIMIT,
                frames=self._live.sign_of,
                steady_us=self._clock.steady_us,
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
