"""Inspection of users' values without running their code.

`isinstance` reads the `__class__` of a value, for which a lazy proxy loads its target; `hasattr`
and `getattr` run properties and `__getattr__`; `==`, `in` and truth tests run methods. The
functions here look only at the type, and at what an instance stores.
"""

from __future__ import annotations

import dataclasses
from types import MemberDescriptorType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard, TypeVar
from weakref import ref

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

T = TypeVar("T")

_MISSING: Any = object()

_mro_of = type.__dict__["__mro__"].__get__
_vars_of = type.__dict__["__dict__"].__get__
_stored_module_of = type.__dict__["__module__"].__get__
_short_name_of = type.__dict__["__name__"].__get__
_name_of = type.__dict__["__qualname__"].__get__


def is_instance(value: object, kinds: type[T] | tuple[type[T], ...]) -> TypeGuard[T]:
    """Return True if the value's type is one of the given types or derives from one.

    Unlike `isinstance`, this does not read the value's `__class__`.
    """
    return issubclass(type(value), kinds)


def type_attribute(kind: type, name: str, default: Any = None) -> Any:
    """Return an attribute of a class or its bases, without binding it."""
    for base in _mro_of(kind):
        found = _vars_of(base).get(name, _MISSING)
        if found is not _MISSING:
            return found
    return default


def bases_of(kind: type) -> tuple[type, ...]:
    """Return a class and its bases, nearest first."""
    bases: tuple[type, ...] = _mro_of(kind)
    return bases


def type_name(kind: type) -> str:
    """Return a type's name as in tracebacks: built-in types without a module."""
    module, name = _module_of(kind), str.__str__(_name_of(kind))
    return name if module in {"", "builtins", "__main__"} else f"{module}.{name}"


def names_of(kind: type) -> Iterator[tuple[str, str]]:
    """Yield the module and the name of a class and of each of its bases, nearest first."""
    for base in _mro_of(kind):
        yield _module_of(base), _short_name_of(base)


def _module_of(kind: type) -> str:
    """Return the name of a class's module; empty if its `__module__` is not a string."""
    try:
        module = _stored_module_of(kind)
    except AttributeError:
        return ""
    return module if type(module) is str else ""


def label_of(value: object) -> str:
    """Return a short description of a value for messages, without its own `repr`."""
    return f"<{type_name(type(value))} object>"


def shown(value: object) -> str:
    """Return a value for messages: the `repr` of a plain one, the type of any other."""
    kind = type(value)
    is_plain = value is None or kind is bool or kind is int or kind is float or kind is str
    return repr(value) if is_plain else label_of(value)


def exact_text(text: str) -> str:
    """Return the text as a plain `str`, even if it is of a subclass with its own methods."""
    return str.__str__(text)


def encodable(text: str) -> str:
    """Return the text as a plain `str` that UTF-8 can encode, with lone surrogates escaped."""
    text = str.__str__(text)
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


class Field(NamedTuple):
    """A field of a dataclass or model.

    Attributes:
        name: Its name.
        slot: The slot that stores it; None if it is in the `__dict__` of instances.
    """

    name: str
    slot: Any


_NOT_STORED = frozenset({"_FIELD_CLASSVAR", "_FIELD_INITVAR"})


def declared_fields(kind: type) -> dict[str, Any] | None:
    """Return the stored fields of a dataclass by name; None for other classes.

    `__dataclass_fields__` also contains the annotations with ClassVar and InitVar.
    """
    declared = type_attribute(kind, "__dataclass_fields__")
    if type(declared) is not dict:
        return None
    return {name: each for name, each in declared.items() if not _is_pseudo(each)}


def _is_pseudo(declared: Any) -> bool:
    # The same check as in `dataclasses.fields`, but without running code of the class.
    if type(declared) is not dataclasses.Field:
        return False
    kind: Any = vars(dataclasses.Field)["_field_type"].__get__(declared)
    return kind.name in _NOT_STORED


_fields: dict[int, tuple[ref[type], tuple[Field, ...]]] = {}
"""Keyed by the id of the class, as its metaclass may define a hash. Dropped with the class."""


def fields_of(kind: type) -> tuple[Field, ...]:
    """Return the fields of a dataclass or pydantic model whose values its instances store.

    A field behind a property or another descriptor is left out: reading it might do anything, such
    as query a database. So instances of mapped classes (SQLAlchemy, SQLModel) have no fields.
    """
    known = _fields.get(id(kind))
    if known is not None and known[0]() is kind:
        return known[1]
    fields = tuple(_stored_fields(kind))
    key = id(kind)
    _fields[key] = ref(kind, lambda _: _fields.pop(key, None)), fields
    return fields


def _stored_fields(kind: type) -> Iterator[Field]:
    declared: Any = declared_fields(kind)
    if declared is None:
        declared = type_attribute(kind, "__pydantic_fields__")
    for name in declared if type(declared) is dict else ():
        stored = type_attribute(kind, name)
        if type(stored) is MemberDescriptorType:
            yield Field(name, stored)
        elif type_attribute(type(stored), "__set__") is None:
            yield Field(name, None)


def read_fields(value: object, fields: tuple[Field, ...]) -> Iterator[tuple[Field, Any]]:
    """Yield the fields that an instance has, with their values."""
    attributes = stored_attributes(value)
    for field in fields:
        if field.slot is None:
            if field.name in attributes:
                yield field, attributes[field.name]
            continue
        try:
            part = field.slot.__get__(value)
        except AttributeError:  # never assigned
            continue
        yield field, part


def stored_attributes(value: object) -> Mapping[str, Any]:
    """Return the `__dict__` of an instance; an empty one if it has none."""
    try:
        attributes = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return attributes if type(attributes) is dict else {}


def copy_attributes(value: object, fresh: object) -> None:
    """Give a new instance the stored attributes of another one of its class."""
    attributes = stored_attributes(value)
    if attributes:
        dict.update(object.__getattribute__(fresh, "__dict__"), attributes)
    for base in _mro_of(type(value)):
        for name, slot in _vars_of(base).items():
            if type(slot) is not MemberDescriptorType:
                continue
            try:
                part = slot.__get__(value)
            except AttributeError:  # never assigned
                continue
            if name.startswith("__pydantic_") and type(part) in {dict, set}:
                part = part.copy()  # like pydantic's own copy method
            slot.__set__(fresh, part)
