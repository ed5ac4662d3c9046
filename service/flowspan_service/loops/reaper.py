"""The reaper: sessions that fell silent are lost, and the runs that they left open have crashed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from flowspan_service.app.sessions import ExtendLeases, Reap
from flowspan_service.domain.errors import ServiceError

if TYPE_CHECKING:
    from flowspan_service.app.live import LiveSessions
    from flowspan_service.app.ports import Clock, Store
    from flowspan_service.app.sessions import LeaseTerms

log = structlog.get_logger("flowspan.reaper")

INTERVAL_S = 1.0
LIMIT = 100
"""How many sessions are reaped in one transaction."""
PAUSE_S = 5.0
"""When a round comes so much later than it should, it was the service that was silent: the machine
slept, or the process was stopped. Then all sessions get a full lease."""


class Reaper:
    """Looks for expired leases.

    Args:
        store: The store.
        clock: The wall clock.
        live: The sessions that are connected to this process.
        terms: How long sessions live.
    """

    def __init__(self, store: Store, clock: Clock, live: LiveSessions, terms: LeaseTerms) -> None:
        self._store = store
        self._clock = clock
        self._live = live
        self._terms = terms

    async def run(self, *, interval_s: float = INTERVAL_S) -> None:
        """Looks every interval, until it is cancelled."""
        loop = asyncio.get_running_loop()
        wall_us, steady_s = self._clock.now_us(), loop.time()
        while True:
            await asyncio.sleep(interval_s)
            now_us, now_s = self._clock.now_us(), loop.time()
            paused_s = max((now_us - wall_us) / 1e6, now_s - steady_s) - interval_s
            wall_us, steady_s = now_us, now_s
            try:
                if paused_s > PAUSE_S:
                    log.warning("the service was paused; leases are extended", paused_s=paused_s)
                    await self.extend()
                else:
                    await self.reap()
            except ServiceError as error:
                log.warning("leases could not be looked at", error=str(error))

    async def reap(self) -> list[str]:
        """Looks once; returns the sessions that are lost."""
        lost: list[str] = []
        while True:
            operation = Reap(limit=LIMIT, alive_until_us=self._live.leases())
            reaped = await asyncio.wrap_future(self._store.submit(operation))
            lost += reaped.sessions
            for session_id in reaped.sessions:
                log.info("session lost", session_id=session_id)
            if reaped.crashed_run_count:
                log.info("runs crashed", count=reaped.crashed_run_count)
            if not reaped.has_more:
                return lost

    async def extend(self) -> None:
        """Gives all open sessions a full lease."""
        operation = ExtendLeases(lease_us=self._terms.lease_us)
        await asyncio.wrap_future(self._store.submit(operation))
