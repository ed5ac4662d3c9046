"""Attributes and events of spans: flowspan's own, and OpenTelemetry's semantic conventions.

The conventions: https://opentelemetry.io/docs/specs/semconv/code/ and
…/exceptions/exceptions-spans/.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowspan.core.failures import failure_info
from flowspan.core.states import StateType

if TYPE_CHECKING:
    from flowspan.core.events import RunRecord
    from flowspan.core.run_details import RunDetails

RUN_ID = "flowspan.run.id"
RUN_NAME = "flowspan.run.name"
RUN_KIND = "flowspan.run.kind"
ROOT_RUN_ID = "flowspan.root_run.id"
FLOW_NAME = "flowspan.flow.name"
FLOW_RUN_ID = "flowspan.flow_run.id"
QUEUED = "flowspan.queued_s"
"""The time in which the code of the run did not run: before the first attempt and between them."""
RUN_TIME = "flowspan.run_s"
"""The time of the attempts together."""
CODE_FUNCTION = "code.function.name"
CODE_FILE = "code.file.path"
CODE_LINE = "code.line.number"
THREAD_ID = "thread.id"
THREAD_NAME = "thread.name"
TAGS = "flowspan.tags"
ATTEMPT = "flowspan.attempt"
ATTEMPTS = "flowspan.attempts"
STATE_NAME = "flowspan.state.name"
STATE_TYPE = "flowspan.state.type"
STATE_MESSAGE = "flowspan.state.message"
WAITED = "flowspan.waited_s"
DELAY = "flowspan.delay_s"
CANCELLED = "flowspan.cancelled"
INPUT_NAME = "flowspan.input.name"
INPUT_COUNT = "flowspan.input.count"
"""The number of runs that a parameter takes results of, on the one link that stands for them."""
WAIT_REASON = "flowspan.wait.reason"
PENDING = "flowspan.span.pending"
"""The span shows a run that has not ended; see `flowspan.telemetry.pending`."""
PARAMETER_PREFIX = "flowspan.parameter."
MAP_INDEX = "flowspan.map.index"
ARTIFACT_ID = "flowspan.artifact.id"
ARTIFACT_KEY = "flowspan.artifact.key"
ARTIFACT_TYPE = "flowspan.artifact.type"
SYNTHETIC = "flowspan.span.synthetic"
"""The span was created on behalf of a process that ended before it could end the span."""
ERROR_TYPE = "error.type"
CRASHED_ERROR = "flowspan.crashed"
"""The `error.type` of runs whose process died."""

RUNNING_EVENT = "flowspan.running"
"""The run's code began, after a wait (for its input, a thread, a slot) of `flowspan.waited_s`."""
AWAITING_RETRY_EVENT = "flowspan.awaiting_retry"
"""The wait before another attempt began; its planned duration is `flowspan.delay_s`."""
RETRYING_EVENT = "flowspan.retrying"
"""Another attempt began."""
ARTIFACT_EVENT = "flowspan.artifact"
"""The run created an artifact."""
EXCEPTION_EVENT = "exception"
NAMED_COMPLETIONS = {"Cached": "flowspan.cached", "RolledBack": "flowspan.rolled_back"}
"""Events for completed runs that did not execute or were undone, by the names of their states."""

STATE_TYPE_NAMES = {kind.number: kind.name for kind in StateType}


def run_attributes(record: RunRecord, flow: RunRecord | None) -> dict[str, Any]:
    """Return the attributes known when the span of a run starts.

    `run_encoding` encodes the same ones in its own way: change both.

    Args:
        record: The run.
        flow: The flow run that it belongs to, itself for a flow run; None if it is unknown.
    """
    attributes = naming_attributes(record, flow)
    attributes[RUN_KIND] = "flow" if record.is_flow else "task"
    if record.tags:
        attributes[TAGS] = record.tags
    if record.details is not None:
        attributes.update(code_attributes(record.details))
    return attributes


def naming_attributes(record: RunRecord, flow: RunRecord | None) -> dict[str, Any]:
    """Return the attributes that name a run, its flow and its tree; log records have them, too."""
    attributes: dict[str, Any] = {RUN_ID: record.id, ROOT_RUN_ID: record.root_run_id}
    if record.run_name:
        attributes[RUN_NAME] = record.run_name
    if flow is not None:
        attributes[FLOW_NAME] = flow.function_name
    if record.flow_run_id is not None:
        attributes[FLOW_RUN_ID] = record.flow_run_id
    return attributes


def code_attributes(details: RunDetails) -> dict[str, Any]:
    """Return where the function of a flow or task is defined."""
    known = {
        CODE_FUNCTION: details.function,
        CODE_FILE: details.file_path,
        CODE_LINE: details.line,
    }
    return {name: value for name, value in known.items() if value}


def end_attributes(
    state_type: int,
    state_name: str,
    attempts: int,
    length_ns: int,
    ran_ns: int,
    thread: tuple[int | None, str] | None,
) -> dict[str, Any]:
    """Return the attributes known when the span of a run ends.

    Args:
        state_type: The number of the type of the terminal state.
        state_name: The name of that state.
        attempts: The number of attempts that began.
        length_ns: The time between creation and end, in nanoseconds.
        ran_ns: The time of the attempts together, in nanoseconds.
        thread: Id and name of the thread in which the last attempt began; None without an attempt.
    """
    attributes = {
        STATE_TYPE: STATE_TYPE_NAMES[state_type],
        STATE_NAME: state_name,
        ATTEMPTS: attempts,
        QUEUED: seconds(length_ns - ran_ns),
        RUN_TIME: seconds(ran_ns),
    }
    if thread is not None:
        attributes[THREAD_ID], attributes[THREAD_NAME] = thread
    return attributes


def seconds(duration_ns: int) -> float:
    """Return a duration in seconds; 0 for a negative one, after a step of the clock."""
    return duration_ns / 1e9 if duration_ns > 0 else 0.0


def exception_attributes(error: BaseException) -> dict[str, Any]:
    """Return the attributes of an `exception` event; flowspan's own frames are not in the trace."""
    info = failure_info(error)
    attributes = {"exception.type": info.type, "exception.message": info.message}
    if info.stack_trace:
        attributes["exception.stacktrace"] = info.stack_trace
    return attributes
