"""Housekeeping: sessions that ended long ago are deleted.

Several service processes may do this at the same time, without a claim: what one has deleted, the
others do not find.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import structlog

from flowspan_service.app.sessions import DeleteSessions
from flowspan_service.domain.errors import ServiceError

if TYPE_CHECKING:
    from flowspan_service.app.ports import Clock, Store

log = structlog.get_logger("flowspan.housekeeping")

INTERVAL_S = 3_600.0
KEPT_S = 30 * 86_400.0
"""How long a session is kept after its end: a spool of it may come late, from a machine that was
away, and must not be stored twice."""
LIMIT = 500
"""How many sessions are deleted in one transaction."""


async def keep_house(store: Store, clock: Clock, *, interval_s: float = INTERVAL_S) -> None:
    """Looks at once, and then every interval, until it is cancelled."""
    while True:
        try:
            count = await delete_old_sessions(store, clock)
            if count:
                log.info("sessions that ended long ago were deleted", count=count)
        except ServiceError as error:
            log.warning("old sessions could not be deleted", error=str(error))
        await asyncio.sleep(interval_s)


async def delete_old_sessions(store: Store, clock: Clock) -> int:
    """Deletes sessions that ended long ago; returns how many."""
    count, kept_us = 0, round(KEPT_S * 1e6)
    after_id: str | None = None
    while True:
        find = partial(store.sessions.ended_before, after_id=after_id, limit=LIMIT)
        session_ids = await asyncio.to_thread(find, clock.now_us() - kept_us)
        if session_ids:
            operation = DeleteSessions(session_ids, kept_us=kept_us)
            count += await asyncio.wrap_future(store.submit(operation))
        if len(session_ids) < LIMIT:
            return count
        after_id = session_ids[-1]
