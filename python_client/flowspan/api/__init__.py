"""Implementation of the API client. The public entry point is `flowspan.client`.

- `operations`: one generator per API operation. It describes the requests and parses the
  responses, without any I/O; `Operations` is the table of all of them.
- `requests`: the steps that operations yield, and helpers for pages, streams and waiting.
- `blocking`, `asynchronous`: the two drivers, which perform the steps.
- `methods`: descriptors that turn operations into typed methods of both clients.
- `client`: the two clients.
- `models`, `convert`, `chunks`, `errors`: the returned records and raised errors.
- `report_events`, `ids`: reporting of runs that are not executed by a decorator.

Returned ids are `uuid.UUID`, so that a name is never mistaken for an id; arguments accept a
UUID or its text. Instants are aware datetimes in UTC, durations are in seconds.
"""

from __future__ import annotations

from flowspan.api.models import (
    Artifact,
    ArtifactFilter,
    CancelAnswer,
    Change,
    Failure,
    Flow,
    FlowRun,
    Label,
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
from flowspan.api.run_parts import CodeLocation, RunInput, TraceContext
from flowspan.api.token_models import CreatedToken, Token, TokenScope

__all__ = [
    "Artifact",
    "ArtifactChanged",
    "ArtifactCreated",
    "ArtifactFilter",
    "CancelAnswer",
    "CancelCommand",
    "Change",
    "CodeLocation",
    "CreatedToken",
    "Failure",
    "Flow",
    "FlowRun",
    "Label",
    "LogLevel",
    "LogRecord",
    "LogWritten",
    "Payload",
    "ReportAnswer",
    "Run",
    "RunCreated",
    "RunEvent",
    "RunFilter",
    "RunInput",
    "RunKind",
    "RunSnapshot",
    "ServiceInfo",
    "SnapshotEnd",
    "State",
    "StateAnswer",
    "StateEntered",
    "StateType",
    "TaskRun",
    "Token",
    "TokenScope",
    "TraceContext",
    "Transition",
    "TransitionCause",
    "Variable",
    "Verdict",
    "VerdictKind",
]
