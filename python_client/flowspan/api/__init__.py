"""The API client: what the service knows, as plain Python values.

Each thing that can be asked is one function in `flowspan.api.operations`, which says what to send
and how to read the answer, without doing either. The faces only do the calling: `ServiceClient`
(`flowspan.api.client`) for plain code, `AsyncServiceClient` (`flowspan.api.aio`) for asyncio.
`flowspan.api.connect` opens the former on the service that is configured.

Ids are `uuid.UUID` in what comes back, so that no name is ever taken for an id; arguments take a
UUID or its text. Instants are aware datetimes in UTC, durations seconds.
"""

from __future__ import annotations

from flowspan.api.models import (
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
    StateType,
    TaskRun,
    TraceContext,
    Transition,
    TransitionCause,
    Verdict,
    VerdictKind,
)

__all__ = [
    "Change",
    "Failure",
    "Flow",
    "FlowRun",
    "LogLevel",
    "LogRecord",
    "Payload",
    "Run",
    "RunFilter",
    "RunSnapshot",
    "ServiceInfo",
    "SnapshotEnd",
    "State",
    "StateType",
    "TaskRun",
    "TraceContext",
    "Transition",
    "TransitionCause",
    "Verdict",
    "VerdictKind",
]
