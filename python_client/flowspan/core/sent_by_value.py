"""What a process knows of functions and classes that another process sent to it by value.

Their keys are to be the same in both. But whether a name leads to a function, or whether it has a
namespace of its own, can only be seen where it was made: so it is sent along.
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
"""Where the function that fills the copy stands in what `__reduce__` returns; see pickle."""


class Origin(NamedTuple):
    """What only the process can see in which a function or class was made.

    Attributes:
        is_found_by_name: Whether its name leads to it.
        has_own_namespace: Whether its globals are no module's.
    """

    is_found_by_name: bool
    has_own_namespace: bool


_sent: dict[int, tuple[weakref.ref[Any], Origin]] = {}
"""By `id`: a class may be hashed by code of its metaclass."""


def origin_of(thing: Any) -> Origin | None:
    """Return what is known of a function or class; None if it was not sent by value."""
    known = _sent.get(id(thing))
    return known[1] if known is not None and known[0]() is thing else None


know_what_was_sent(origin_of)


def with_origin(thing: Any, reduced: Any) -> Any:
    """Return what pickle needs of a function or class, with what its copy is to know of itself.

    Args:
        thing: Anything that is pickled.
        reduced: What cloudpickle gives for it.

    Returns:
        The same for all that is no function or class, or is pickled by its name.
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
    """Return the class that pickles by value what cannot be imported, with its origin."""
    import cloudpickle  # type: ignore[import-untyped] # noqa: PLC0415 - it has no types; start-up cost

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc] # untyped
        def reducer_override(self, obj: Any) -> Any:
            """See `pickle.Pickler.reducer_override`."""
            return with_origin(obj, super().reducer_override(obj))

    return Pickler
