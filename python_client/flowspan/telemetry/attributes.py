"""Attributes and events of spans: flowspan's own, and OpenTelemetry's semantic conventions.

The conventions: https://opentelemetry.io/docs/specs/semconv/code/ and
…/exceptions/exceptions-spans/.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from flowspan.core.failures import failure_info
from flowspan.core.states import StateType

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType

    from flowspan.core.events import RunRecord

RUN_ID = "flowspan.run.id"
RUN_NAME = "flowspan.run.name"
RUN_KIND = "flowspan.run.kind"
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


def run_attributes(record: RunRecord, function: Callable[..., Any] | None) -> dict[str, Any]:
    """Return the attributes known when the span of a run starts."""
    attributes: dict[str, Any] = {
        RUN_ID: record.id,
        RUN_KIND: "flow" if record.is_flow else "task",
    }
    if record.run_name:
        attributes[RUN_NAME] = record.run_name
    if record.tags:
        attributes[TAGS] = record.tags
    code = getattr(function, "__code__", None)
    if code is not None and function is not None:
        attributes.update(_code_attributes(code, function.__module__ or ""))
    return attributes


@lru_cache(maxsize=1024)
def _code_attributes(code: CodeType, module: str) -> dict[str, Any]:
    return {
        "code.function.name": f"{module}.{code.co_qualname}" if module else code.co_qualname,
        "code.file.path": code.co_filename,
        "code.line.number": code.co_firstlineno,
    }


def exception_attributes(error: BaseException) -> dict[str, Any]:
    """Return the attributes of an `exception` event; flowspan's own frames are not in the trace."""
    info = failure_info(error)
    attributes = {"exception.type": info.type, "exception.message": info.message}
    if info.stack_trace:
        attributes["exception.stacktrace"] = info.stack_trace
    return attributes
