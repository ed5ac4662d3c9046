"""Conversion of exceptions to the form in which they are reported.

Nothing here raises, whatever an exception's own methods do (`__str__`, `__getattribute__`, …): a
failed run must be reported as failed even if its error cannot be described.
"""

from __future__ import annotations

import textwrap
import traceback
from contextlib import suppress

from flowspan.core.events import FailureInfo
from flowspan.core.limits import (
    MAX_CHAIN,
    MAX_FAILURES,
    MAX_MESSAGE_BYTES,
    MAX_TRACE_BYTES,
)
from flowspan.core.tracebacks import is_own
from flowspan.core.values.error_attributes import attributes_of, cause_of, parts_of, trace_of
from flowspan.core.values.inspection import encodable, is_instance, type_name
from flowspan.exceptions import FlowspanError, RemoteError

__all__ = [
    "CARRIED_TRACE",
    "error_text",
    "error_type",
    "failure_info",
    "reason_of",
    "shorten",
    "summary",
    "trace_text",
    "type_name",
    "whole_trace",
    "with_brief_causes",
]

CARRIED_TRACE = "_flowspan_trace"
"""The attribute of an exception from another process that holds its traceback as text."""

_BRIEF_MESSAGE_BYTES = 4 << 10
_BRIEF_TRACE_BYTES = 8 << 10
"""With these, a failure with the largest number of causes takes half of what is allowed."""

_HEADER = "Traceback (most recent call last):\n"


def failure_info(error: BaseException) -> FailureInfo:
    """Return the error with its causes and tracebacks, without flowspan's own frames.

    Args:
        error: The exception as it was caught.

    Returns:
        At most 64 errors, at most 16 deep, within the limits of flowspan.v1.Failure. The causes of
        an error are linked by `cause`; the members of a group are its `other_causes`. Each error
        appears only once.
    """
    info = _info(error, [], depth=1)
    assert info is not None  # noqa: S101 - only causes are left out
    return info


def _info(error: BaseException, seen: list[BaseException], *, depth: int) -> FailureInfo | None:
    """Return an error with its causes; None if it is too deep, one too many, or seen before.

    Args:
        error: The exception.
        seen: The exceptions that were taken before; this one is added.
        depth: Its depth, 1 for the outermost one.
    """
    if depth > MAX_CHAIN or len(seen) >= MAX_FAILURES or any(error is each for each in seen):
        return None
    seen.append(error)
    cause = cause_of(error)
    # A chain of causes comes first: it says more than the last members of a large group.
    info = None if cause is None else _info(cause, seen, depth=depth + 1)
    others = (_info(part, seen, depth=depth + 1) for part in parts_of(error))
    return FailureInfo(
        type=error_type(error),
        message=shorten(error_text(error), MAX_MESSAGE_BYTES),
        stack_trace=shorten(trace_text(error), MAX_TRACE_BYTES),
        cause=info,
        other_causes=tuple(other for other in others if other is not None),
    )


def with_brief_causes(failure: FailureInfo) -> FailureInfo:
    """Return a failure that is too large as a whole, with the texts of all causes shortened."""
    cause = failure.cause
    return failure._replace(
        cause=None if cause is None else _brief(cause),
        other_causes=tuple(map(_brief, failure.other_causes)),
    )


def _brief(failure: FailureInfo) -> FailureInfo:
    return with_brief_causes(failure)._replace(
        message=shorten(failure.message, _BRIEF_MESSAGE_BYTES),
        stack_trace=shorten(failure.stack_trace, _BRIEF_TRACE_BYTES),
    )


def whole_trace(failure: FailureInfo) -> str:
    """Return the traceback of an error and those of its causes, for people."""
    traces = [failure.stack_trace.rstrip()]
    cause = failure.cause
    while cause is not None:
        traces.append(f"caused by:\n{cause.stack_trace.rstrip()}")
        cause = cause.cause
    return shorten("\n".join(traces), MAX_TRACE_BYTES)


def error_type(error: BaseException) -> str:
    """Return the type name of an error; a RemoteError gives the original error's type name."""
    if is_instance(error, RemoteError) and error.type_name:
        return error.type_name
    return type_name(type(error))


def error_text(error: BaseException) -> str:
    """Return the error's message, or a note if its `__str__` raises."""
    try:
        return encodable(str(error))
    except BaseException as broken:  # noqa: BLE001 - __str__ is user code
        return f"<its __str__ raised {type_name(type(broken))}>"


def reason_of(error: BaseException) -> str:
    """Return the error's message, or its type name if the message is empty."""
    return error_text(error) or error_type(error)


def summary(error: BaseException) -> str:
    """Return the type and message in one line; a group also lists its members."""
    text = error_text(error)
    name = error_type(error)
    if parts := parts_of(error):
        with suppress(RecursionError):  # deeply nested groups
            listed = "; ".join(summary(each) for each in parts[:MAX_CHAIN])
            text = f"{text}: {listed}"
    return shorten(f"{name}: {text}" if text else name, MAX_MESSAGE_BYTES)


def shorten(text: str, max_bytes: int) -> str:
    """Return the text, with its middle cut out if it exceeds the limit in UTF-8."""
    if len(text) * 4 <= max_bytes:
        return text
    data = text.encode("utf-8", "backslashreplace")
    if len(data) <= max_bytes:
        return text
    half = (max_bytes - 64) // 2
    head = data[:half].decode("utf-8", "ignore")
    tail = data[-half:].decode("utf-8", "ignore")
    return f"{head}\n… {len(data) - 2 * half} bytes left out …\n{tail}"


def trace_text(error: BaseException) -> str:
    """Return the traceback as Python prints it, without flowspan's own frames.

    For an exception from another process, the frames of this process precede those of the other.
    """
    try:
        return encodable(_trace_text(error))
    except Exception:  # noqa: BLE001 - may run methods of the error, and source code loaders
        return f"{type_name(type(error))}\n"


def _trace_text(error: BaseException) -> str:
    frames = list(traceback.walk_tb(trace_of(error)))
    of_user = [item for item in frames if not is_own(item[0])]
    carried = attributes_of(error).get(CARRIED_TRACE)
    if isinstance(carried, str):
        if not of_user:
            return carried
        here = traceback.StackSummary.extract(iter(of_user)).format()
        return "".join([_HEADER, *here, carried.removeprefix(_HEADER)])
    lines = [_HEADER]
    if not frames or (not of_user and is_instance(error, FlowspanError)):
        # It was never raised, or flowspan raised it as a message to the user: the location inside
        # flowspan is irrelevant.
        lines = []
    else:
        lines += traceback.StackSummary.extract(iter(of_user or frames)).format()
    try:
        lines += traceback.format_exception_only(error)
    except BaseException:  # noqa: BLE001 - may run __str__, which is user code
        lines.append(f"{type_name(type(error))}: {error_text(error)}\n")
    lines += _traces_of_parts(error)
    return "".join(lines)


def _traces_of_parts(error: BaseException) -> list[str]:
    """Return the tracebacks of the exceptions in a group, indented."""
    lines = []
    parts = parts_of(error)
    for number, part in enumerate(parts[:MAX_CHAIN], 1):
        lines.append(f"  +---- {number} of {len(parts)} ----\n")
        lines.append(textwrap.indent(trace_text(part), "  | "))
    return lines
