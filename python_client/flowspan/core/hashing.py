"""Hashes of values that are the same in every process.

Plain values, containers, dates, enums, dataclasses, pydantic models and functions are hashed by
what they are; anything else by its pickle. Values of different types have different hashes: 1 and
1.0, a list and a tuple.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from hashlib import sha256
from pathlib import PurePath
from types import FunctionType, MethodType, ModuleType
from typing import Any
from uuid import UUID

from flowspan.exceptions import HashError

_SCALARS = frozenset({type(None), bool, int, float, complex, str, bytes})
_BY_REPR = frozenset({date, datetime, time, timedelta, Decimal, UUID, bytearray, range, slice})
_MAX_DEPTH = 200

_Update = Callable[[bytes], None]


def stable_hash(value: Any, pickled: Callable[[Any], bytes]) -> str:
    """The hash of a value, as 32 hex digits.

    Args:
        value: Anything.
        pickled: Gives the pickle of what has no other form.

    Raises:
        HashError: A part of it cannot be hashed; the message says of which type.
    """
    digest = sha256()
    _feed(digest.update, value, pickled, 0)
    return digest.hexdigest()[:32]


def source_of(fn: Callable[..., Any]) -> str:
    """The source of a function; its bytecode, or else its name, where there is none."""
    function: Any = inspect.unwrap(getattr(fn, "__func__", fn))
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        code = getattr(function, "__code__", None)
        if code is not None:
            return repr((code.co_code, _constants(code), code.co_names))
        module = getattr(function, "__module__", type(function).__module__)
        return f"{module}.{getattr(function, '__qualname__', type(function).__qualname__)}"


def _constants(code: Any) -> tuple[Any, ...]:
    # The repr of a code object has its address in it.
    return tuple(c.co_code if hasattr(c, "co_code") else c for c in code.co_consts)


def _feed(update: _Update, value: Any, pickled: Callable[[Any], bytes], depth: int) -> None:
    kind = type(value)
    if kind in _SCALARS or kind in _BY_REPR:
        update(f"{kind.__name__}:{value!r};".encode())
        return
    if depth > _MAX_DEPTH:
        raise HashError("it is nested too deeply, or holds itself")
    update(f"{kind.__module__}.{kind.__qualname__}(".encode())
    if isinstance(value, (list, tuple)):
        _feed_items(update, value, pickled, depth)
    elif isinstance(value, dict):
        pairs = [(_digest(k, pickled, depth), _digest(v, pickled, depth)) for k, v in value.items()]
        for key, part in sorted(pairs):
            update(key + part)
    elif isinstance(value, (set, frozenset)):
        for part in sorted(_digest(item, pickled, depth) for item in value):
            update(part)
    else:
        _feed_object(update, value, pickled, depth)
    update(b")")


def _feed_items(
    update: _Update, value: Iterable[Any], pickled: Callable[[Any], bytes], depth: int
) -> None:
    if _SCALARS.issuperset(map(type, value)):
        update(repr(list(value)).encode())  # fast, for long lists of plain values
        return
    for item in value:
        _feed(update, item, pickled, depth + 1)


def _feed_object(update: _Update, value: Any, pickled: Callable[[Any], bytes], depth: int) -> None:
    kind = type(value)
    fields = getattr(kind, "__dataclass_fields__", None) or getattr(
        kind, "__pydantic_fields__", None
    )
    if isinstance(value, Enum):
        update(value.name.encode())
    elif isinstance(value, (PurePath, ModuleType)):
        update(str(value).encode())
    elif isinstance(value, type):
        update(f"{value.__module__}.{value.__qualname__}".encode())
    elif isinstance(value, FunctionType):
        update(f"{value.__qualname__}:{source_of(value)}".encode())
        for cell in value.__closure__ or ():
            _feed(update, _content(cell), pickled, depth + 1)
    elif isinstance(value, MethodType):
        _feed(update, value.__func__, pickled, depth + 1)
        _feed(update, value.__self__, pickled, depth + 1)
    elif fields and not isinstance(value, type):
        for name in fields:
            update(name.encode() + b"=")
            _feed(update, getattr(value, name, None), pickled, depth + 1)
        extra = getattr(value, "__pydantic_extra__", None)
        if extra:
            _feed(update, extra, pickled, depth + 1)
    else:
        update(_pickle(value, pickled))


def _digest(value: Any, pickled: Callable[[Any], bytes], depth: int) -> bytes:
    digest = sha256()
    _feed(digest.update, value, pickled, depth + 1)
    return digest.digest()


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not yet assigned
        return None


def _pickle(value: Any, pickled: Callable[[Any], bytes]) -> bytes:
    try:
        return pickled(value)
    except Exception as error:
        kind = type(value)
        raise HashError(
            f"a value of type {kind.__module__}.{kind.__qualname__} cannot be hashed, since it "
            f"cannot be pickled ({type(error).__name__}: {error})"
        ) from error
