"""Finishes what takes several transactions and was left by a service that died in the middle."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from flowspan_service.app.runs import DeleteRun
from flowspan_service.app.sessions import CrashOpenRuns
from flowspan_service.domain.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Container

    from flowspan_service.app.ports import Store

log = structlog.get_logger("flowspan.unfinished")

INTERVAL_S = 10.0


async def finish_unfinished(
    store: Store, *, under_way: Container[str] = (), interval_s: float = INTERVAL_S
) -> None:
    """Look at once, and then every interval, until it is cancelled.

    What is under way in another process over the same database is only helped.

    Args:
        store: The store.
        under_way: The deletions to leave alone: a call of this process does them and counts.
        interval_s: From the end of one look to the next.
    """
    while True:
        try:
            await finish(store, under_way=under_way)
        except ServiceError as error:
            log.warning("unfinished work could not be looked for", error=str(error))
        await asyncio.sleep(interval_s)


async def finish(store: Store, *, under_way: Container[str] = ()) -> None:
    """Finish the deletions that were begun, and crash what sessions that ended have left open."""
    for run_id in await asyncio.to_thread(store.deletions.begun):
        if run_id in under_way:
            continue
        # What was begun was allowed.
        deleted = await asyncio.wrap_future(store.submit(DeleteRun(run_id, force=True)))
        log.info("a deletion was finished", run_id=run_id, count=deleted)
    for session_id in await asyncio.to_thread(store.sessions.ended_with_open_runs):
        crashed = await asyncio.wrap_future(store.submit(CrashOpenRuns(session_id)))
        log.info("the end of a session was finished", session_id=session_id, count=crashed)
