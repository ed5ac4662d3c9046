"""What spans say: flowspan's own names, and OpenTelemetry's conventions where there are any.

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
MAP_INDEX = "flowspan.map.index"
ARTIFACT_ID = "flowspan.artifact.id"
ARTIFACT_KEY = "flowspan.artifact.key"
ARTIFACT_TYPE = "flowspan.artifact.type"
SYNTHETIC = "flowspan.span.synthetic"
"""Made in the place of a process that was gone before it could end the span."""
ERROR_TYPE = "error.type"

RUNNING_EVENT = "flowspan.running"
"""The run's code began, after a wait (for its input, a thread, a slot) of `flowspan.waited_s`."""
AWAITING_RETRY_EVENT = "flowspan.awaiting_retry"
"""The wait before another attempt began; it is to take `flowspan.delay_s`."""
RETRYING_EVENT = "flowspan.retrying"
"""Another attempt began."""
ARTIFACT_EVENT = "flowspan.artifact"
"""The run made an artifact."""
EXCEPTION_EVENT = "exception"
NAMED_COMPLETIONS = {"Cached": "flowspan.cached", "RolledBack": "flowspan.rolled_back"}
"""Events of runs that completed, but did not run or were undone, by the names of their states."""

STATE_TYPE_NAMES = {kind.number: kind.name for kind in StateType}


def run_attributes(record: RunRecord, function: Callable[..., Any] | None) -> dict[str, Any]:
    """What is known of a run when its span starts."""
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
    """What the `exception` event says; the stack trace is without flowspan's own frames."""
    info = failure_info(error)
    attributes = {"exception.type": info.type, "exception.message": info.message}
    if info.stack_trace:
        attributes["exception.stacktrace"] = info.stack_trace
    return attributes
