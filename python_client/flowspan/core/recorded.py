"""The form in which parameters are recorded: what values store, in terms of JSON.

Recording is not asked for, so no code of a value's class runs here: no `__fspath__`, `__str__`,
`__hash__`, property, serializer or computed field (see `flowspan.core.values`). Instances of
subclasses of known types are read by the methods of the known type, and models and dataclasses by
what their instances store.
"""

from __future__ import annotations

import sys
from binascii import b2a_base64
from collections import deque
from types import MemberDescriptorType
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import ref

from flowspan.core.tables import number_form
from flowspan.core.traversal import parts_of
from flowspan.core.values import (
    Field,
    bases_of,
    exact_text,
    fields_of,
    label_of,
    names_of,
    read_fields,
    stored_attributes,
    type_attribute,
    type_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Converter = Callable[[Any, Any], Any]

PLACEHOLDER = "$unserializable"
MASK = "**********"

_JSON_IDS = frozenset(map(id, (type(None), bool, int, float, str)))
"""By identity: a class may have a hash of its own, by its metaclass, or none at all."""

_KNOWN_ZONES = frozenset(
    {"abc", "builtins", "datetime", "dateutil", "pendulum", "pytz", "zoneinfo"}
)
"""Packages whose time zones do no more than look up an offset."""

_PASS: Any = object()
"""Returned by a converter that leaves the value to those of the bases further up."""


_CONTAINER_IDS = frozenset(map(id, (dict, list, tuple, set, frozenset, deque)))


def is_json(values: Iterable[Any]) -> bool:
    """True if json writes all values as they are. Fast: it sees the arguments of every flow."""
    return _JSON_IDS.issuperset(map(id, map(type, values)))


def recorded(value: Any) -> Any:
    """Return what is recorded of a value: None, bools, numbers, texts, lists and dictionaries.

    Raises:
        TypeError: There is no form for something in it.
        ValueError: It contains itself.
    """
    return _form(value, set())


def placeholder(value: Any, shown: str) -> dict[str, Any]:
    """Return what is recorded in the place of a value."""
    return {PLACEHOLDER: {"type": type_name(type(value)), "repr": shown}}


def _form(value: Any, above: set[int]) -> Any:
    """Return what is recorded of a value.

    Args:
        value: The value.
        above: The identities of the containers around it.
    """
    kind = type(value)
    if id(kind) in _JSON_IDS:
        return value
    if type_attribute(kind, "get_secret_value") is not None:
        return MASK
    read = _fields_form
    for base in bases_of(kind):
        if id(base) in _CONTAINER_IDS:
            read = _dict_form if base is dict else _list_form
            break
        convert = _converter_of(base)
        if convert is not None:
            form = convert(value, base)
            if form is not _PASS:
                # An enum member or a root model may hold anything.
                return form if is_json((form,)) else _form(form, above)
    if id(value) in above:
        raise ValueError("Circular reference detected")
    above.add(id(value))
    form = read(value, above)
    above.discard(id(value))
    return form


def _list_form(value: Any, above: set[int]) -> Any:
    is_queue = issubclass(type(value), deque)
    parts = list(deque.__iter__(value)) if is_queue else parts_of(value)
    if is_json(parts):
        return value if type(value) is list else list(parts)
    return [_form(part, above) for part in parts]


def _dict_form(value: Any, above: set[int]) -> Any:
    keys, parts = list(dict.__iter__(value)), parts_of(value)
    has_plain_keys, has_plain_parts = is_json(keys), is_json(parts)
    if has_plain_keys and has_plain_parts and type(value) is dict:
        return value
    if not has_plain_keys:
        # Keys of other types are written as text, and never hashed as what they are.
        keys = [_form(key, above) for key in keys]
        if not is_json(keys):
            raise TypeError("a key of a dictionary has no form in JSON")
    if not has_plain_parts:
        parts = [_form(part, above) for part in parts]
    fresh = dict(zip(keys, parts, strict=True))
    if len(fresh) < len(keys):
        raise TypeError("two keys of a dictionary have the same form in JSON")
    return fresh


def _fields_form(value: Any, above: set[int]) -> Any:
    """Return the fields of a dataclass or model by name, as instances store them."""
    kind = type(value)
    shape = _shape_of(kind)
    if shape.problem:
        raise TypeError(f"{type_name(kind)} {shape.problem}")
    form = {
        shape.names.get(field.name, field.name): (
            placeholder(part, label_of(part))
            if field.name in shape.serialized
            else _form(part, above)
        )
        for field, part in read_fields(value, shape.fields)
    }
    if shape.is_root:
        return form["root"]
    if shape.extra is not None:
        try:
            extra = shape.extra.__get__(value)
        except AttributeError:  # never assigned
            extra = None
        if type(extra) is dict:
            form.update(_form(extra, above))
    return form


class _Shape(NamedTuple):
    """What is recorded of the instances of a dataclass or model.

    Attributes:
        fields: The fields that are recorded; those with `exclude` are not.
        names: The names under which some are recorded: aliases, if the model dumps by them.
        serialized: Fields with a serializer of the user's. It does not run, and it may be there to
            hide what the field holds: a placeholder stands for them.
        extra: The slot of the fields that were not declared.
        is_root: True for a model that is nothing but its one field.
        problem: Why instances have no form; empty if they have one.
    """

    fields: tuple[Field, ...] = ()
    names: dict[str, str] = {}  # noqa: RUF012 - the default is never changed
    serialized: frozenset[str] = frozenset()
    extra: Any = None
    is_root: bool = False
    problem: str = ""


_shapes: dict[int, tuple[ref[type], _Shape]] = {}
"""By the identity of the class, for a class's own hash may be anything. An entry goes with it."""


def _shape_of(kind: type) -> _Shape:
    known = _shapes.get(id(kind))
    if known is not None and known[0]() is kind:
        return known[1]
    shape = _made_shape(kind)
    key = id(kind)
    _shapes[key] = ref(kind, lambda _: _shapes.pop(key, None)), shape
    return shape


def _made_shape(kind: type) -> _Shape:
    declared = type_attribute(kind, "__dataclass_fields__")
    infos = type_attribute(kind, "__pydantic_fields__")
    infos = infos if type(infos) is dict else None
    declared = declared if type(declared) is dict else infos
    fields = fields_of(kind)
    if declared is None or len(fields) < len(declared):  # some are behind descriptors
        return _Shape(problem="has no form in JSON")
    infos = infos or {}
    decorators = type_attribute(kind, "__pydantic_decorators__")
    if getattr(decorators, "model_serializers", None):
        return _Shape(problem="has a serializer of its own, which does not run unasked")
    serialized = {
        name
        for decorator in getattr(decorators, "field_serializers", {}).values()
        for name in decorator.info.fields
    }
    config = type_attribute(kind, "model_config")
    is_by_alias = type(config) is dict and config.get("serialize_by_alias") is True
    names: dict[str, str] = {}
    shown = []
    for field in fields:
        info = infos.get(field.name)
        # Whether to leave it out is asked of a function (`exclude_if`), which does not run.
        if _of_info(info, "exclude") or _of_info(info, "exclude_if"):
            continue
        shown.append(field)
        if is_by_alias:
            alias = _of_info(info, "serialization_alias") or _of_info(info, "alias")
            if type(alias) is str:
                names[field.name] = alias
        if "*" in serialized or _is_serialized(info):
            serialized.add(field.name)
    extra = type_attribute(kind, "__pydantic_extra__")
    return _Shape(
        tuple(shown),
        names,
        frozenset(serialized),
        extra if type(extra) is MemberDescriptorType else None,
        type_attribute(kind, "__pydantic_root_model__") is True,
    )


def _of_info(info: Any, name: str) -> Any:
    """Return an attribute of pydantic's description of a field, read from its slot."""
    slot = type_attribute(type(info), name)
    return slot.__get__(info) if type(slot) is MemberDescriptorType else None


def _is_serialized(info: Any) -> bool:
    """True if the annotation of a field says how it, or a part of it, is written."""
    stack = [*(_of_info(info, "metadata") or ()), _of_info(info, "annotation")]
    while stack:
        item = stack.pop()
        module, _ = next(names_of(type(item)))
        if module == "pydantic.functional_serializers":
            return type(item).__name__ != "SerializeAsAny"
        if module in {"typing", "types", "typing_extensions"}:
            stack += getattr(item, "__metadata__", ())
            stack += getattr(item, "__args__", ())
    return False


# Converters are called with the value and with the base that they are of.


def _iso(value: Any, base: Any) -> Any:
    return base.isoformat(value)


def _zoned(value: Any, base: Any) -> Any:
    """Return a date with a time, or a time, in ISO 8601; with the name of an unknown time zone."""
    state = base.__reduce_ex__(value, 4)[1]
    # zoneinfo would ask an instance of a subclass for its hour.
    if len(state) < 2 or _is_known_zone(state[1]):
        return base.isoformat(base(*state))
    return f"{base.isoformat(base(state[0]))}[{type_name(type(state[1]))}]"


def _is_known_zone(zone: Any) -> bool:
    return all(module.partition(".")[0] in _KNOWN_ZONES for module, _ in names_of(type(zone)))


def _timestamp(value: Any, base: Any) -> Any:
    """Return a timestamp of pandas with its nanoseconds."""
    if type(value) is not base:
        return _PASS
    zone = sys.modules["datetime"].datetime.tzinfo.__get__(value)
    return value.isoformat() if zone is None or _is_known_zone(zone) else _PASS


def _bytes(value: Any, base: Any) -> str:
    try:
        return str(base.decode(value))
    except UnicodeDecodeError:
        return b2a_base64(value, newline=False).decode()


def _own_text(value: Any, base: Any) -> Any:
    return base.__str__(value)


def _exact_text(value: Any, base: Any) -> Any:
    """Return the text of a value of the very type: its methods ask methods of subclasses."""
    return str(value) if type(value) is base else _PASS


def _path(value: Any, base: Any) -> Any:
    """Return the text of a path: of one of a subclass, put together of the texts it was made of."""
    if next(names_of(type(value)))[0].partition(".")[0] == "pathlib":
        return str(value)
    slot = type_attribute(base, "_raw_paths", type_attribute(base, "_parts"))
    texts = map(exact_text, list.__iter__(slot.__get__(value)))
    return str(base(*texts))


def _uuid(value: Any, base: Any) -> Any:
    number = base.int.__get__(value)
    return str(base(int=number)) if type(number) is int else _PASS


def _enum(value: Any, _: Any) -> Any:
    return stored_attributes(value)["_value_"]


def _url(value: Any, _: Any) -> Any:
    """Return the text of one of pydantic's URLs, which hold one that is made in Rust."""
    url = stored_attributes(value)["_url"]
    return str(url) if next(names_of(type(url)))[0] == "pydantic_core._pydantic_core" else _PASS


def _numpy(value: Any, _: Any) -> Any:
    kind = type(value)
    if vars(sys.modules["numpy"]).get(kind.__name__) is not kind:
        return _PASS
    return number_form(value)


# By name, for importing all these modules would be a part of the start of a small program.
_CONVERTERS: dict[tuple[str, str], Converter] = {
    ("builtins", "bytearray"): _bytes,
    ("builtins", "bytes"): _bytes,
    ("builtins", "complex"): _own_text,
    ("builtins", "float"): lambda value, _: float.__float__(value),
    ("builtins", "int"): lambda value, _: int.__int__(value),
    ("builtins", "str"): lambda value, _: exact_text(value),
    ("datetime", "date"): _iso,
    ("datetime", "datetime"): _zoned,
    ("datetime", "time"): _zoned,
    ("datetime", "timedelta"): lambda value, base: base.total_seconds(value),
    ("decimal", "Decimal"): _own_text,
    ("enum", "Enum"): _enum,
    ("fractions", "Fraction"): _exact_text,
    ("ipaddress", "IPv4Address"): _exact_text,
    ("ipaddress", "IPv4Interface"): _exact_text,
    ("ipaddress", "IPv4Network"): _exact_text,
    ("ipaddress", "IPv6Address"): _exact_text,
    ("ipaddress", "IPv6Interface"): _exact_text,
    ("ipaddress", "IPv6Network"): _exact_text,
    ("nt", "DirEntry"): lambda value, _: value.path,
    ("numpy", "generic"): _numpy,
    ("pandas._libs.tslibs.nattype", "NaTType"): lambda _, __: None,
    ("pandas._libs.tslibs.timestamps", "Timestamp"): _timestamp,
    ("pathlib", "PurePosixPath"): _path,
    ("pathlib", "PureWindowsPath"): _path,
    ("posix", "DirEntry"): lambda value, _: value.path,
    ("pydantic.networks", "_BaseMultiHostUrl"): _url,
    ("pydantic.networks", "_BaseUrl"): _url,
    ("re", "Pattern"): lambda value, _: value.pattern,
    ("uuid", "UUID"): _uuid,
    ("zoneinfo", "ZoneInfo"): _exact_text,
}


def _converter_of(base: type) -> Converter | None:
    """Return the converter of a known type; None for one that only bears its name."""
    name = next(names_of(base))
    convert = _CONVERTERS.get(name)
    if convert is None:
        return None
    module = sys.modules.get(name[0])
    return convert if module is not None and vars(module).get(name[1]) is base else None
