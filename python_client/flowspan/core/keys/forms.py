"""Decomposition of values into hashable forms; see `flowspan.core.keys.hashing`.

A form is a list of parts whose first part is the kind of the value, or a short text if there is
nothing to decompose. Of a value's own code, only its pickling methods are called.
"""

from __future__ import annotations

import copyreg
import functools
import sys
from collections import OrderedDict
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag
from itertools import count
from pathlib import PurePath
from types import (
    BuiltinFunctionType,
    CellType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MappingProxyType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import TYPE_CHECKING, Any
from uuid import UUID
from weakref import ref

from flowspan.core.keys import tables as hash_tables
from flowspan.core.keys.bytecode import parts_of_code
from flowspan.core.keys.function_state import (
    attributes_of_cached,
    attributes_of_definition,
    definition_attributes_held,
    held,
)
from flowspan.core.keys.functions import Named, form_of_class, form_of_function, form_of_method
from flowspan.core.keys.object_state import (
    Traits,
    dumped,
    fields_of,
    generated_state,
    raw_state,
    reduced,
    unknown_state,
)
from flowspan.core.keys.parts import MAPPING, ORDERED, UNORDERED, Form
from flowspan.core.keys.qualified_names import is_of_any_program, is_of_library, module_name
from flowspan.core.values.annotations import NotSet
from flowspan.exceptions import HashError

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.core.keys.hashing import Hasher

__all__ = ["MAPPING", "ORDERED", "UNORDERED", "Form", "Named", "form_of"]

_newobj: Any = vars(copyreg)["__newobj__"]

_CACHED: Any = type(functools.lru_cache(len))

_BY_REPR = frozenset({date, timedelta, Decimal, UUID, bytearray, range, count})
_PATHS = frozenset({PurePath, *PurePath.__subclasses__(), *type(PurePath()).__subclasses__()})
_WITHOUT_CONTENT = frozenset(
    {
        *(("_thread", "lock"), ("_thread", "RLock"), ("threading", "Event")),
        *(("threading", "Condition"), ("threading", "Semaphore"), ("threading", "Barrier")),
        *(("threading", "BoundedSemaphore"), ("asyncio.locks", "BoundedSemaphore")),
        *(("asyncio.locks", "Lock"), ("asyncio.locks", "Event"), ("asyncio.locks", "Condition")),
        *(("asyncio.locks", "Semaphore"),),
    }
)
"""Synchronization primitives. Only their type counts, as they do not affect results."""


def form_of(value: Any, kind: type, hasher: Hasher) -> Form | bytes:
    """Return the form of a value.

    Raises:
        HashError: The value cannot be decomposed.
    """
    make = _FORMS.get(kind)
    if make is not None:
        return make(value, hasher)
    if kind in _BY_REPR:
        return f"{kind.__name__}:{value!r}".encode()
    if issubclass(kind, type):
        return form_of_class(value, hasher)
    if issubclass(kind, Enum):
        return _form_of_enum(value, kind)
    if hasher.traits_of(kind).is_definition:
        return _form_of_definition(value, hasher)
    make_table = hash_tables.FORMS.get((kind.__module__.partition(".")[0], kind.__name__))
    if make_table is not None:
        return Form(make_table(value))
    return _form_of_object(value, kind, hasher)


def _form_of_list(value: Any, hasher: Hasher) -> Form:
    return Form([list if hasher.is_json else type(value), *value])


def _form_of_dict(value: Any, hasher: Hasher) -> Form:
    parts: list[Any] = [dict]
    for key, item in list(value.items()):
        parts += [_json_key(key) if hasher.is_json else key, item]
    return Form(parts, MAPPING)


def _json_key(key: Any) -> Any:
    if key is None or type(key) is bool:
        return {None: "null", True: "true", False: "false"}[key]
    return str(key) if type(key) in {str, int, float} else key  # JSON does not restore subclasses


def _form_of_set(value: Any, _hasher: Hasher) -> Form:
    return Form([type(value), *value], UNORDERED)


def _form_of_time(value: Any, hasher: Hasher) -> Form:
    zone = value.tzinfo
    if hasher.is_json and zone is not None and not hasattr(zone, "key"):
        zone = value.utcoffset()  # the type of a fixed-offset zone does not matter
    return Form([type(value), value.replace(tzinfo=None).isoformat(), value.fold, zone])


def _form_of_module(value: Any, _hasher: Hasher) -> bytes:
    name = value.__name__
    if sys.modules.get(name) is not value:
        raise HashError(f"the module {name!r} differs from the one imported under this name")
    return b"module:" + module_name(name).encode()


def _form_of_builtin(value: Any, _hasher: Hasher) -> Form:
    owner = value.__self__
    if owner is None or type(owner) is ModuleType:
        return Form([BuiltinFunctionType, value.__module__, value.__qualname__])
    return Form([BuiltinFunctionType, value.__name__, owner])


def _form_of_descriptor(value: Any, _hasher: Hasher) -> Form:
    return Form([type(value), value.__objclass__, value.__name__])


def _form_of_enum(value: Any, kind: type) -> Form:
    # Flags count by value: a combination of flags may have no name.
    return Form([kind, value._value_ if issubclass(kind, Flag) else value._name_])


def _form_of_definition(value: Any, hasher: Hasher) -> Form:
    fields = vars(value)
    options = {}
    if hasher.first_seen is None:
        given = fields.get("options", {})
        unset = (None, NotSet)
        options = {n: given[n] for n in given if not any(given[n] is each for each in unset)}
    parts = [type(value), fields.get("name"), fields.get("fn"), options]
    attributes = attributes_of_definition(value)
    if attributes and hasher.first_seen is not None:
        attributes = definition_attributes_held(value, hasher)
    return Form([*parts, attributes] if attributes else parts)


def _form_of_object(value: Any, kind: type, hasher: Hasher) -> Form | bytes:
    traits = hasher.traits_of(kind)
    where = kind.__module__, kind.__qualname__
    if hasher.first_seen is not None and where in _WITHOUT_CONTENT:
        return ".".join(where).encode()
    if hasher.first_seen is not None and kind is ref:
        return Form([ref, held("weak reference", value(), hasher, is_changed=False)])
    if kind is _CACHED:
        return _form_of_cached(value, hasher)
    if kind is object:
        raise HashError("an object() has only its identity, which no other process knows")
    if traits.stands_for_anything:
        raise HashError(f"a {kind.__name__} is a mock, which has no content to hash")
    if kind in _PATHS:
        return Form([kind, str(value)])
    if issubclass(kind, (set, frozenset)):  # their pickles have no defined order
        items = set(value) if issubclass(kind, set) else frozenset(value)
        return Form([kind, items, unknown_state(value, traits)])
    if hasher.is_json and traits.is_dataclass:
        return Form([kind, {**fields_of(value), **raw_state(value, kind.__mro__, traits)}])
    state = _stated(value, kind, traits, hasher)
    if state is not None:
        return Form([kind, state])
    return _form_of_reduced(value, kind, traits)


def _stated(value: Any, kind: type, traits: Traits, hasher: Hasher) -> Any:
    """Return the state that pydantic, dataclasses or attrs declare for an object; None otherwise.

    A model's dump is used only in cache keys: a value read back from JSON must match in full.
    """
    said = None if hasher.is_json else dumped(value, traits)
    return generated_state(value, kind, traits) if said is None else said


def _form_of_reduced(value: Any, kind: type, traits: Traits) -> Form:
    """Decompose an object as pickle does."""
    found = reduced(value, kind, traits)
    if isinstance(found, str):
        module = _module_of_global(value, found)
        wrapped = getattr(value, "__wrapped__", None)
        if module is None and wrapped is None:
            raise HashError(
                f"{found!r} of type {kind.__module__}.{kind.__qualname__} is not found by its name"
            )
        return Form([kind, found, wrapped if module is None else module_name(module)])
    rest: tuple[Any, ...] = (*found, None, None, None)
    make, args, state, items, pairs = rest[:5]
    unknown = unknown_state(value, traits)
    if make is _newobj and len(args) == 1 and args[0] is kind and items is pairs is unknown is None:
        return Form([kind, state])  # the common case
    parts = [kind, make, args, state, None if items is None else list(items)]
    if pairs is not None:
        listed = list(pairs)
        parts.append(listed if issubclass(kind, OrderedDict) else dict(listed))
    parts.append(unknown)
    return Form(parts)


def _form_of_cached(value: Any, hasher: Hasher) -> Form:
    """Return the form of a function with `functools.lru_cache`, without the cache's contents."""
    name = value.__reduce__()
    module = _module_of_global(value, name)
    is_value = hasher.first_seen is None
    by_name = None if module is None else module_name(module)
    if module is not None and (
        is_of_library(module) or not (is_value or is_of_any_program(module))
    ):
        return Form([_CACHED, name, by_name])
    return Form([_CACHED, name, by_name, value.__wrapped__, attributes_of_cached(value, hasher)])


def _module_of_global(value: Any, name: str) -> str | None:
    """Return the module where an object is found under its name in pickles; else None."""
    module = getattr(value, "__module__", None) or type(value).__module__
    for candidate in (module, f"{module}._core"):  # numpy's functions are in _core
        found: Any = sys.modules.get(candidate) if isinstance(candidate, str) else None
        for step in name.split("."):
            found = getattr(found, step, None)
        if found is value:
            return str(candidate)
    return None


_FORMS: dict[type, Callable[[Any, Hasher], Form | bytes]] = {
    list: _form_of_list,
    tuple: _form_of_list,
    dict: _form_of_dict,
    set: _form_of_set,
    frozenset: _form_of_set,
    datetime: _form_of_time,
    time: _form_of_time,
    type: form_of_class,
    FunctionType: form_of_function,
    MethodType: form_of_method,
    BuiltinFunctionType: _form_of_builtin,
    ModuleType: _form_of_module,
    Form: lambda value, _: value,
    CodeType: lambda value, _: Form([CodeType, *parts_of_code(value)]),
    CellType: lambda value, _: Form([CellType, value.cell_contents]),
    slice: lambda value, _: Form([slice, value.start, value.stop, value.step]),
    memoryview: lambda value, _: Form([memoryview, value.format, value.shape, value.tobytes()]),
    MappingProxyType: lambda value, _: Form([MappingProxyType, dict(value)]),
    property: lambda value, _: Form([property, value.fget, value.fset, value.fdel]),
    classmethod: lambda value, _: Form([classmethod, value.__func__]),
    staticmethod: lambda value, _: Form([staticmethod, value.__func__]),
    MethodWrapperType: lambda value, _: Form([MethodWrapperType, value.__name__, value.__self__]),
    GetSetDescriptorType: _form_of_descriptor,
    MemberDescriptorType: _form_of_descriptor,
    MethodDescriptorType: _form_of_descriptor,
    WrapperDescriptorType: _form_of_descriptor,
}
