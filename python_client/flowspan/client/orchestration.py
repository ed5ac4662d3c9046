"""The clients by the name of the module in which Prefect has them."""

from __future__ import annotations

from flowspan.api.client import FlowspanClient, SyncFlowspanClient, get_client

__all__ = [
    "FlowspanClient",
    "PrefectClient",
    "SyncFlowspanClient",
    "SyncPrefectClient",
    "get_client",
]

PrefectClient = FlowspanClient
SyncPrefectClient = SyncFlowspanClient
