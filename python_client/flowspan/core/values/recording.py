"""Recorded parameters: the stored content of values, in terms of JSON.

The user does not request it, so recording runs no code of a value's class: no `__fspath__`,
`__str__`, `__hash__`, property, serializer or computed field (see `values.inspection`).
Instances of subclasses of known types are read by the methods of the known type, and models and
dataclasses by the attributes that their instances store.
"""

from __future__ import annotations

import sys
from binascii import b2a_base64
from collections import deque
from itertools import repeat
from operator import is_
from typing import TYPE_CHECKING, Any, NamedTuple

from flowspan.core.values.inspection import (
    bases_of,
    exact_text,
    label_of,
    names_of,
    read_fields,
    stored_attributes,
    type_attribute,
    type_name,
)
from flowspan.core.values.record_shapes import shape_of
from flowspan.core.values.tables import number_form
from flowspan.core.values.traversal import parts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from flowspan.core.values.record_shapes import Classes, Shape

    Converter = Callable[[Any, Any], Any]

PLACEHOLDER = "$unserializable"
MASK = "**********"

_JSON_IDS = frozenset(map(id, (type(None), bool, int, float, str)))
"""Compared by id: a metaclass may define a hash, or none at all."""

_KNOWN_ZONES = frozenset(
    {"abc", "builtins", "datetime", "dateutil", "pendulum", "pytz", "zoneinfo"}
)
"""Packages whose time zones only look up an offset."""

_PASS: Any = object()
"""Returned by a converter to leave the value to the bases further up."""

UNKNOWN: Any = object()
"""Returned by `known_form` for a container, a dataclass, a model, and any other value."""

_CONTAINER_IDS = frozenset(map(id, (dict, list, tuple, set, frozenset, deque)))


def is_json(values: Iterable[Any]) -> bool:
    """Return True if json writes all values unchanged. Fast, as every flow argument passes it."""
    return _JSON_IDS.issuperset(map(id, map(type, values)))


def _is_uniform(values: Sequence[Any]) -> bool:
    """Return True if all values have the same JSON type. A fast path for long lists."""
    if len(values) == 0:
        return True
    kind = type(values[0])
    return id(kind) in _JSON_IDS and all(map(is_, map(type, values), repeat(kind)))


def recorded(value: Any) -> Any:
    """Return the recorded form of a value: None, bools, numbers, strings, lists and dictionaries.

    Raises:
        TypeError: Something in it has no JSON form.
        ValueError: It contains itself.
    """
    return _form(value, set())


def placeholder(value: Any, shown: str) -> dict[str, Any]:
    """Return the placeholder that is recorded instead of a value."""
    return {PLACEHOLDER: {"type": type_name(type(value)), "repr": shown}}


def _form(value: Any, above: set[int], declared: Classes = ()) -> Any:
    """Return the recorded form of a value.

    Args:
        value: The value.
        above: The ids of the enclosing containers.
        declared: The classes in the annotation of the model field that contains it.
    """
    kind = type(value)
    if id(kind) in _JSON_IDS:
        return value
    form = known_form(value)
    if form is not UNKNOWN:
        # An enum member or a root model may hold anything.
        return form if is_json((form,)) else _form(form, above, declared)
    container = container_of(kind)
    read = _fields_form
    if container is not None:
        read = _dict_form if container is dict else _list_form
    if id(value) in above:
        raise ValueError("Circular reference detected")
    above.add(id(value))
    form = read(value, above, declared)
    above.discard(id(value))
    return form


def known_form(value: Any) -> Any:
    """Return the form of a value of a known type that is no container; else UNKNOWN.

    The form of an enum member or of a root model may be any value.
    """
    kind = type(value)
    if type_attribute(kind, "get_secret_value") is not None:
        return MASK
    for base in bases_of(kind):
        if id(base) in _CONTAINER_IDS:
            return UNKNOWN
        convert = _converter_of(base)
        if convert is not None:
            form = convert(value, base)
            if form is not _PASS:
                return form
    return UNKNOWN


def container_of(kind: type) -> type | None:
    """Return the built-in container that a class is or derives from; None for other classes."""
    return next((base for base in bases_of(kind) if id(base) in _CONTAINER_IDS), None)


def _has(classes: Classes, wanted: type) -> bool:
    return any(each is wanted for each in classes)  # by identity: metaclasses may define ==


def _list_form(value: Any, above: set[int], declared: Classes) -> Any:
    is_queue = issubclass(type(value), deque)
    parts = list(deque.__iter__(value)) if is_queue else parts_of(value)
    if _is_uniform(parts) or is_json(parts):
        return value if type(value) is list else list(parts)
    return [_form(part, above, declared) for part in parts]


def _dict_form(value: Any, above: set[int], declared: Classes) -> Any:
    keys, parts = list(dict.__iter__(value)), parts_of(value)
    has_plain_keys, has_plain_parts = is_json(keys), is_json(parts)
    if has_plain_keys and has_plain_parts and type(value) is dict:
        return value
    if not has_plain_keys:
        # Keys of other types become text first, so their own hash is never called.
        keys = [_form(key, above, declared) for key in keys]
        if not is_json(keys):
            raise TypeError("a key of a dictionary cannot be represented in JSON")
    if not has_plain_parts:
        parts = [_form(part, above, declared) for part in parts]
    fresh = dict(zip(keys, parts, strict=True))
    if len(fresh) < len(keys):
        raise TypeError("two keys of a dictionary become the same key in JSON")
    return fresh


