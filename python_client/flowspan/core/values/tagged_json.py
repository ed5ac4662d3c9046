"""JSON that restores Python values with their types.

A value of a type that JSON lacks is written as an object with two entries, type and value::

    {"$python": "datetime.date", "value": "2026-03-01"}

Such objects restore only a fixed set of types, named tuples, dataclasses, pydantic models, enums
and numpy scalars: reading JSON never calls anything else. Writing refuses values that would not be
restored exactly, with two exceptions: tuples come back as lists, and keys as strings.
"""

from __future__ import annotations

import importlib
import json
from binascii import a2b_base64, b2a_base64
from collections import Counter, OrderedDict, deque
from contextlib import suppress
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from pickle import PicklingError
from types import BuiltinFunctionType
from typing import TYPE_CHECKING, Any
from uuid import UUID, SafeUUID

from flowspan.core.failures import summary
from flowspan.core.keys.hashing import Hasher
from flowspan.core.values import set_fields
from flowspan.core.values.inspection import declared_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

TAG = "$python"
_KEYS = frozenset({TAG, "value"})
_ATOMS = frozenset({type(None), bool, int, float, str})
_TUPLE = "builtins.tuple"
_MEMBER = "enum member"
_SET_FIELDS = "pydantic/"
"""Prefix of the name of a model that is written together with its set fields."""
_PATH_TYPES = {PurePosixPath: "pathlib.PurePosixPath", PureWindowsPath: "pathlib.PureWindowsPath"}


def dumps(value: Any, options: Mapping[str, Any] | None = None, library: Any = json) -> bytes:
    """Return a value as JSON in UTF-8.

    Args:
        value: A value of the supported types.
        options: Additional arguments for the library's `dumps`.
        library: The JSON library: json, or a compatible module (orjson).

    Raises:
        TypeError: JSON cannot hold it, or it would not be restored exactly.
        ValueError: It is circular or nested too deeply.
    """
    writer = _Writer()
    try:
        written = library.dumps(writer.plain(value), **(options or {}))
        data: bytes = written.encode() if isinstance(written, str) else written
    except RecursionError:
        raise ValueError("it is nested too deeply, or contains itself") from None
    if writer.is_to_be_checked:
        _check(value, data)
    return data


def loads(
    data: bytes,
    decoder: Callable[[dict[str, Any]], Any] | None,
    options: Mapping[str, Any] | None = None,
    library: Any = json,
) -> Any:
    """Return the value of JSON in UTF-8.

    Args:
        data: The JSON.
        decoder: Called with each object (a dictionary): `decode`; None restores no types.
        options: Additional arguments for the library's `loads`.
        library: The JSON library.
    """
    if library is json:
        return json.loads(data, **{"object_hook": decoder, **(options or {})})
    found = library.loads(data, **(options or {}))
    return found if decoder is None else _decoded(found, decoder)


def _decoded(found: Any, decoder: Callable[[dict[str, Any]], Any]) -> Any:
    """Decode the objects of a library that has no `object_hook`."""
    if type(found) is list:
        return [_decoded(item, decoder) for item in found]
    if type(found) is dict:
        return decoder({key: _decoded(item, decoder) for key, item in found.items()})
    return found


def decode(found: dict[str, Any]) -> Any:
    """Return the value of a tagged object; an ordinary object is returned unchanged.

    Raises:
        ValueError: Its type does not exist here, or cannot be restored from JSON.
    """
    if found.keys() != _KEYS or not isinstance(found[TAG], str):
        return found
    name, value = found[TAG], found["value"]
    read = _READERS.get(name)
    if read is not None:
        return read(value)
    if name.startswith(_SET_FIELDS):
        model = _validated(_class_of(name.removeprefix(_SET_FIELDS)), value["fields"])
        return set_fields.apply(model, value["set"])
    return _made(_class_of(name), value)


