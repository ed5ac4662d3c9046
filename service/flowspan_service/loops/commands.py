"""Delivery of commands to connected sessions that no call of this process delivers.

They come from other service processes, and from the work that `loops.unfinished` finishes. The loop
needs no claim: each process serves its own connections. If nothing was committed since the last
check, a check reads a single row.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import structlog

from flowspan_service.domain.errors import ServiceError

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from flowspan_service.app.ports import Connections, Store

log = structlog.get_logger("flowspan.commands")

INTERVAL_S = 1.0


async def send_open_commands(
    store: Store, connections: Connections, readers: Executor, *, interval_s: float = INTERVAL_S
) -> None:
    """Check at every interval, until the task is cancelled."""
    seen = -1
    while True:
        await asyncio.sleep(interval_s)
        if not len(connections):
            continue
        try:
            seen = await bring_new_commands(store, connections, readers, since=seen)
        except ServiceError as error:
            log.warning("cannot check for commands", error=str(error))


async def bring_new_commands(
    store: Store, connections: Connections, readers: Executor, *, since: int
) -> int:
    """Deliver commands that were issued after a commit to the connected sessions.

    Args:
        store: The store.
        connections: The sessions that are connected to this process.
        readers: Threads for reads.
        since: The number of the commit, as the call before returned it; -1 at first.

    Returns:
        The number of the newest commit that the call has seen.

    Raises:
        ServiceError: The store cannot be read.
    """
    loop = asyncio.get_running_loop()
    # First the commit, then the connections: a session that connects in between reads its commands
    # when it connects.
    newest = await loop.run_in_executor(readers, store.generation)
    connected = [connection.session_id for connection in connections]
    if newest == since or not connected:
        return newest
    find = partial(store.commands.sessions_with_open, connected, since=since)
    for session_id in await loop.run_in_executor(readers, find):
        connection = connections.get(session_id)
        if connection is not None:
            await connection.send_open_commands()
    return newest
