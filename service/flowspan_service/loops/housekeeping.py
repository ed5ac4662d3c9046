"""Housekeeping: sessions that ended long ago are deleted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from flowspan_service.app.sessions import DeleteSessions
from flowspan_service.domain.errors import ServiceError

if TYPE_CHECKING:
    from flowspan_service.app.ports import Store

log = structlog.get_logger("flowspan.housekeeping")

INTERVAL_S = 3_600.0
KEPT_S = 30 * 86_400.0
"""How long a session is kept after its end: a spool of it may come late, from a machine that was
away, and must not be stored twice."""
LIMIT = 500
"""How many sessions are deleted in one transaction."""


async def keep_house(store: Store, *, interval_s: float = INTERVAL_S) -> None:
    """Looks at once, and then every interval, until it is cancelled."""
    while True:
        try:
            count = await delete_old_sessions(store)
            if count:
                log.info("sessions that ended long ago were deleted", count=count)
        except ServiceError as error:
            log.warning("old sessions could not be deleted", error=str(error))
        await asyncio.sleep(interval_s)


async def delete_old_sessions(store: Store) -> int:
    """Deletes sessions that ended long ago; returns how many."""
    count = 0
    while True:
        operation = DeleteSessions(kept_us=round(KEPT_S * 1e6), limit=LIMIT)
        deleted = await asyncio.wrap_future(store.submit(operation))
        count += deleted
        if deleted < LIMIT:
            return count
