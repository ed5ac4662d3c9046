"""Search and replacement in nested values: futures and states in arguments and results.

The traversal descends into lists, tuples, sets, values of dictionaries, and fields of dataclasses
and pydantic models; instances of subclasses by their stored content, whatever their methods do. Any
other value is a leaf. No code of a value's class runs here (see `values.inspection`).
A value without matches is returned as the same object. There is no recursion: values may be nested
deeply.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from flowspan.core.values.inspection import copy_attributes, fields_of, read_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

ATOMIC: frozenset[type] = frozenset(
    {type(None), bool, int, float, complex, str, bytes, bytearray, type, range, type(...)}
)
"""Types whose values contain no others: the fast path."""

ATOMIC_IDS: frozenset[int] = frozenset(map(id, ATOMIC))
"""The ids of these types: a metaclass may define a hash, or none at all."""


class HeldList(list[Any]):
    """A list whose class depends on its items: with other items, it becomes a plain list."""

    __slots__ = ()


def is_plain(values: Iterable[Any]) -> bool:
    """Return True if all values are of atomic types. Fast, as it sees every argument."""
    try:
        return ATOMIC.issuperset(map(type, values))
    except Exception:  # noqa: BLE001 - an unhashable class; the caller then inspects each value
        return False


def find(value: Any, kinds: tuple[type, ...]) -> list[Any]:
    """Return all instances of the given types in a value, in order, without duplicate objects.

    Args:
        value: The value to search.
        kinds: The types to find; the search does not descend into their instances.
    """
    found: dict[int, Any] = {}
    seen: set[int] = set()
    stack = [value]
    while stack:
        item = stack.pop()
        kind = type(item)
        if issubclass(kind, kinds):
            found[id(item)] = item
        elif id(kind) not in ATOMIC_IDS and id(item) not in seen:
            seen.add(id(item))
            parts = parts_of(item)
            if parts and not is_plain(parts):
                stack.extend(reversed(parts))
    return list(found.values())


def replace(value: Any, kinds: tuple[type, ...], replacement: Callable[[Any], Any]) -> Any:
    """Return the value with all instances of the given types replaced, at any depth.

    Args:
        value: Never modified: the containers around a replacement are copied.
        kinds: The types to replace.
        replacement: Returns the replacement of an instance.
    """
    if not find(value, kinds):
        return value
    root = _Open(value, (value,))
    stack = [root]
    known: dict[int, Any] = {}
    """The results for finished containers, so that each is copied once."""
    above: set[int] = set()
    while True:
        frame = stack[-1]
        if len(frame.fresh) == len(frame.parts):
            stack.pop()
            if not stack:
                return frame.fresh[0]
            above.discard(id(frame.value))
            known[id(frame.value)] = fresh = _with_parts(frame.value, frame.parts, frame.fresh)
            stack[-1].fresh.append(fresh)
            continue
        part = frame.parts[len(frame.fresh)]
        kind = type(part)
        if issubclass(kind, kinds):
            frame.fresh.append(replacement(part))
        elif id(kind) in ATOMIC_IDS or id(part) in above:  # a value may contain itself
            frame.fresh.append(part)
        elif id(part) in known:
            frame.fresh.append(known[id(part)])
        else:
            parts = parts_of(part)
            if not parts or is_plain(parts):
                frame.fresh.append(part)
            else:
                above.add(id(part))
                stack.append(_Open(part, parts))


class _Open:
    """A container whose parts are being replaced.

    Attributes:
        value: The container.
        parts: Its parts.
        fresh: The replacements of its first parts.
    """

    __slots__ = ("fresh", "parts", "value")

    def __init__(self, value: Any, parts: Sequence[Any]) -> None:
        self.value = value
        self.parts = parts
        self.fresh: list[Any] = []


def _with_parts(value: Any, parts: Sequence[Any], fresh: list[Any]) -> Any:
    """Return the container itself if its parts are unchanged, else a copy with the new parts."""
    if all(new is old for new, old in zip(fresh, parts, strict=True)):
        return value
    return _rebuilt(value, fresh)


def parts_of(value: Any) -> Sequence[Any]:
    """Return the parts of a value if the traversal descends into its type; else none."""
    kind = type(value)
    if issubclass(kind, dict):
        return list(dict.values(value))
    if issubclass(kind, list):
        return list.__getitem__(value, slice(None))
    if issubclass(kind, tuple):
        return tuple.__getitem__(value, slice(None))
    if issubclass(kind, set):
        return list(set.__iter__(value))
    if issubclass(kind, frozenset):
        return list(frozenset.__iter__(value))
    fields = fields_of(kind)
    return [part for _, part in read_fields(value, fields)] if fields else ()


def _rebuilt(value: Any, parts: list[Any]) -> Any:
    """Copy a container with new parts."""
    kind = type(value)
    if issubclass(kind, dict):
        fresh = _blank(value, dict)
        _fill(fresh, value, parts)
    elif issubclass(kind, list):
        fresh = [] if issubclass(kind, HeldList) else _blank(value, list)
        list.__setitem__(fresh, slice(None), parts)
    elif issubclass(kind, set):
        fresh = _blank(value, set)
        set.clear(fresh)
        set.update(fresh, parts)
    elif issubclass(kind, (tuple, frozenset)):
        base: Any = tuple if issubclass(kind, tuple) else frozenset
        fresh = base.__new__(kind, parts)
        copy_attributes(value, fresh)
    else:
        fresh = _blank(value, object)
        attributes = None
        for (field, _), part in zip(read_fields(value, fields_of(kind)), parts, strict=True):
            if field.slot is not None:
                field.slot.__set__(fresh, part)
                continue
            # Frozen dataclasses and models refuse setattr, so the copy's `__dict__` is filled.
            attributes = attributes or object.__getattribute__(fresh, "__dict__")
            attributes[field.name] = part
    return fresh


def _fill(fresh: Any, value: Any, parts: list[Any]) -> None:
    """Give a new dictionary the keys of another one, with new values."""
    pairs = zip(dict.__iter__(value), parts, strict=True)
    if not issubclass(type(value), OrderedDict):
        dict.update(fresh, pairs)
        return
    by_key = dict(pairs)
    for key in OrderedDict.__iter__(value):  # it stores its order separately
        OrderedDict.__setitem__(fresh, key, by_key[key])


def _blank(value: Any, base: Any) -> Any:
    """Return an instance of the value's class with its attributes, without its own copy method.

    That method could do anything: load lazy data, validate, count, refuse.
    """
    try:
        fresh = base.__new__(type(value))
    except TypeError:  # a class written in C, or derived from one, needs its own constructor
        from copy import copy  # noqa: PLC0415 - rarely needed

        return copy(value)
    copy_attributes(value, fresh)
    return fresh
