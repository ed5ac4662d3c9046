"""What `report_batch` takes and gives: events of runs that something else than a decorator runs.

Records of plain Python values, as in `flowspan.api.models`. Each event has a time, by the clock of
whoever reports it: by default that at which the record was made.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from typing import TYPE_CHECKING, Any, TypeAlias

from flowspan import clock
from flowspan.api.ids import new_uuid
from flowspan.api.models import LogLevel, StateType

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from uuid import UUID

    from flowspan.api import models
    from flowspan.core.states import State

    AnyState: TypeAlias = State | models.State | StateType
    AnyId: TypeAlias = UUID | str


def _now() -> datetime:
    return datetime.fromtimestamp(clock.now_s(), UTC)


class RunKind(IntEnum):
    """The two kinds of runs (flowspan.v1.RunKind)."""

    FLOW = 1
    TASK = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCreated:
    """A run came to be.

    Attributes:
        function_name: The name of the flow or task.
        run_id: Its id, a UUIDv7; made with the record. The same run twice is one run.
        run_name: The name of the run; it may have none.
        parent_run_id: The run that called it; None at the top.
        root_run_id: The run at the top of its tree; None for the run itself.
        flow_run_id: For a task run: the flow run that it belongs to; None outside of flows.
        state: Its first state, of type SCHEDULED or PENDING.
        parameters: The arguments by parameter; values that JSON can hold.
        trace: The run's span, if it has one.
        version: The version of the code.
        at: When. A state that knows its own time keeps that.
    """

    kind: RunKind
    function_name: str
    run_id: AnyId = field(default_factory=new_uuid)
    run_name: str = ""
    parent_run_id: AnyId | None = None
    root_run_id: AnyId | None = None
    flow_run_id: AnyId | None = None
    state: AnyState = StateType.PENDING
    tags: Iterable[str] = ()
    parameters: Mapping[str, Any] | None = None
    trace: models.TraceContext | None = None
    version: str = ""
    at: datetime = field(default_factory=_now)


@dataclass(frozen=True, slots=True, kw_only=True)
class StateEntered:
    """A run entered a state.

    Attributes:
        state: The state; its exception or failure goes with it.
        attempt: The try it belongs to, from 1. The first state of a newer one ends the older one.
        at: When. A state that knows its own time keeps that.
    """

    run_id: AnyId
    state: AnyState
    attempt: int = 1
    at: datetime = field(default_factory=_now)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogWritten:
    """A run logged something.

    Attributes:
        message: The text, at most 256 KiB.
        level: A LogLevel, or a number between two of them.
        logger: The logger's name.
        trace_id: The trace it belongs to, 32 hex digits.
        span_id: The span it belongs to, 16 hex digits.
        attempt: The attempt that logged it; 0 where it is not known.
        at: When.
    """

    run_id: AnyId
    message: str
    level: int = LogLevel.INFO
    logger: str = ""
    trace_id: str = ""
    span_id: str = ""
    attempt: int = 0
    at: datetime = field(default_factory=_now)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactCreated:
    """A run, or code outside of runs, made an artifact; see `create_artifact`.

    Attributes:
        type: "link", "markdown", "table", "progress", "image", or a name of your own.
        data: What it shows: a value that JSON can hold.
        artifact_id: Its id, a UUIDv7; made with the record. The same artifact twice is one.
        at: When.
    """

    type: str
    data: Any = None
    key: str | None = None
    description: str = ""
    run_id: AnyId | None = None
    artifact_id: AnyId = field(default_factory=new_uuid)
    at: datetime = field(default_factory=_now)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactChanged:
    """An artifact was changed: what is None stays as it is.

    Attributes:
        at: When.
    """

    artifact_id: AnyId
    data: Any = None
    description: str | None = None
    at: datetime = field(default_factory=_now)


RunEvent: TypeAlias = RunCreated | StateEntered | LogWritten | ArtifactCreated | ArtifactChanged


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelCommand:
    """The service asks to stop a run and all that it called; the state CANCELLED confirms it."""

    run_id: UUID
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportAnswer:
    """What became of a batch.

    Attributes:
        stored_sequence: All events of the session up to this one are durably stored.
        verdicts: The answers to events that were not simply accepted, by their sequences.
        commands: What the service asks, until it is confirmed.
        lease_s: How long the session lives without another call, in seconds.
    """

    stored_sequence: int
    verdicts: Mapping[int, models.Verdict]
    commands: tuple[CancelCommand, ...]
    lease_s: float
