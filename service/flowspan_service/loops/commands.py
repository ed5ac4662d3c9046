"""Brings commands of other service processes to the sessions that are connected to this one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from flowspan_service.domain.errors import ServiceError

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from flowspan_service.app.ports import Connections, Store

log = structlog.get_logger("flowspan.commands")

INTERVAL_S = 1.0


async def bring_commands(
    store: Store, live: Connections, readers: Executor, *, interval_s: float = INTERVAL_S
) -> None:
    """Looks every interval, until it is cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(interval_s)
        connected = [connection.session_id for connection in live]
        if not connected:
            continue
        try:
            for session_id in await loop.run_in_executor(
                readers, store.commands.sessions_with_open, connected
            ):
                connection = live.get(session_id)
                if connection is not None:
                    await connection.bring_commands()
        except ServiceError as error:
            log.warning("commands could not be looked for", error=str(error))
