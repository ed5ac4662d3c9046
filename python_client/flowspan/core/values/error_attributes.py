"""Built-in attributes of exceptions, read in spite of overrides in their classes.

A class may override `__cause__`, `__dict__` or `exceptions`, or forbid setting attributes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowspan.core.values.inspection import is_instance

if TYPE_CHECKING:
    from types import TracebackType

_OF_ALL: Any = vars(BaseException)
_OF_GROUPS: Any = vars(BaseExceptionGroup)


def trace_of(error: BaseException) -> TracebackType | None:
    """Return the traceback of an exception."""
    trace: TracebackType | None = _OF_ALL["__traceback__"].__get__(error)
    return trace


def with_trace(error: BaseException, trace: TracebackType | None) -> BaseException:
    """Return the exception with another traceback."""
    # Setting the attribute could fail: a class may forbid it, as frozen dataclasses do.
    return BaseException.with_traceback(error, trace)


def attributes_of(error: BaseException) -> dict[str, Any]:
    """Return the `__dict__` of an exception itself, not a copy."""
    attributes: dict[str, Any] = _OF_ALL["__dict__"].__get__(error)
    return attributes


def cause_of(error: BaseException) -> BaseException | None:
    """Return the exception that a traceback shows as the cause of this one."""
    cause: BaseException | None = _OF_ALL["__cause__"].__get__(error)
    if cause is not None or _OF_ALL["__suppress_context__"].__get__(error):
        return cause
    context: BaseException | None = _OF_ALL["__context__"].__get__(error)
    return context


def chain_of(error: BaseException, at_most: int) -> list[BaseException]:
    """Return an exception and its chain of causes, nearest first, each exactly once."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and len(chain) < at_most and not any(link is seen for seen in chain):
        chain.append(link)
        link = cause_of(link)
    return chain


def parts_of(error: BaseException) -> tuple[BaseException, ...]:
    """Return the exceptions in a group; an empty tuple if it is not a group."""
    if not is_instance(error, BaseExceptionGroup):
        return ()
    parts: tuple[BaseException, ...] = _OF_GROUPS["exceptions"].__get__(error)
    return parts


def links_of(error: BaseException) -> list[BaseException]:
    """Return every exception that an exception refers to: cause, context and group members."""
    links = [_OF_ALL[name].__get__(error) for name in ("__cause__", "__context__")]
    return [link for link in links if link is not None] + list(parts_of(error))
