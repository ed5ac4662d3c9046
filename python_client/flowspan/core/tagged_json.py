"""JSON of Python values that come back as what they were.

What JSON does not know is written as an object with two entries, its type and its value::

    {"$python": "datetime.date", "value": "2026-03-01"}

Only a fixed set of types, dataclasses, pydantic models and enums are made of such objects: reading
JSON never calls anything else.
"""

from __future__ import annotations

import importlib
import json
from binascii import a2b_base64, b2a_base64
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TAG = "$python"
_KEYS = frozenset({TAG, "value"})


def dumps(
    value: Any, encoder: Callable[[Any], Any], options: Mapping[str, Any] | None = None
) -> bytes:
    """The value as JSON in UTF-8.

    Args:
        value: Anything that JSON knows or the encoder can put in such terms.
        encoder: Called with what JSON does not know.
        options: Further arguments of json.dumps.

    Raises:
        TypeError: JSON cannot hold it.
    """
    return json.dumps(value, **{"default": encoder, **(options or {})}).encode()


def loads(
    data: bytes, decoder: Callable[[dict[str, Any]], Any], options: Mapping[str, Any] | None = None
) -> Any:
    """The value of JSON in UTF-8; see `dumps`."""
    return json.loads(data, **{"object_hook": decoder, **(options or {})})


def encode(value: Any) -> Any:
    """A value in terms of JSON.

    Raises:
        TypeError: It is of no type that can be written.
    """
    kind = type(value)
    write = _WRITERS.get(kind)
    if write is not None:
        return {TAG: f"{kind.__module__}.{kind.__name__}", "value": write(value)}
    if isinstance(value, PurePath):
        return {TAG: "path", "value": str(value)}
    if isinstance(value, Enum):
        return {TAG: _name_of(kind), "value": value.value}
    if hasattr(kind, "model_dump") and hasattr(kind, "model_validate"):
        return {TAG: _name_of(kind), "value": value.model_dump(mode="json")}
    fields = getattr(kind, "__dataclass_fields__", None)
    if fields is not None:
        parts = {name: getattr(value, name) for name in fields if hasattr(value, name)}
        return {TAG: _name_of(kind), "value": parts}
    raise TypeError(f"{kind.__module__}.{kind.__qualname__} has no form in JSON")


def decode(found: dict[str, Any]) -> Any:
    """What an object that was read stands for; itself, if it is an ordinary one.

    Raises:
        ValueError: It is of a type that is not there, or that is not made of JSON.
    """
    if found.keys() != _KEYS or not isinstance(found[TAG], str):
        return found
    name, value = found[TAG], found["value"]
    read = _READERS.get(name)
    if read is not None:
        return read(value)
    return _made(_class_of(name), value)


def _made(kind: Any, value: Any) -> Any:
    if issubclass(kind, Enum):
        return kind(value)
    if hasattr(kind, "model_validate"):
        return kind.model_validate(value)
    fields = getattr(kind, "__dataclass_fields__", None)
    if fields is None:
        raise ValueError(f"{_name_of(kind)} is not made of JSON")
    made = kind(**{name: value[name] for name in fields if fields[name].init and name in value})
    for name in fields:
        if not fields[name].init and name in value:
            object.__setattr__(made, name, value[name])  # it may be frozen
    return made


def _name_of(kind: type) -> str:
    if "<locals>" in kind.__qualname__:
        raise TypeError(f"{kind.__qualname__} is defined in a function, where nobody can find it")
    return f"{kind.__module__}:{kind.__qualname__}"


def _class_of(name: str) -> type:
    module, _, path = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{name} is not here: {error}") from error
    if not isinstance(found, type):
        raise ValueError(f"{name} is no class")
    return found


_WRITERS: dict[type, Callable[[Any], Any]] = {
    bytes: lambda value: b2a_base64(value, newline=False).decode(),
    bytearray: lambda value: b2a_base64(value, newline=False).decode(),
    complex: lambda value: [value.real, value.imag],
    date: date.isoformat,
    datetime: datetime.isoformat,
    time: time.isoformat,
    timedelta: lambda value: [value.days, value.seconds, value.microseconds],
    Decimal: str,
    UUID: str,
    set: list,
    frozenset: list,
}

_READERS: dict[str, Callable[[Any], Any]] = {
    "builtins.bytes": a2b_base64,
    "builtins.bytearray": lambda value: bytearray(a2b_base64(value)),
    "builtins.complex": lambda value: complex(*value),
    "builtins.set": set,
    "builtins.frozenset": frozenset,
    "datetime.date": date.fromisoformat,
    "datetime.datetime": datetime.fromisoformat,
    "datetime.time": time.fromisoformat,
    "datetime.timedelta": lambda value: timedelta(*value),
    "decimal.Decimal": Decimal,
    "path": Path,
    "uuid.UUID": UUID,
}
