"""Finding things inside of nested values: futures and states in arguments and in what is returned.

Looked into are lists, tuples, sets, the values of dictionaries, the fields of dataclasses and of
pydantic models; subclasses by what they store, whatever methods they have. Everything else is a
leaf. No code of a value's class runs here (see `values.inspection`). Values without anything to
find are returned as they are, the same objects. There is no recursion: values may be nested deeply.
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
"""Types whose values hold nothing else: the fast path."""

ATOMIC_IDS: frozenset[int] = frozenset(map(id, ATOMIC))
"""Their identities: a class may have a hash of its own, by its metaclass, or none at all."""


class HeldList(list[Any]):
    """A list whose class belongs to what it holds: with other items it is a plain list."""

    __slots__ = ()


def is_plain(values: Iterable[Any]) -> bool:
    """True if all values are of types that hold nothing else. Fast: it sees every argument."""
    try:
        return ATOMIC.issuperset(map(type, values))
    except Exception:  # noqa: BLE001 - a class without a hash; looked at one by one then
        return False


def find(value: Any, kinds: tuple[type, ...]) -> list[Any]:
    """Return all instances of the kinds in a value, in order, each object once.

    Args:
        value: Where to look.
        kinds: What to look for; not looked into.
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
    """Return the value with all instances of the kinds replaced, at any depth.

    Args:
        value: Left unchanged: where something is replaced, the containers around it are copied.
        kinds: What is replaced.
        replacement: Gives what to put in its place.
    """
    if not find(value, kinds):
        return value
    root = _Open(value, (value,))
    stack = [root]
    known: dict[int, Any] = {}
    """What became of the containers that are done, so that each is copied once."""
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
        elif id(kind) in ATOMIC_IDS or id(part) in above:  # a value may hold itself
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
        parts: What it holds.
        fresh: What the first of its parts were replaced by.
    """

    __slots__ = ("fresh", "parts", "value")

    def __init__(self, value: Any, parts: Sequence[Any]) -> None:
        self.value = value
        self.parts = parts
        self.fresh: list[Any] = []


def _with_parts(value: Any, parts: Sequence[Any], fresh: list[Any]) -> Any:
    """Return the container itself if its parts are the same, else a copy with the fresh ones."""
    if all(new is old for new, old in zip(fresh, parts, strict=True)):
        return value
    return _rebuilt(value, fresh)


def parts_of(value: Any) -> Sequence[Any]:
    """Return what a value holds, if it is of a kind that is looked into."""
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
    """Copy a container with other parts."""
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
            # Frozen dataclasses and models refuse setattr; the copy is ours to fill in.
            attributes = attributes or object.__getattribute__(fresh, "__dict__")
            attributes[field.name] = part
    return fresh


def _fill(fresh: Any, value: Any, parts: list[Any]) -> None:
    """Give a new dictionary the keys of another one, with other values."""
    pairs = zip(dict.__iter__(value), parts, strict=True)
    if not issubclass(type(value), OrderedDict):
        dict.update(fresh, pairs)
        return
    by_key = dict(pairs)
    for key in OrderedDict.__iter__(value):  # it has an order of its own
        OrderedDict.__setitem__(fresh, key, by_key[key])


def _blank(value: Any, base: Any) -> Any:
    """Make an instance of the value's class with its attributes, without its own copying.

    That could do anything: load what is loaded lazily, check, count, refuse.
    """
    try:
        fresh = base.__new__(type(value))
    except TypeError:  # a class made in C, or derived from one: only that knows how
        from copy import copy  # noqa: PLC0415 - rare

        return copy(value)
    copy_attributes(value, fresh)
    return fresh
