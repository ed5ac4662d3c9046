"""The API client, from within: `flowspan.client` is the way in.

- `operations`: each thing that can be asked, as a generator that says what to send and how to read
  the answer, without doing either; and the table of them all.
- `steps`: what operations yield, and how pages, streams and waiting are made of it.
- `blocking`, `asynchronous`: the two drivers that carry operations out.
- `methods`: makes the table of operations methods of both clients, with their types.
- `client`: the two clients.
- `models`, `convert`, `chunks`, `errors`: what comes back.
- `events`, `ids`: what is reported of runs that no decorator runs.

Ids are `uuid.UUID` in what comes back, so that no name is ever taken for an id; arguments take a
UUID or its text. Instants are aware datetimes in UTC, durations seconds.
"""

from __future__ import annotations

from flowspan.api.models import (
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
from flowspan.api.report_events import (
    ArtifactChanged,
    ArtifactCreated,
    CancelCommand,
    LogWritten,
    ReportAnswer,
    RunCreated,
    RunEvent,
    RunKind,
    StateEntered,
)

__all__ = [
    "Artifact",
    "ArtifactChanged",
    "ArtifactCreated",
    "ArtifactFilter",
    "CancelCommand",
    "Change",
    "Failure",
    "Flow",
    "FlowRun",
    "LogLevel",
    "LogRecord",
    "LogWritten",
    "Payload",
    "ReportAnswer",
    "Run",
    "RunCreated",
    "RunEvent",
    "RunFilter",
    "RunKind",
    "RunSnapshot",
    "ServiceInfo",
    "SnapshotEnd",
    "State",
    "StateAnswer",
    "StateEntered",
    "StateType",
    "TaskRun",
    "TraceContext",
    "Transition",
    "TransitionCause",
    "Variable",
    "Verdict",
    "VerdictKind",
]
