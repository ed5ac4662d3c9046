"""The API client: what the service knows, as plain Python values.

`ServiceClient` is the face for plain code. Each thing that can be asked is one function in
`flowspan.api.operations` that says what to send and how to read the answer, without doing either;
a face (`flowspan.api.client`) only does the calling. A face for asyncio is another such table.

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
