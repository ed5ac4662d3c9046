"""Completion of work in several transactions that a service process left when it died."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from flowspan_service.app.cancellations import CancelBelow, ForgetCancellation
from flowspan_service.app.families import MendFamilies
from flowspan_service.app.runs import DeleteRun
from flowspan_service.app.sessions import CrashOpenRuns
from flowspan_service.domain.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from flowspan_service.app.ports import Store

log = structlog.get_logger("flowspan.unfinished")

INTERVAL_S = 10.0
PARENTS_AT_ONCE = 1000


async def finish_unfinished(
    store: Store, *, under_way: Container[str] = (), interval_s: float = INTERVAL_S
) -> None:
    """Check at once, and then at every interval, until the task is cancelled.

    If other service processes may use the same database, a call of one of them may be doing a
    deletion or a cancellation. Then only one without progress since the last check is finished. No
    claim is needed: what one process has finished, the others do not find.

    Args:
        store: The store.
        under_way: The runs whose deletions and cancellations to skip: a call of this process is
            doing and counting them.
        interval_s: The pause between checks.
    """
    seen: dict[str, int] | None = {} if store.is_shared else None
    while True:
        try:
            seen = await finish(store, under_way=under_way, seen=seen)
        except ServiceError as error:
            log.warning("cannot check for unfinished work", error=str(error))
        await asyncio.sleep(interval_s)


async def finish(
    store: Store, *, under_way: Container[str] = (), seen: Mapping[str, int] | None = None
) -> dict[str, int] | None:
    """Finish deletions and cancellations that began, ends of sessions, and moves of families.

    Args:
        store: The store.
        under_way: The runs whose deletions and cancellations to skip.
        seen: The progress of deletions and cancellations at the last check; one that is new or has
            progressed since then is skipped. None finishes all.

    Returns:
        The progress of deletions and cancellations now; None if `seen` is None.
    """
    deletions = await asyncio.to_thread(store.deletions.begun)
    for run_id in _left(deletions, under_way, seen):
        # The deletion was allowed when it began.
        deleted = await asyncio.wrap_future(store.submit(DeleteRun(run_id, force=True)))
        log.info("a deletion was finished", run_id=run_id, count=deleted)
    for session_id in await asyncio.to_thread(store.sessions.ended_with_open_runs):
        crashed = await asyncio.wrap_future(store.submit(CrashOpenRuns(session_id)))
        log.info("the end of a session was finished", session_id=session_id, count=crashed)
    await _mend_families(store)
    cancellations = await asyncio.to_thread(store.cancellations.unfinished)
    for run_id in _left(cancellations, under_way, seen):
        asked = await asyncio.wrap_future(store.submit(CancelBelow(run_id)))
        log.info("a cancellation was finished", run_id=run_id, count=asked.run_count)
    for run_id in await asyncio.to_thread(store.cancellations.walked):
        await asyncio.wrap_future(store.submit(ForgetCancellation(run_id)))
    return None if seen is None else {**cancellations, **deletions}


def _left(
    begun: Mapping[str, int], under_way: Container[str], seen: Mapping[str, int] | None
) -> list[str]:
    """Return the runs that no process is working on."""
    return [
        run_id
        for run_id, pieces in begun.items()
        if run_id not in under_way and (seen is None or seen.get(run_id) == pieces)
    ]


async def _mend_families(store: Store) -> None:
    """Give the runs that waited for parents their places, in case a process died meanwhile."""
    while True:
        parents, has_moves = await asyncio.to_thread(store.families.due, limit=PARENTS_AT_ONCE)
        if not (parents or has_moves):
            return
        await asyncio.wrap_future(store.submit(MendFamilies(parents, None)))
        log.info("families were mended", count=len(parents))
