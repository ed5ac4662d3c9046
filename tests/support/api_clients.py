"""The two faces of the API client, sync and async, behind one interface."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from flowspan import get_client

if TYPE_CHECKING:
    from collections.abc import Callable

NOWHERE = "01a202d9-d289-7000-80f1-12b060cb7443"
"""An id that does not exist."""


class Face:
    """Calls each method through a new client; returns lists for iterators."""

    def __init__(self, address: str | None, *, is_sync: bool) -> None:
        self._address = address
        self._is_sync = is_sync

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def ask(*args: Any, **kwargs: Any) -> Any:
            if not self._is_sync:
                return asyncio.run(self._ask(name, args, kwargs))
            with get_client(sync_client=True, address=self._address) as client:
                answer = getattr(client, name)(*args, **kwargs)
                return list(answer) if isinstance(answer, Iterator) else answer

        return ask

    async def _ask(self, name: str, args: Any, kwargs: Any) -> Any:
        async with get_client(address=self._address) as client:
            answer = getattr(client, name)(*args, **kwargs)
            if hasattr(answer, "__aiter__"):
                return [item async for item in answer]
            return await answer


def faces(address: str | None) -> tuple[Face, Face]:
    return Face(address, is_sync=True), Face(address, is_sync=False)