class _Writer:
    """Conversion of values to JSON terms.

    Attributes:
        is_to_be_checked: True if the value contains a dataclass, whose constructor may do anything:
            then the JSON is read back and compared.
    """

    def __init__(self) -> None:
        self.is_to_be_checked = False

    def plain(self, value: Any, *, is_hashed: bool = False) -> Any:
        """Return a value in JSON terms.

        Args:
            value: The value.
            is_hashed: Tag tuples so that they are restored: sets cannot contain lists.

        Raises:
            TypeError: Its type is not supported.
        """
        kind = type(value)
        if kind in _ATOMS:
            return value
        if kind is list or (kind is tuple and not is_hashed):
            return self._items(value)
        if kind is tuple:
            return _tagged(_TUPLE, self._items(value, is_hashed=True))
        if kind is dict:
            return self._mapping(value)
        if kind is set or kind is frozenset:
            return _tagged(f"builtins.{kind.__name__}", self._items(value, is_hashed=True))
        write = _WRITERS.get(kind)
        if write is not None:
            return _tagged(f"{kind.__module__}.{kind.__name__}", write(value))
        return self._object(value, kind)

    def _items(self, values: Iterable[Any], *, is_hashed: bool = False) -> list[Any]:
        items = list(values)
        if _ATOMS.issuperset(map(type, items)):
            return items
        return [self.plain(item, is_hashed=is_hashed) for item in items]

    def _mapping(self, value: dict[Any, Any]) -> Any:
        if all(type(key) is str for key in value):
            made = {key: self.plain(item) for key, item in value.items()}
            if value.keys() != _KEYS:
                return made
            return _tagged("builtins.dict", [[key, made[key]] for key in made])
        texts = [_text_of(key) for key in value]
        if len(set(texts)) < len(texts):
            raise TypeError("two keys of a dictionary would be the same text")
        return dict(zip(texts, map(self.plain, value.values()), strict=True))

    def _object(self, value: Any, kind: Any) -> Any:
        if kind is OrderedDict or kind is Counter:
            _refuse_attributes(value)
            pairs = [[self.plain(k, is_hashed=True), self.plain(v)] for k, v in value.items()]
            return _tagged(f"collections.{kind.__name__}", pairs)
        if kind is deque:
            return _tagged("collections.deque", [self._items(value), value.maxlen])
        if issubclass(kind, PurePath):
            return _tagged(_name_of_path(kind), str(value))
        if issubclass(kind, Enum):
            return _tagged(_name_of(kind), _value_of_member(value, kind))
        if f"{kind.__module__}:{kind.__name__}" in _READERS:
            return _tagged(f"numpy:{kind.__name__}", _item_of(value, kind))
        if issubclass(kind, tuple) and hasattr(kind, "_make") and hasattr(kind, "_fields"):
            _refuse_attributes(value)
            return _tagged(_name_of(kind), self._items(tuple.__iter__(value), is_hashed=True))
        if hasattr(kind, "model_dump") and hasattr(kind, "model_validate"):
            return _dumped_model(value, kind)
        fields = declared_fields(kind)
        if fields is not None and not _holds_more_than_attributes(kind):
            self.is_to_be_checked = True
            parts = {name: getattr(value, name) for name in fields if hasattr(value, name)}
            return _tagged(_name_of(kind), {name: self.plain(parts[name]) for name in parts})
        raise TypeError(_no_form(kind))


def _check(value: Any, data: bytes) -> None:
    """Check that JSON restores the value that it was written from.

    Raises:
        TypeError: It does not.
    """
    try:
        found = loads(data, decode)
    except Exception as error:
        raise TypeError(f"it could not be read back ({summary(error)})") from error
    if not _is_alike(value, found):
        raise TypeError("it would not be restored unchanged: a part of it is not written")


def _is_alike(value: Any, other: Any) -> bool:
    # `==` may be overridden, and ignores differences in type.
    return Hasher(is_json=True).hash(value) == Hasher(is_json=True).hash(other)


def _dumped_model(value: Any, kind: Any) -> Any:
    """Return the tagged object of a pydantic model: its fields, with the set fields if necessary.

    Validation marks all given fields as set, so the set fields are written only if they differ.
    Results of earlier versions have none.

    Raises:
        TypeError: It would not be restored exactly: a field is excluded, a value is changed, a
            private attribute is set.
    """
    name = _name_of(kind)
    problem = "a part of it is not written"
    for by_alias in (False, True):
        try:
            dumped = value.model_dump(mode="json", by_alias=by_alias, round_trip=True)
            found = _validated(kind, json.loads(json.dumps(dumped)))
            if _is_alike(value, found):
                return _tagged(name, dumped)
            marks = set_fields.differing(value, found)
            if marks and _is_alike(value, set_fields.apply(found, marks)):
                return _tagged(f"{_SET_FIELDS}{name}", {"fields": dumped, "set": marks})
        except Exception as error:  # noqa: BLE001 - validators are user code
            problem = summary(error)
    shown = f"{kind.__module__}.{kind.__qualname__}"
    raise TypeError(f"the model {shown} would not be restored unchanged ({problem})")


