"""Access tokens: the times of their last use, and the changes of other service processes."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import structlog

from flowspan_service.app.tokens import NoteTokenUses
from flowspan_service.domain.errors import ServiceError

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from flowspan_service.app.known_tokens import KnownTokens
    from flowspan_service.app.ports import Store

log = structlog.get_logger("flowspan.tokens")

INTERVAL_S = 1.0
"""The longest time in which a revocation reaches the other service processes."""


async def keep_tokens(
    tokens: KnownTokens, store: Store, readers: Executor, *, interval_s: float = INTERVAL_S
) -> None:
    """Store uses of tokens, and on a shared database follow its changes, until cancelled."""
    has_failed = False
    while True:
        await asyncio.sleep(interval_s)
        try:
            await note_uses(tokens, store)
            if store.is_shared:
                loop = asyncio.get_running_loop()
                tokens.replace(await loop.run_in_executor(readers, store.tokens.list))
            has_failed = False
        except ServiceError as error:
            if not has_failed:
                log.warning("the access tokens could not be read or written", error=str(error))
            has_failed = True


async def note_uses(tokens: KnownTokens, store: Store) -> None:
    """Store the times of use that were noted since the last call.

    Raises:
        ServiceError: They could not be stored; the next call tries again.
    """
    uses = tokens.take_uses()
    if not uses:
        return
    try:
        await asyncio.wrap_future(store.submit(NoteTokenUses(uses)))
    except ServiceError:
        tokens.give_back_uses(uses)
        raise


async def note_last_uses(tokens: KnownTokens, store: Store) -> None:
    """Store the times of use when the service stops; they are no reason to fail."""
    with contextlib.suppress(ServiceError):
        await note_uses(tokens, store)
