"""The API client: what the service knows, as plain Python values.

`get_client()` gives a client for asyncio, `get_client(sync_client=True)` one for plain code. They
have the same methods; docs/api-client.md shows them.
"""

from __future__ import annotations

from flowspan.api import (
    Artifact,
    ArtifactFilter,
    Change,
    Failure,
    Flow,
    FlowRun,
    LogLevel,
    LogRecord,
    Payload,
    Run,
    RunFilter,
    RunSnapshot,
    ServiceInfo,
    SnapshotEnd,
    State,
    StateAnswer,
    StateType,
    TaskRun,
    TraceContext,
    Transition,
    TransitionCause,
    Variable,
    Verdict,
    VerdictKind,
)
from flowspan.api.client import FlowspanClient, SyncFlowspanClient, get_client

__all__ = [
    "Artifact",
    "ArtifactFilter",
    "Change",
    "Failure",
    "Flow",
    "FlowRun",
    "FlowspanClient",
    "LogLevel",
    "LogRecord",
    "Payload",
    "Run",
    "RunFilter",
    "RunSnapshot",
    "ServiceInfo",
    "SnapshotEnd",
    "State",
    "StateAnswer",
    "StateType",
    "SyncFlowspanClient",
    "TaskRun",
    "TraceContext",
    "Transition",
    "TransitionCause",
    "Variable",
    "Verdict",
    "VerdictKind",
    "get_client",
]