class Part(NamedTuple):
    """A recorded field of a dataclass or model.

    Attributes:
        name: The recorded name.
        value: The stored value.
        is_hidden: True if a placeholder is recorded instead, because a serializer may hide it.
        declared: The classes in the annotation of the field.
    """

    name: str
    value: Any
    is_hidden: bool
    declared: Classes


def shape_and_parts(value: Any, declared: Classes) -> tuple[Shape, Iterator[Part]]:
    """Return the shape of a dataclass or model, and its recorded fields.

    Args:
        value: The value.
        declared: The classes in the annotation of the model field that contains it.

    Raises:
        TypeError: It is neither, or not to be recorded.
    """
    kind = type(value)
    if declared:
        # Like pydantic: of an instance of a derived class, only the declared part is written.
        kind = next((base for base in bases_of(kind) if _has(declared, base)), kind)
    shape = shape_of(kind)
    if shape.problem:
        raise TypeError(f"{type_name(kind)} {shape.problem}")
    parts = (
        Part(
            shape.names.get(field.name, field.name),
            part,
            field.name in shape.serialized,
            shape.declared.get(field.name, ()),
        )
        for field, part in read_fields(value, shape.fields)
    )
    return shape, parts


def _fields_form(value: Any, above: set[int], declared: Classes) -> Any:
    """Return the fields of a dataclass or model by name, as instances store them."""
    shape, parts = shape_and_parts(value, declared)
    form = {
        part.name: (
            placeholder(part.value, label_of(part.value))
            if part.is_hidden
            else _form(part.value, above, part.declared)
        )
        for part in parts
    }
    if shape.is_root:
        return form.get("root")
    if shape.extra is not None:
        try:
            extra = shape.extra.__get__(value)
        except AttributeError:  # never assigned
            extra = None
        if type(extra) is dict:
            form.update(_form(extra, above))
    return form


# Converters are called with the value and the base class that they are registered for.


def _iso(value: Any, base: Any) -> Any:
    return base.isoformat(value)


def _zoned(value: Any, base: Any) -> Any:
    """Return a datetime or time in ISO 8601, with the type name of an unknown time zone."""
    state = base.__reduce_ex__(value, 4)[1]
    # zoneinfo would read the hour of a subclass instance, which may run user code.
    if len(state) < 2 or _is_known_zone(state[1]):
        return base.isoformat(base(*state))
    return f"{base.isoformat(base(state[0]))}[{type_name(type(state[1]))}]"


def _is_known_zone(zone: Any) -> bool:
    return all(module.partition(".")[0] in _KNOWN_ZONES for module, _ in names_of(type(zone)))


def _timestamp(value: Any, base: Any) -> Any:
    """Return a pandas timestamp with its nanoseconds."""
    if type(value) is not base:
        return _PASS
    zone = sys.modules["datetime"].datetime.tzinfo.__get__(value)
    return value.isoformat() if zone is None or _is_known_zone(zone) else _PASS


def _bytes(value: Any, base: Any) -> str:
    # A copy: from Python 3.12 on, decoding would call the `__buffer__` of a subclass.
    data = base.__getitem__(value, slice(None))
    try:
        return str(data.decode())
    except UnicodeDecodeError:
        return b2a_base64(data, newline=False).decode()


def _own_text(value: Any, base: Any) -> Any:
    return base.__str__(value)


def _exact_text(value: Any, base: Any) -> Any:
    """Return the text of a value of exactly this type; methods of subclasses are user code."""
    return str(value) if type(value) is base else _PASS


def _path(value: Any, base: Any) -> Any:
    """Return the text of a path; for a subclass, assembled from its stored parts."""
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
    """Return the text of a pydantic URL, which wraps an object implemented in Rust."""
    url = value
    while url is not None and next(names_of(type(url)))[0] != "pydantic_core._pydantic_core":
        url = stored_attributes(url).get("_url")  # pydantic 2.10 nests one in another
    return _PASS if url is None else str(url)


def _numpy(value: Any, _: Any) -> Any:
    kind = type(value)
    if vars(sys.modules["numpy"]).get(kind.__name__) is not kind:
        return _PASS
    return number_form(value)


# By name: importing all these modules would slow the start of a small program.
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
    ("pandas", "Timestamp"): _timestamp,
    ("pandas._libs.tslibs.nattype", "_NaT"): lambda _, __: None,
    ("pandas._libs.tslibs.timestamps", "Timestamp"): _timestamp,
    ("pathlib", "PurePosixPath"): _path,
    ("pathlib", "PureWindowsPath"): _path,
    ("pathlib._local", "PurePosixPath"): _path,  # in Python 3.13
    ("pathlib._local", "PureWindowsPath"): _path,
    ("posix", "DirEntry"): lambda value, _: value.path,
    ("pydantic.networks", "_BaseMultiHostUrl"): _url,
    ("pydantic.networks", "_BaseUrl"): _url,
    ("re", "Pattern"): lambda value, _: value.pattern,
    ("uuid", "UUID"): _uuid,
    ("zoneinfo", "ZoneInfo"): _exact_text,
}


def _converter_of(base: type) -> Converter | None:
    """Return the converter of a known type; None for another type of the same name."""
    name = next(names_of(base))
    convert = _CONVERTERS.get(name)
    if convert is None:
        return None
    module = sys.modules.get(name[0])
    return convert if module is not None and vars(module).get(name[1]) is base else None