def _refuse_attributes(value: Any) -> None:
    """Refuse a container that has attributes in addition to its items.

    Raises:
        TypeError: It has some.
    """
    if getattr(value, "__dict__", None):
        kind = type(value)
        raise TypeError(
            f"a {kind.__module__}.{kind.__qualname__} has attributes, which JSON cannot hold"
        )


def _holds_more_than_attributes(kind: type) -> bool:
    """Return True if a base class is written in C (list, exception): it holds more than fields."""
    return any(
        type(vars(base).get("__new__")) is BuiltinFunctionType
        for base in kind.__mro__
        if base is not object
    )


def _made(kind: Any, value: Any) -> Any:
    if issubclass(kind, Enum):
        return kind[value[_MEMBER]] if isinstance(value, dict) else kind(value)
    if hasattr(kind, "model_validate"):
        return _validated(kind, value)
    if issubclass(kind, tuple) and hasattr(kind, "_make"):
        return kind._make(value)
    fields = declared_fields(kind)
    if fields is None:
        raise ValueError(f"{kind.__module__}:{kind.__qualname__} cannot be restored from JSON")
    made = kind(**{name: value[name] for name in fields if fields[name].init and name in value})
    for name in fields:
        if fields[name].init or name not in value:
            continue
        if not hasattr(made, name) or not _is_alike(getattr(made, name), value[name]):
            object.__setattr__(made, name, value[name])  # it may be frozen
    return made


def _validated(kind: Any, value: Any) -> Any:
    """Return a model from its fields, named by alias or, if that fails, by field name."""
    try:
        return kind.model_validate(value)
    except ValueError as error:
        try:
            return kind.model_validate(value, by_alias=False, by_name=True)
        except TypeError:  # pydantic before 2.11 has no such option
            raise error from None


def _tagged(name: str, value: Any) -> dict[str, Any]:
    return {TAG: name, "value": value}


def _text_of(key: Any) -> str:
    """Return the text of a key in JSON.

    Raises:
        TypeError: JSON has no text for it.
    """
    if type(key) is str:
        return key
    if key is None or type(key) in {bool, int, float}:
        return json.dumps(key)
    raise TypeError(f"a key of a dictionary is of type {type(key).__name__}, not a string")


def _value_of_member(member: Any, kind: Any) -> Any:
    """Return the value of an enum member if it is plain and leads back to it; else its name."""
    value = member._value_
    if type(value) in _ATOMS and value == value:  # NaN cannot be looked up
        with suppress(ValueError):
            if issubclass(kind, Flag) or kind(value) is member:
                return value
    return {_MEMBER: member._name_}


def _item_of(value: Any, kind: type) -> Any:
    item = value.item()
    if type(item) not in _ATOMS or type(kind(item)) is not kind:
        raise TypeError(_no_form(kind))
    return item


def _name_of_path(kind: type) -> str:
    if kind is type(Path()):
        return "path"
    if kind not in _PATH_TYPES:
        raise TypeError(_no_form(kind))
    return _PATH_TYPES[kind]


def _no_form(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__} has no JSON form that would restore it"


def _name_of(kind: type) -> str:
    if "<locals>" in kind.__qualname__:
        raise TypeError(f"{kind.__qualname__} is defined in a function, so it cannot be imported")
    name = f"{kind.__module__}:{kind.__qualname__}"
    try:
        found: Any = _class_of(name)
    except ValueError as error:
        raise TypeError(f"its class cannot be imported again: {error}") from None
    if found is not kind:
        raise TypeError(f"{name} is a different class now")
    return name


def _class_of(name: str) -> type:
    module, _, path = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{name} cannot be imported: {error}") from error
    if not isinstance(found, type):
        raise ValueError(f"{name} is not a class")
    return found


