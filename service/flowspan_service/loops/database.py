"""Detection of a database that disappears or is replaced while the service runs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from flowspan_service.app.ports import Store

log = structlog.get_logger("flowspan.database")

INTERVAL_S = 1.0


async def watch_database(
    store: Store,
    tell: Callable[[str], Awaitable[None]],
    *,
    interval_s: float = INTERVAL_S,
) -> None:
    """Check the database at every interval, until cancelled.

    Args:
        store: The store.
        tell: Called when the problem changes, with the problem; empty when it is solved.
        interval_s: The time between two checks.
    """
    last = ""
    while True:
        await asyncio.sleep(interval_s)
        try:
            problem = await asyncio.to_thread(store.problem) or ""
        except Exception:
            log.exception("cannot check the database")
            continue
        if problem and problem != last:
            log.error("the database cannot be used", reason=problem)
        elif last and not problem:
            log.info("the database can be used again")
        if problem != last:
            await tell(problem)
        last = problem
