"""Shapes of dataclasses and pydantic models: what is recorded of their instances.

Only the class is looked at, once: which fields it declares, which of them are excluded, and which
have serializers.
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
    """What is recorded of the instances of a dataclass or model.

    Attributes:
        fields: The fields that are recorded; those with `exclude` are not.
        names: The names under which some are recorded: aliases, if the model dumps by them.
        serialized: Fields with a serializer of the user's. It does not run, and it may be there to
            hide what the field holds: a placeholder stands for them.
        declared: The models that the annotations of a model's fields name.
        extra: The slot of the fields that were not declared.
        is_root: True for a model that is nothing but its one field.
        problem: Why instances have no form; empty if they have one.
    """

    fields: tuple[Field, ...] = ()
    names: dict[str, str] = {}  # noqa: RUF012 - the default is never changed
    serialized: frozenset[str] = frozenset()
    declared: dict[str, Classes] = {}  # noqa: RUF012 - the default is never changed
    extra: Any = None
    is_root: bool = False
    problem: str = ""


_shapes: dict[int, tuple[ref[type], Shape]] = {}
"""By the identity of the class, for a class's own hash may be anything. An entry goes with it."""


def shape_of(kind: type) -> Shape:
    """Return the shape of a class; with a problem if it is no dataclass or model."""
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
        return Shape(problem="has no form in JSON")
    if len(fields) < len(of_model if of_dataclass is None else of_dataclass):
        return Shape(problem="has no form in JSON: a field is behind a property or a descriptor")
    if not is_model:
        return Shape(fields)
    decorators = type_attribute(kind, "__pydantic_decorators__")
    if getattr(decorators, "model_serializers", None):
        return Shape(problem="has a serializer of its own, which does not run unasked")
    # Whether to leave a field out may be asked of a function (`exclude_if`), which does not run.
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
    """Return the fields that a decorator or an annotation gives a serializer."""
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
    """Return the models that annotations name, of fields that are written as what they declare."""
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
    """Return the names of pydantic's classes for serialization that an annotation names."""
    names = (next(names_of(type(item))) for item in items)
    return [name for module, name in names if module == _SERIALIZERS]


def _named_in(info: Any) -> Iterator[Any]:
    """Yield the classes and markers that the annotation of a field names, at any depth."""
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
    """Return an attribute of pydantic's description of a field, read from its slot."""
    slot = type_attribute(type(info), name)
    return slot.__get__(info) if type(slot) is MemberDescriptorType else None
