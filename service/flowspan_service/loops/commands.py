"""Delivery of commands to connected sessions that no call of this process delivers.

They come from other service processes, and from the work that `loops.unfinished` finishes. The loop
needs no claim: each process serves its own connections and watches. If nothing was committed since
the last check, a check reads a single row.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import structlog

from flowspan_service.domain.errors import ServiceError

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from flowspan_service.app.ports import Connections, Store, Watches

log = structlog.get_logger("flowspan.commands")

INTERVAL_S = 1.0


async def send_open_commands(
    store: Store,
    connections: Connections,
    watches: Watches,
    readers: Executor,
    *,
    interval_s: float = INTERVAL_S,
) -> None:
    """Check at every interval, until the task is cancelled."""
    seen = -1
    while True:
        await asyncio.sleep(interval_s)
        if not len(connections) and not watches.sessions():
            continue
        try:
            seen = await bring_new_commands(store, connections, watches, readers, since=seen)
        except ServiceError as error:
            log.warning("cannot check for commands", error=str(error))


async def bring_new_commands(
    store: Store, connections: Connections, watches: Watches, readers: Executor, *, since: int
) -> int:
    """Deliver commands that were issued after a commit to the sessions that this process serves.

    Args:
        store: The store.
        connections: The sessions that are connected to this process.
        watches: The watches of commands; they also end here if their session has ended.
        readers: Threads for reads.
        since: The number of the commit, as the call before returned it; -1 at first.

    Returns:
        The number of the newest commit that the call has seen.

    Raises:
        ServiceError: The store cannot be read.
    """
    loop = asyncio.get_running_loop()
    # First the commit, then the sessions: one that comes in between reads its commands itself.
    newest = await loop.run_in_executor(readers, store.generation)
    watched = watches.sessions()
    served = list(dict.fromkeys([*(each.session_id for each in connections), *watched]))
    if newest == since or not served:
        return newest
    find = partial(store.commands.sessions_with_open, served, since=since)
    told = await loop.run_in_executor(readers, find)
    watches.wake(told)
    if watched:
        watches.wake(await loop.run_in_executor(readers, store.sessions.ended, watched))
    for session_id in told:
        connection = connections.get(session_id)
        if connection is not None:
            await connection.send_open_commands()
    return newest
