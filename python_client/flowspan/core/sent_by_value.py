"""Origins of functions and classes that another process sent by value.

Their cache keys must be the same in both processes. But only the process that created them can
determine whether they can be imported by name, or have a namespace of their own. So these facts are
sent along.
"""

from __future__ import annotations

import functools
import weakref
from types import FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple

from flowspan.core.keys.qualified_names import (
    has_own_namespace,
    is_found_by_name,
    know_what_was_sent,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_STATE_SETTER = 5
"""The index of the state setter in the result of `__reduce__`; see pickle."""


class Origin(NamedTuple):
    """Facts that only the process that created a function or class can determine.

    Attributes:
        is_found_by_name: True if its name leads to it.
        has_own_namespace: True if its globals are not those of a module.
    """

    is_found_by_name: bool
    has_own_namespace: bool


_sent: dict[int, tuple[weakref.ref[Any], Origin]] = {}
"""Keyed by `id`: a metaclass may define the hash of a class."""


def origin_of(thing: Any) -> Origin | None:
    """Return the origin of a function or class; None if it was not sent by value."""
    known = _sent.get(id(thing))
    return known[1] if known is not None and known[0]() is thing else None


know_what_was_sent(origin_of)


def with_origin(thing: Any, reduced: Any) -> Any:
    """Add the origin of a function or class to its reduced form.

    Args:
        thing: Any object that is pickled.
        reduced: Its reduced form from cloudpickle.

    Returns:
        The same reduced form for other objects, and for functions and classes that are pickled by
        name.
    """
    is_function = type(thing) is FunctionType
    if not is_function and not issubclass(type(thing), type):
        return reduced
    if (
        type(reduced) is not tuple
        or len(reduced) <= _STATE_SETTER
        or reduced[_STATE_SETTER] is None
    ):
        return reduced
    module, qualname = thing.__module__, thing.__qualname__
    origin = Origin(
        is_found_by_name(thing, module, qualname), is_function and has_own_namespace(thing)
    )
    make, arguments, state, items, pairs, fill = reduced
    return make, arguments, (fill, state, tuple(origin)), items, pairs, _fill


def _fill(thing: Any, state: tuple[Callable[[Any, Any], None], Any, tuple[bool, bool]]) -> None:
    fill, inner, origin = state
    fill(thing, inner)
    key = id(thing)
    _sent[key] = weakref.ref(thing, lambda _: _sent.pop(key, None)), Origin(*origin)


@functools.cache
def pickler_by_value() -> Any:
    """Return the pickler class that takes objects by value where they cannot be imported."""
    import cloudpickle  # type: ignore[import-untyped] # noqa: PLC0415 - untyped; startup time

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc] # untyped
        def reducer_override(self, obj: Any) -> Any:
            """Pickle functions and classes with their origin; see `pickle.Pickler`."""
            return with_origin(obj, super().reducer_override(obj))

    return Pickler
