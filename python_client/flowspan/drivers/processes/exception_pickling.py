"""Pickling of exceptions for another process.

The standard pickling of an exception loses its traceback, cause and context, and fails for some
exceptions. Here, the first of these methods that works is used:

1. the standard pickling, if it restores the same type and text;
2. the type, its arguments and attributes, without calling its `__init__`; parts that cannot be
   pickled are replaced by their `repr`;
3. a `RemoteError` in its place, with the type's name and the text.

The traceback is sent as text, the cause and context as exceptions.
"""

from __future__ import annotations

import pickle
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from flowspan.core.failures import CARRIED_TRACE, error_text, error_type, trace_text
from flowspan.exceptions import RemoteError
from flowspan.logging.shown_tracebacks import SHOWN

if TYPE_CHECKING:
    from collections.abc import Callable

    Dumps = Callable[[Any], bytes]

are_arguments: ContextVar[bool] = ContextVar("flowspan_loading_arguments", default=False)
"""True while the arguments of a call are loaded. An exception among them must keep its cache key,
so it gets no note about its origin."""

_DROPPED = frozenset({CARRIED_TRACE, SHOWN, "__notes__"})


def reduce_error(error: BaseException, dumps: Dumps) -> tuple[Any, ...]:
    """Return the reduced form of an exception for pickle; see `object.__reduce__`.

    Args:
        error: The exception.
        dumps: Pickles a value.
    """
    kind, text, trace = error_type(error), error_text(error), trace_text(error)
    links = (error.__cause__, error.__context__, error.__suppress_context__)
    notes = list(getattr(error, "__notes__", ()))
    facts = (_packed(error, text, dumps), kind, text, trace, notes)
    return rebuild_error, facts, links, None, None, set_links


def rebuild_error(
    packed: bytes | None, kind: str, text: str, trace: str, notes: list[str]
) -> BaseException:
    """Rebuild an exception, or create the RemoteError that replaces it."""
    error: BaseException
    try:
        error = _unpacked(packed) if packed is not None else RemoteError(text, kind)
    except Exception:  # noqa: BLE001 - its type may not exist here
        error = RemoteError(text, kind)
    for note in notes:
        error.add_note(note)
    if are_arguments.get():
        return error
    error.__dict__[CARRIED_TRACE] = trace
    # Python prints the note of an uncaught exception; reports use the attribute.
    shown = f"In the worker process:\n{trace.rstrip()}"
    if shown not in notes:
        error.add_note(shown)
    return error


def set_links(
    error: BaseException, links: tuple[BaseException | None, BaseException | None, bool]
) -> None:
    """Set the cause and the context of an exception."""
    error.__cause__, error.__context__, error.__suppress_context__ = links


def _packed(error: BaseException, text: str, dumps: Dumps) -> bytes | None:
    for way in (_as_python_does, _by_its_parts):
        try:
            packed = dumps(way(error, dumps))
            again = _unpacked(packed)
            if type(again) is type(error) and error_text(again) == text:
                return packed
        except Exception:  # noqa: BLE001, S112 - user code may raise anything; try the next method
            continue
    return None


def _unpacked(packed: bytes) -> BaseException:
    how, *parts = pickle.loads(packed)  # noqa: S301 - from this program's own process
    if how == "parts":
        kind, args, attributes = parts
        error: BaseException = kind.__new__(kind, *args)
        error.args = args
    else:
        make, args, attributes = parts
        error = make(*args)
    error.__dict__.update(attributes)
    return error


def _as_python_does(error: BaseException, dumps: Dumps) -> tuple[Any, ...]:
    reduced: Any = error.__reduce__()
    make, args, *rest = reduced
    attributes = dict(rest[0]) if rest and rest[0] else {}
    return "made", make, args, {k: v for k, v in attributes.items() if k not in _DROPPED}


def _by_its_parts(error: BaseException, dumps: Dumps) -> tuple[Any, ...]:
    args = tuple(_portable(value, dumps) for value in error.args)
    attributes = {
        name: _portable(value, dumps) for name, value in vars(error).items() if name not in _DROPPED
    }
    return "parts", type(error), args, attributes


def _portable(value: Any, dumps: Dumps) -> Any:
    try:
        pickle.loads(dumps(value))  # noqa: S301 - it was just pickled here
    except Exception:  # noqa: BLE001 - user code may raise anything
        return repr(value)
    return value
