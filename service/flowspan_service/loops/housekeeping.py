"""Housekeeping, which deletes sessions that ended long ago, and stops waiting for parents.

Several service processes may do this at the same time, without a claim: the others do not find the
sessions that one of them has deleted.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import structlog

from flowspan_service.app.families import ForgetOrphans
from flowspan_service.app.sessions import DeleteSessions
from flowspan_service.domain.errors import ServiceError

if TYPE_CHECKING:
    from flowspan_service.app.ports import Clock, Store

log = structlog.get_logger("flowspan.housekeeping")

INTERVAL_S = 3_600.0
KEPT_S = 30 * 86_400.0
"""Time from a session's end to its deletion. Until then, a spool that arrives late, from a machine
that was offline, is recognized and not stored twice."""
ORPHANS_KEPT_S = 86_400.0
"""Time that a run waits for its parent, which may be in the spool of another machine."""
LIMIT = 500
"""Maximum number of sessions that one transaction deletes."""


async def keep_house(store: Store, clock: Clock, *, interval_s: float = INTERVAL_S) -> None:
    """Delete old sessions now and at every interval, until cancelled."""
    while True:
        try:
            count = await delete_old_sessions(store, clock)
            if count:
                log.info("sessions that ended long ago were deleted", count=count)
            forget = ForgetOrphans(kept_us=round(ORPHANS_KEPT_S * 1e6))
            orphans = await asyncio.wrap_future(store.submit(forget))
            if orphans:
                log.info("the parents of some runs never arrived", count=orphans)
        except ServiceError as error:
            log.warning("old sessions could not be deleted", error=str(error))
        await asyncio.sleep(interval_s)


async def delete_old_sessions(store: Store, clock: Clock) -> int:
    """Delete the sessions that ended long ago; return their number."""
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
