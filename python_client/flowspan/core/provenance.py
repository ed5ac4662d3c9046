"""Which run a value came from: for links in traces where results are passed on as they are.

`clean(load())` passes on no future and no state, but the very object that `load` returned. It is
known again by its identity as long as it lives, through a weak reference, so that nothing is kept
alive by it. Numbers, texts, and plain lists, tuples and dictionaries cannot be referenced weakly,
and are not known again.

Only used for runs that have a span.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import ref

from flowspan.core.states import COMPLETED, StoredState
from flowspan.core.values.traversal import ATOMIC

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flowspan.core.states import State

_NEVER_KNOWN = frozenset(map(id, ATOMIC | {list, tuple, dict}))
"""By identity, for a class's own hash may be anything."""
_MAX_LOOKED_AT = 128
"""How many elements of a collection are looked at: as many as a span has links."""

# By the identity of the value. An entry goes with its value, before another object can have that
# identity.
_origins: dict[int, tuple[ref[Any], str, str]] = {}


def remember(state: State) -> None:
    """Remembers that the result of a run that has ended came from it."""
    if state.type is not COMPLETED or issubclass(type(state), StoredState) or state.run_id is None:
        return
    value = state.data
    if id(type(value)) in _NEVER_KNOWN:
        return
    key = id(value)
    try:
        reference = ref(value, lambda _: _origins.pop(key, None))
    except TypeError:
        return
    _origins[key] = reference, state.run_id, state.traceparent


def provenance_of(value: Any) -> Iterator[tuple[str, str]]:
    """The id and traceparent of the runs that an argument, or one of its elements, came from."""
    if not _origins:
        return
    for item in (value, *_elements(value)):
        origin = _origins.get(id(item))
        if origin is not None:
            yield origin[1:]


def _elements(value: Any) -> Iterable[Any]:
    if issubclass(type(value), dict):
        value = list(dict.values(value))
    return value[:_MAX_LOOKED_AT] if type(value) is list or type(value) is tuple else ()
