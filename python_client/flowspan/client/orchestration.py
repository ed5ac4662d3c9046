"""The clients, under the module name that Prefect uses."""

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
