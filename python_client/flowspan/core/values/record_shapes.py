"""Shapes of dataclasses and pydantic models: the recorded part of their instances.

The shape depends on the class alone and is computed once: its declared fields, the excluded ones,
and those with serializers.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MemberDescriptorType
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import ref

from flowspan.core.values.inspection import (
    Field,
    declared_fields,
    fields_of,
    names_of,
    type_attribute,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

Classes = Sequence[type]

_SERIALIZERS = "pydantic.functional_serializers"


class Shape(NamedTuple):
    """The recorded part of the instances of a dataclass or model.

    Attributes:
        fields: The recorded fields; those with `exclude` are left out.
        names: The recorded names that differ from the field names: aliases, if the model dumps by
            them.
        serialized: Fields with a custom serializer. It does not run, and it may exist to hide the
            content, so a placeholder is recorded instead.
        declared: The models in the annotations of a model's fields.
        extra: The slot of the undeclared fields.
        is_root: True for a root model, which is recorded as its only field.
        problem: The reason why instances have no JSON form; empty if they have one.
    """

    fields: tuple[Field, ...] = ()
    names: dict[str, str] = {}  # noqa: RUF012 - the default is never changed
    serialized: frozenset[str] = frozenset()
    declared: dict[str, Classes] = {}  # noqa: RUF012 - the default is never changed
    extra: Any = None
    is_root: bool = False
    problem: str = ""


_shapes: dict[int, tuple[ref[type], Shape]] = {}
"""Keyed by the id of the class, as its metaclass may define a hash. Dropped with the class."""


def shape_of(kind: type) -> Shape:
    """Return the shape of a class; one with a problem if it is not a dataclass or model."""
    known = _shapes.get(id(kind))
    if known is not None and known[0]() is kind:
        return known[1]
    shape = _made_shape(kind)
    key = id(kind)
    _shapes[key] = ref(kind, lambda _: _shapes.pop(key, None)), shape
    return shape


def _made_shape(kind: type) -> Shape:
    of_dataclass = declared_fields(kind)
    of_model = type_attribute(kind, "__pydantic_fields__")
    is_dataclass, is_model = of_dataclass is not None, type(of_model) is dict
    fields = fields_of(kind)
    if not is_dataclass and not is_model:
        return Shape(problem="cannot be represented in JSON")
    if len(fields) < len(of_model if of_dataclass is None else of_dataclass):
        return Shape(
            problem="cannot be represented in JSON: a field is behind a property or a descriptor"
        )
    if not is_model:
        return Shape(fields)
    decorators = type_attribute(kind, "__pydantic_decorators__")
    if getattr(decorators, "model_serializers", None):
        return Shape(problem="has a custom serializer, which does not run for recording")
    # A function may decide about excluding a field (`exclude_if`); it does not run here.
    infos = {
        field.name: info
        for field in fields
        if (info := of_model.get(field.name)) is None
        or not (_of_info(info, "exclude") or _of_info(info, "exclude_if"))
    }
    named = {name: list(_named_in(info)) for name, info in infos.items()}
    extra = type_attribute(kind, "__pydantic_extra__")
    return Shape(
        tuple(field for field in fields if field.name in infos),
        _aliases(infos) if _has_option(kind, "serialize_by_alias") else {},
        _serialized(decorators, named),
        {} if is_dataclass or _has_option(kind, "polymorphic_serialization") else _models(named),
        extra if type(extra) is MemberDescriptorType else None,
        type_attribute(kind, "__pydantic_root_model__") is True,
    )


def _has_option(kind: type, name: str) -> bool:
    config = type_attribute(kind, "model_config")
    return type(config) is dict and config.get(name) is True


def _aliases(infos: dict[str, Any]) -> dict[str, str]:
    found = {
        name: _of_info(info, "serialization_alias") or _of_info(info, "alias")
        for name, info in infos.items()
    }
    return {name: alias for name, alias in found.items() if type(alias) is str}


def _serialized(decorators: Any, named: dict[str, list[Any]]) -> frozenset[str]:
    """Return the fields that get a serializer from a decorator or an annotation."""
    decorated = {
        name
        for decorator in getattr(decorators, "field_serializers", {}).values()
        for name in decorator.info.fields
    }
    return frozenset(
        name
        for name, items in named.items()
        if name in decorated
        or "*" in decorated
        or any(marker != "SerializeAsAny" for marker in _markers(items))
    )


def _models(named: dict[str, list[Any]]) -> dict[str, Classes]:
    """Return the models in the annotations of fields that are dumped as their declared type."""
    return {
        name: tuple(
            item
            for item in items
            if type_attribute(type(item), "__mro__") is not None
            and type_attribute(item, "__pydantic_fields__") is not None
        )
        for name, items in named.items()
        if not _markers(items)
    }


def _markers(items: list[Any]) -> list[str]:
    """Return the names of pydantic's serialization markers in an annotation."""
    names = (next(names_of(type(item))) for item in items)
    return [name for module, name in names if module == _SERIALIZERS]


def _named_in(info: Any) -> Iterator[Any]:
    """Yield the classes and markers in the annotation of a field, at any depth."""
    stack = [*(_of_info(info, "metadata") or ()), _of_info(info, "annotation")]
    while stack:
        item = stack.pop()
        module, _ = next(names_of(type(item)))
        if module in {"typing", "types", "typing_extensions"}:
            stack += getattr(item, "__metadata__", ())
            stack += getattr(item, "__args__", ())
            stack.append(getattr(item, "__value__", None))  # of a type alias
        else:
            yield item


def _of_info(info: Any, name: str) -> Any:
    """Return an attribute of pydantic's field info, read from its slot without running code."""
    slot = type_attribute(type(info), name)
    return slot.__get__(info) if type(slot) is MemberDescriptorType else None
