"""Looks whether the database that the service opened is still there."""

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
    """Look every interval, until it is cancelled.

    Args:
        store: The store.
        tell: Is called when it changes, with the problem; with an empty text when it is over.
        interval_s: The time between two looks.
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
