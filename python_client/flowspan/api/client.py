"""The API clients: the table of operations combined with a driver."""

from __future__ import annotations

from typing import Literal, overload

from flowspan.api.asynchronous import AsyncDriver
from flowspan.api.blocking import BlockingDriver
from flowspan.api.operations import Operations

__all__ = ["FlowspanClient", "SyncFlowspanClient", "get_client"]


class FlowspanClient(Operations, AsyncDriver):
    """API client for asyncio: its methods are coroutines and asynchronous iterators.

    Use it within one event loop, preferably with `async with`. The methods are documented in
    `flowspan.api.operations`. They raise ApiError if the service refuses a call, and
    ServiceUnavailableError if it is unreachable.
    """


class SyncFlowspanClient(Operations, BlockingDriver):
    """API client for plain code: its methods block or return iterators.

    Use it with `with`. It is thread-safe. The methods are those of FlowspanClient.
    """


@overload
def get_client(
    *,
    sync_client: Literal[False] | None = None,
    address: str | None = None,
    timeout_s: float | None = 30.0,
) -> FlowspanClient: ...
@overload
def get_client(
    *, sync_client: Literal[True], address: str | None = None, timeout_s: float | None = 30.0
) -> SyncFlowspanClient: ...
def get_client(
    *,
    sync_client: bool | None = None,
    address: str | None = None,
    timeout_s: float | None = 30.0,
) -> FlowspanClient | SyncFlowspanClient:
    """Return a client of the service. It connects when its `with` block begins.

    For example::

        async with get_client() as client: ...
        with get_client(sync_client=True) as client: ...

    Args:
        sync_client: True for a blocking client; otherwise the client is for asyncio.
        address: ``host:port`` or ``unix:/path``. If None, FLOWSPAN_ADDRESS, or the local service
            if that is not set. The local service is started if it is not running.
        timeout_s: Timeout of a call with one answer, in seconds; None for no limit.
    """
    if sync_client:
        return SyncFlowspanClient(address, timeout_s=timeout_s)
    return FlowspanClient(address, timeout_s=timeout_s)
