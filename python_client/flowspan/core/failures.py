"""Exceptions in the form in which they are reported."""

from __future__ import annotations

import textwrap
import traceback
from typing import TYPE_CHECKING

from flowspan.core.events import FailureInfo
from flowspan.exceptions import FlowspanError, RemoteError

if TYPE_CHECKING:
    from types import FrameType

MAX_CHAIN = 16
MAX_MESSAGE_BYTES = 32 * 1024
MAX_TRACE_BYTES = 64 * 1024

CARRIED_TRACE = "_flowspan_trace"
"""The attribute in which an exception from another process carries the text of its traceback."""

_HEADER = "Traceback (most recent call last):\n"
_PACKAGE = __name__.partition(".")[0]


def failure_info(error: BaseException) -> FailureInfo:
    """The error, its traceback without flowspan's own frames, and what it came from.

    Args:
        error: The exception as it was caught.

    Returns:
        At most 16 errors, linked by `cause`, each within the limits of flowspan.v1.Failure.
    """
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and len(chain) < MAX_CHAIN and not any(link is seen for seen in chain):
        chain.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    info: FailureInfo | None = None
    for item in reversed(chain):
        info = FailureInfo(
            type=error_type(item),
            message=shorten(error_text(item), MAX_MESSAGE_BYTES),
            stack_trace=shorten(trace_text(item), MAX_TRACE_BYTES),
            cause=info,
        )
    assert info is not None  # noqa: S101 - the chain has at least the error itself
    return info


def whole_trace(failure: FailureInfo) -> str:
    """The traceback of an error and those of what it came from, for people."""
    traces = [failure.stack_trace.rstrip()]
    cause = failure.cause
    while cause is not None:
        traces.append(f"caused by:\n{cause.stack_trace.rstrip()}")
        cause = cause.cause
    return shorten("\n".join(traces), MAX_TRACE_BYTES)


def type_name(kind: type) -> str:
    """The name of a type as Python's tracebacks give it: without a module for built-in ones."""
    if kind.__module__ in {"builtins", "__main__"}:
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def error_type(error: BaseException) -> str:
    """The name of an error's type; of the original's, where it stands for one of elsewhere."""
    if isinstance(error, RemoteError) and error.type_name:
        return error.type_name
    return type_name(type(error))


def error_text(error: BaseException) -> str:
    """The error's message; a note about it if the error cannot even say that."""
    try:
        return str(error)
    except Exception as broken:  # noqa: BLE001 - __str__ is user code
        return f"<its __str__ raised {type(broken).__name__}>"


def summary(error: BaseException) -> str:
    """One line: the type and the message; of a group, what is in it as well."""
    text = error_text(error)
    name = error_type(error)
    if isinstance(error, BaseExceptionGroup) and error.exceptions:
        text = f"{text}: {'; '.join(summary(each) for each in error.exceptions[:MAX_CHAIN])}"
    return shorten(f"{name}: {text}" if text else name, MAX_MESSAGE_BYTES)


def shorten(text: str, max_bytes: int) -> str:
    """The text with its middle left out if it is too long in UTF-8."""
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
    """The traceback as Python shows it, without flowspan's own frames.

    That of an exception from another process goes from where it was raised again here to where it
    was raised there.
    """
    frames = list(traceback.walk_tb(error.__traceback__))
    of_user = [item for item in frames if not _is_own(item[0])]
    carried = error.__dict__.get(CARRIED_TRACE)
    if isinstance(carried, str):
        if not of_user:
            return carried
        here = traceback.StackSummary.extract(iter(of_user)).format()
        return "".join([_HEADER, *here, carried.removeprefix(_HEADER)])
    lines = [_HEADER]
    if not frames or (not of_user and isinstance(error, FlowspanError)):
        # It was never raised, or is flowspan's own word to the user: where in flowspan it was said
        # does not matter.
        lines = []
    else:
        lines += traceback.StackSummary.extract(iter(of_user or frames)).format()
    try:
        lines += traceback.format_exception_only(error)
    except Exception:  # noqa: BLE001 - may run __str__, which is user code
        lines.append(type_name(type(error)))
    if isinstance(error, BaseExceptionGroup):
        lines += _parts_of(error)
    return "".join(lines)


def _parts_of(group: BaseExceptionGroup[BaseException]) -> list[str]:
    """The tracebacks of the exceptions in a group, indented."""
    lines = []
    count = len(group.exceptions)
    for number, error in enumerate(group.exceptions[:MAX_CHAIN], 1):
        lines.append(f"  +---- {number} of {count} ----\n")
        lines.append(textwrap.indent(trace_text(error), "  | "))
    return lines


def _is_own(frame: FrameType) -> bool:
    module: str = frame.f_globals.get("__name__") or ""
    return module == _PACKAGE or module.startswith(_PACKAGE + ".")
