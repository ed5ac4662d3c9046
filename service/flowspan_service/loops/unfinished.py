"""Finishes what takes several transactions and was left by a service that died in the middle."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from flowspan_service.app.runs import DeleteRun
from flowspan_service.app.sessions import CrashOpenRuns
from flowspan_service.domain.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from flowspan_service.app.ports import Store

log = structlog.get_logger("flowspan.unfinished")

INTERVAL_S = 10.0


async def finish_unfinished(
    store: Store,
    *,
    under_way: Container[str] = (),
    is_shared: bool = False,
    interval_s: float = INTERVAL_S,
) -> None:
    """Look at once, and then every interval, until the task is cancelled.

    Args:
        store: The store.
        under_way: The deletions to leave alone: a call of this process does them and counts.
        is_shared: True if other service processes may use the same database. A deletion is then
            finished only if it has stood still from one look to the next, as a call of another
            process may be at it. No claim is needed: what two processes finish is finished once.
        interval_s: From the end of one look to the next.
    """
    seen: dict[str, int] | None = {} if is_shared else None
    while True:
        try:
            seen = await finish(store, under_way=under_way, seen=seen)
        except ServiceError as error:
            log.warning("unfinished work could not be looked for", error=str(error))
        await asyncio.sleep(interval_s)


async def finish(
    store: Store, *, under_way: Container[str] = (), seen: Mapping[str, int] | None = None
) -> dict[str, int] | None:
    """Finish the deletions that were begun, and crash what sessions that ended have left open.

    Args:
        store: The store.
        under_way: The deletions to leave alone.
        seen: The progress of deletions at the last look; one that has moved since then is left
            alone. None finishes all.

    Returns:
        The progress of deletions now; None if `seen` was.
    """
    begun = await asyncio.to_thread(store.deletions.begun)
    for run_id, pieces in begun.items():
        if run_id in under_way or (seen is not None and seen.get(run_id) != pieces):
            continue
        # What was begun was allowed.
        deleted = await asyncio.wrap_future(store.submit(DeleteRun(run_id, force=True)))
        log.info("a deletion was finished", run_id=run_id, count=deleted)
    for session_id in await asyncio.to_thread(store.sessions.ended_with_open_runs):
        crashed = await asyncio.wrap_future(store.submit(CrashOpenRuns(session_id)))
        log.info("the end of a session was finished", session_id=session_id, count=crashed)
    return None if seen is None else begun
