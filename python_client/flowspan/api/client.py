"""The clients: the table of operations, with a driver that carries them out."""

from __future__ import annotations

from typing import Literal, overload

from flowspan.api.asynchronous import AsyncDriver
from flowspan.api.blocking import BlockingDriver
from flowspan.api.operations import Operations

__all__ = ["FlowspanClient", "SyncFlowspanClient", "get_client"]


class FlowspanClient(Operations, AsyncDriver):
    """The service, for asyncio: coroutines and asynchronous iterators.

    To be used within one event loop, best by `async with`. The methods are documented in
    `flowspan.api.operations`. They raise ApiError where the service refuses a call and
    ServiceUnavailableError where it is not reached.
    """


class SyncFlowspanClient(Operations, BlockingDriver):
    """The service, for plain code: methods that block, and iterators.

    To be used by `with`; may be shared between threads. The methods are those of FlowspanClient.
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
    """A client of the service, which connects when its `with` block begins.

    For example::

        async with get_client() as client: ...
        with get_client(sync_client=True) as client: ...

    Args:
        sync_client: Whether the client is one for plain code; else it is one for asyncio.
        address: ``host:port`` or ``unix:/path``. None stands for FLOWSPAN_ADDRESS, and where that
            is not set, for the local service, which is started if it does not run.
        timeout_s: How long a call with one answer may take; None without a limit.
    """
    if sync_client:
        return SyncFlowspanClient(address, timeout_s=timeout_s)
    return FlowspanClient(address, timeout_s=timeout_s)
