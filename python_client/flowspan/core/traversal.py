"""Finding things inside of nested values: futures and states in arguments and in what is returned.

Looked into are lists, tuples, sets, the values of dictionaries, the fields of dataclasses and of
pydantic models. Everything else is a leaf. Values without anything to find are returned as they
are, the same objects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

ATOMIC: frozenset[type] = frozenset(
    {type(None), bool, int, float, complex, str, bytes, bytearray, type, range, type(...)}
)
"""Types whose values hold nothing else: the fast path."""

_SETS = (set, frozenset)


def is_plain(values: Iterable[Any]) -> bool:
    """Whether all values are of types that hold nothing else. Fast: it sees every argument."""
    return ATOMIC.issuperset(map(type, values))


def find(value: Any, kinds: tuple[type, ...]) -> list[Any]:
    """All instances of the kinds in a value, in order, each object once.

    Args:
        value: Where to look.
        kinds: What to look for; not looked into.
    """
    found: dict[int, Any] = {}
    seen: set[int] = set()
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, kinds):
            found[id(item)] = item
        elif type(item) not in ATOMIC and id(item) not in seen:
            seen.add(id(item))
            parts = parts_of(item)
            if parts and not is_plain(parts):
                stack.extend(reversed(parts))
    return list(found.values())


def replace(value: Any, kinds: tuple[type, ...], replacement: Callable[[Any], Any]) -> Any:
    """The value with all instances of the kinds replaced, at any depth.

    Args:
        value: Left unchanged: where something is replaced, the containers around it are copied.
        kinds: What is replaced.
        replacement: Gives what to put in its place.
    """
    if not find(value, kinds):
        return value
    return _replace(value, kinds, replacement, frozenset())


def _replace(
    value: Any, kinds: tuple[type, ...], replacement: Callable[[Any], Any], above: frozenset[int]
) -> Any:
    if isinstance(value, kinds):
        return replacement(value)
    if type(value) in ATOMIC or id(value) in above:  # a value may hold itself
        return value
    parts = parts_of(value)
    if not parts or is_plain(parts):
        return value
    above |= {id(value)}
    fresh = [_replace(part, kinds, replacement, above) for part in parts]
    if all(new is old for new, old in zip(fresh, parts, strict=True)):
        return value
    return _rebuilt(value, fresh)


def parts_of(value: Any) -> Sequence[Any]:
    """What a value holds, if it is of a kind that is looked into."""
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, (list, tuple)):
        return value
    if isinstance(value, _SETS):
        return list(value)
    if isinstance(value, type):
        return []
    return [getattr(value, name) for name in _field_names(value) if hasattr(value, name)]


def _rebuilt(value: Any, parts: list[Any]) -> Any:
    """A copy of a container with other parts."""
    if isinstance(value, dict):
        copied = value.copy()
        copied.update(zip(value, parts, strict=True))
        return copied
    if isinstance(value, tuple) and hasattr(value, "_make"):
        return value._make(parts)
    if isinstance(value, (list, tuple, *_SETS)):
        return type(value)(parts)
    from copy import copy  # noqa: PLC0415 - rare

    fresh = copy(value)
    names = [name for name in _field_names(value) if hasattr(value, name)]
    for name, part in zip(names, parts, strict=True):
        # Frozen dataclasses and models refuse setattr; the copy is ours to fill in.
        object.__setattr__(fresh, name, part)
    return fresh


def _field_names(value: Any) -> Iterator[str]:
    kind = type(value)
    fields = getattr(kind, "__dataclass_fields__", None) or getattr(
        kind, "__pydantic_fields__", None
    )
    yield from fields or ()
