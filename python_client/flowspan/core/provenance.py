"""Result provenance: the run that returned an object, for the inputs of the run that takes it.

`clean(load())` passes neither a future nor a state, but the very object that `load` returned. It is
recognized by its identity while it lives, through a weak reference that does not keep it alive.
Numbers, strings and plain lists, tuples and dictionaries do not support weak references and are not
recognized.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import ref

from flowspan.core.states import COMPLETED, StoredState
from flowspan.core.trace_ids import format_traceparent
from flowspan.core.values.traversal import ATOMIC

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flowspan.core.states import State
    from flowspan.core.trace_ids import TraceIds

UNKNOWABLE_IDS = frozenset(map(id, ATOMIC | {list, tuple, dict}))
"""The ids of types whose values are never recognized: a class may define its own hash."""
_MAX_LOOKED_AT = 128
"""Maximum number of inspected elements of a collection: the link limit of a span."""

# Keyed by the id of the value. The weak reference drops the entry before the id can be reused.
_origins: dict[int, tuple[ref[Any], str, TraceIds | None]] = {}


def remember(state: State) -> None:
    """Record a completed run as the origin of its result."""
    if state.type is not COMPLETED or issubclass(type(state), StoredState) or state.run_id is None:
        return
    value = state.data
    if id(type(value)) in UNKNOWABLE_IDS:
        return
    key = id(value)
    try:
        reference = ref(value, lambda _: _origins.pop(key, None))
    except TypeError:
        return
    _origins[key] = reference, state.run_id, state.trace_ids


def any_known() -> bool:
    """Return True if a result of a run is remembered. If not, no argument can be one."""
    return bool(_origins)


def provenance_of(value: Any) -> Iterator[tuple[str, str]]:
    """Yield the id and traceparent of the runs that an argument or its elements came from."""
    if not _origins:
        return
    for item in (value, *_elements(value)):
        origin = _origins.get(id(item))
        if origin is not None:
            _, run_id, ids = origin
            yield run_id, format_traceparent(ids)


def _elements(value: Any) -> Iterable[Any]:
    if issubclass(type(value), dict):
        value = list(dict.values(value))
    return value[:_MAX_LOOKED_AT] if type(value) is list or type(value) is tuple else ()