def _write_time(value: Any) -> Any:
    """Return a datetime or time as text, or as an object if ISO 8601 would lose something.

    Raises:
        TypeError: Its time zone has no JSON form.
    """
    zone = value.tzinfo
    if value.fold == 0 and (zone is None or _has_offset_alone(zone)):
        return value.isoformat()
    local = value.replace(tzinfo=None).isoformat()
    return {"local": local, "fold": value.fold, "zone": _write_zone(zone)}


def _has_offset_alone(zone: Any) -> bool:
    """Return True for a time zone that is only an offset, as ISO 8601 can express."""
    if type(zone) is not timezone:
        return False
    if zone.utcoffset(None).microseconds:  # Python 3.11 misreads some of those
        return False
    return zone.tzname(None) == timezone(zone.utcoffset(None)).tzname(None)


def _write_zone(zone: Any) -> Any:
    if zone is None:
        return None
    if type(zone) is timezone:
        offset = zone.utcoffset(None)
        name = None if zone.tzname(None) == timezone(offset).tzname(None) else zone.tzname(None)
        return [offset.days, offset.seconds, offset.microseconds, name]
    if type(zone).__module__.partition(".")[0] == "zoneinfo" and zone.key is not None:
        try:
            zone.__reduce__()
        except PicklingError:
            raise TypeError(f"the time zone {zone!r} is from a file and has no JSON form") from None
        return zone.key
    raise TypeError(f"the time zone {zone!r} cannot be represented in JSON")


def _write_uuid(value: UUID) -> Any:
    return str(value) if value.is_safe is SafeUUID.unknown else [str(value), value.is_safe.name]


def _read_uuid(value: Any) -> UUID:
    if isinstance(value, str):
        return UUID(value)
    text, is_safe = value
    return UUID(text, is_safe=SafeUUID[is_safe])


def _read_zone(zone: Any) -> Any:
    if isinstance(zone, str):
        from zoneinfo import ZoneInfo  # noqa: PLC0415 - rarely needed

        return ZoneInfo(zone)
    if zone is None:
        return None
    *offset, name = zone
    return timezone(timedelta(*offset)) if name is None else timezone(timedelta(*offset), name)


def _time_reader(kind: Any) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if isinstance(value, str):
            return kind.fromisoformat(value)
        local = kind.fromisoformat(value["local"])
        return local.replace(fold=value["fold"], tzinfo=_read_zone(value["zone"]))

    return read


def _read_numpy(name: str) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        return getattr(importlib.import_module("numpy"), name)(value)

    return read


_WRITERS: dict[type, Callable[[Any], Any]] = {
    bytes: lambda value: b2a_base64(value, newline=False).decode(),
    bytearray: lambda value: b2a_base64(value, newline=False).decode(),
    complex: lambda value: [value.real, value.imag],
    date: date.isoformat,
    datetime: _write_time,
    time: _write_time,
    timedelta: lambda value: [value.days, value.seconds, value.microseconds],
    Decimal: str,
    UUID: _write_uuid,
}

_NUMPY_SCALARS = (
    *("bool", "bool_", "float16", "float32", "float64", "str_"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
)

_READERS: dict[str, Callable[[Any], Any]] = {
    "builtins.bytes": a2b_base64,
    "builtins.bytearray": lambda value: bytearray(a2b_base64(value)),
    "builtins.complex": lambda value: complex(*value),
    "builtins.dict": dict,
    "builtins.frozenset": frozenset,
    "builtins.set": set,
    _TUPLE: tuple,
    "collections.Counter": lambda value: Counter(dict(value)),
    "collections.OrderedDict": OrderedDict,
    "collections.deque": lambda value: deque(*value),
    "datetime.date": date.fromisoformat,
    "datetime.datetime": _time_reader(datetime),
    "datetime.time": _time_reader(time),
    "datetime.timedelta": lambda value: timedelta(*value),
    "decimal.Decimal": Decimal,
    "path": Path,
    "pathlib.PurePosixPath": PurePosixPath,
    "pathlib.PureWindowsPath": PureWindowsPath,
    "uuid.UUID": _read_uuid,
    **{f"numpy:{name}": _read_numpy(name) for name in _NUMPY_SCALARS},
}
