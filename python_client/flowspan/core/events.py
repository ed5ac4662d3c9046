"""Events that the engine reports, as plain tuples.

An ordinary task emits three of them, so they are as cheap as Python allows: a tuple whose first
item is one of the codes below, appended to the reporter's queue. The reporter's thread encodes them
as wire messages (`flowspan.reporter.encoding.events`).

Event shapes by code:

- ``(CREATED, run, state_name, time_ns)``: a run was created, PENDING. ``run`` is the RunRecord.
- ``(STATE, run_id, attempt, state_type, state_name, message, time_ns, detail, scheduled_ns)``: a
  run entered a state. ``state_type`` is a number of StateType. ``detail`` is a FailureInfo for
  FAILED and CRASHED, the bytes of a result reference for COMPLETED, or None. ``scheduled_ns`` is
  set only for SCHEDULED.
- ``(LOG, run_id, attempt, level, time_ns, logger, message, trace_id, span_id)``: a log record.
  ``trace_id`` and ``span_id`` are hex strings, or empty.
- ``(ARTIFACT, artifact_id, run_id, key, type, description, data, time_ns)``: an artifact was
  created. ``run_id`` is empty outside of runs, ``key`` is empty for an artifact without a key;
  ``data`` is JSON text in UTF-8.
- ``(ARTIFACT_CHANGE, artifact_id, description, data, time_ns)``: an artifact was updated.
  ``description`` and ``data`` are None if they are unchanged.

Times are nanoseconds since 1970 UTC. Ids are UUIDs as 36 lower-case characters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from flowspan.core.trace_ids import format_traceparent, parse_traceparent

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.core.run_details import RunDetails
    from flowspan.core.trace_ids import TraceIds

CREATED = 0
STATE = 1
LOG = 2
ARTIFACT = 3
ARTIFACT_CHANGE = 4
# Events from LOG on may be large.

WAIT_FOR = "wait_for"
"""In place of a parameter: the run only waits for the upstream run. No parameter has this name."""

Event = tuple[Any, ...]


class FailureInfo(NamedTuple):
    """An error in a language-neutral form; mirrors flowspan.v1.Failure."""

    type: str
    message: str
    stack_trace: str
    cause: FailureInfo | None = None
    other_causes: tuple[FailureInfo, ...] = ()


class RunInput(NamedTuple):
    """An upstream run of another run.

    Attributes:
        run_id: Its id.
        parameter: The parameter that takes its result, or WAIT_FOR.
        traceparent: The trace context of its span, which is not reported; empty without tracing.
    """

    run_id: str
    parameter: str
    traceparent: str = ""


class RunRecord:
    """The reported facts of a run, at its creation. Immutable once it was emitted.

    Attributes:
        id: A UUIDv7.
        is_flow: True for a flow run, False for a task run.
        function_name: The name of the flow or task.
        run_name: The name of the run; may be empty.
        parent_run_id: The run that called it, or None.
        root_run_id: The run at the top of the tree (its own id at the top).
        flow_run_id: The flow run that it belongs to; for a flow run, its own id; None for a task
            outside flows.
        tags: The tags, in order, without duplicates.
        parameters: JSON text of one object, encoded as UTF-8, or None. For a task run, it is a
            preview.
        version: The version of the code; may be empty.
        details: The facts that all runs of the flow or task share; None if they are unknown.
        inputs: The upstream runs, in order and without duplicates.
        trace_ids: The ids of the run's own span; None without tracing.
        tracestate: W3C tracestate; may be empty.
        parent_span: The id of the parent span; 0 at the root of a trace.
    """

    __slots__ = (
        "details",
        "flow_run_id",
        "function_name",
        "id",
        "inputs",
        "is_flow",
        "parameters",
        "parent_run_id",
        "parent_span",
        "root_run_id",
        "run_name",
        "tags",
        "trace_ids",
        "tracestate",
        "version",
    )

    def __init__(
        self,
        id: str,  # noqa: A002 - the field's name on the wire
        *,
        is_flow: bool,
        function_name: str,
        run_name: str,
        parent_run_id: str | None,
        root_run_id: str,
        flow_run_id: str | None,
        tags: tuple[str, ...] = (),
        parameters: bytes | None = None,
        version: str = "",
        details: RunDetails | None = None,
        inputs: tuple[RunInput, ...] = (),
    ) -> None:
        self.id = id
        self.is_flow = is_flow
        self.function_name = function_name
        self.run_name = run_name
        self.parent_run_id = parent_run_id
        self.root_run_id = root_run_id
        self.flow_run_id = flow_run_id
        self.tags = tags
        self.parameters = parameters
        self.version = version
        self.details = details
        self.inputs = inputs
        self.trace_ids: TraceIds | None = None
        self.tracestate = ""
        self.parent_span = 0

    @property
    def traceparent(self) -> str:
        """W3C traceparent of the run's own span; empty without tracing."""
        return format_traceparent(self.trace_ids)

    @traceparent.setter
    def traceparent(self, text: str) -> None:
        self.trace_ids = parse_traceparent(text)

    @property
    def parent_span_id(self) -> str:
        """The id of the parent span as 16 hex digits; empty at the root of a trace."""
        return f"{self.parent_span:016x}" if self.parent_span else ""

    @parent_span_id.setter
    def parent_span_id(self, digits: str) -> None:
        self.parent_span = int(digits, 16) if digits else 0


Emit: TypeAlias = "Callable[[Event], None]"
"""Receives an event. Never blocks for long, never raises; thread-safe."""
