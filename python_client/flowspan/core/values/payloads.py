"""Values of user code as JSON, readable for people and other languages.

The parameters of a run are recorded without a request of the user. So recording never fails and
runs no code of a value's class (see `flowspan.core.values.recording`). A value that JSON cannot
hold is replaced by a placeholder with its type::

    {"$unserializable": {"type": "pandas.DataFrame", "repr": "<pandas.DataFrame object>"}}
"""

from __future__ import annotations

import json
from binascii import b2a_base64
from typing import TYPE_CHECKING, Any, NamedTuple

from flowspan.core.failures import reason_of
from flowspan.core.limits import MAX_PARAMETERS_BYTES
from flowspan.core.values.inspection import (
    declared_fields,
    exact_text,
    label_of,
    names_of,
    type_attribute,
    type_name,
)
from flowspan.core.values.recording import MASK, is_json, placeholder, recorded
from flowspan.core.values.tables import data_form, number_form
from flowspan.core.values.traversal import parts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MAX_SHOWN = 200


class Problem(NamedTuple):
    """A parameter that was replaced by a placeholder."""

    name: str
    type: str
    reason: str


def encode_parameters(arguments: Mapping[str, Any]) -> tuple[bytes, list[Problem]]:
    """Encode the arguments as one JSON object, with placeholders where necessary.

    Args:
        arguments: The values by parameter.

    Returns:
        JSON in UTF-8 of at most 512 KiB, and the parameters that were replaced by a placeholder.
    """
    try:
        is_plain = is_json(arguments.values())
        data = _dumps(
            arguments
            if is_plain
            else {exact_text(name): recorded(value) for name, value in arguments.items()}
        )
        if len(data) <= MAX_PARAMETERS_BYTES:
            return data, []
    except Exception:  # noqa: BLE001, S110 - the loop below finds the value that failed
        pass
    problems: list[Problem] = []
    plain = {exact_text(name): value for name, value in arguments.items()}
    parts: dict[str, bytes] = {}
    for name, value in plain.items():
        try:
            parts[name] = _dumps(recorded(value))
        except Exception as error:  # noqa: BLE001 - too deep, circular, or without a JSON form
            problems.append(Problem(name, type_name(type(value)), reason_of(error)))
            parts[name] = _placeholder(value, label_of(value))
    _replace_largest(plain, parts, problems)
    items = (b"%s:%s" % (json.dumps(name).encode(), part) for name, part in parts.items())
    return b"{%s}" % b",".join(items), problems


def encode_value(value: Any) -> bytes:
    """Encode a value as JSON in UTF-8. NaN and infinity, which JSON lacks, become null.

    The user asked for it, so attributes are read normally, and tables, series and arrays of data
    libraries are written out (see `flowspan.core.values.tables`).

    Raises:
        TypeError: Something in it has no JSON form.
        ValueError: It is circular or has too many elements.
    """
    try:
        return _dumps(value, default=_asked_for, for_nan=_nothing)
    except TypeError:
        fresh = _with_plain_keys(value)
        if fresh is value:
            raise
        return _dumps(fresh, default=_asked_for, for_nan=_nothing)


def _nothing(_constant: str) -> None:
    return None


def _replace_largest(
    arguments: Mapping[str, Any], parts: dict[str, bytes], problems: list[Problem]
) -> None:
    room = MAX_PARAMETERS_BYTES - sum(
        len(name.encode("utf-8", "surrogatepass")) * 6 + 8 for name in parts
    )
    for name in sorted(parts, key=lambda name: len(parts[name]), reverse=True):
        if sum(map(len, parts.values())) <= room:
            return
        reason = f"it takes {len(parts[name])} bytes; the limit for all is {MAX_PARAMETERS_BYTES}"
        problems.append(Problem(name, type_name(type(arguments[name])), reason))
        shown = parts[name].decode(errors="replace")
        parts[name] = _placeholder(arguments[name], shown)


def _encoder(default: Callable[[Any], Any] | None) -> Callable[[Any], str]:
    encoder = json.JSONEncoder(
        default=default, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    return encoder.encode


_encode = _encoder(None)
"""Created once: `json.dumps` creates an encoder per call, which takes longer than encoding."""


def _dumps(
    value: Any,
    *,
    default: Callable[[Any], Any] | None = None,
    for_nan: Callable[[str], Any] = str,
) -> bytes:
    try:
        text = _encode(value) if default is None else _encoder(default)(value)
    except ValueError:
        # Replace NaN and infinity, which JSON lacks. Circular values fail again.
        text = json.dumps(value, default=default, separators=(",", ":"))
        text = json.dumps(json.loads(text, parse_constant=for_nan), separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return json.dumps(json.loads(text)).encode()


def _given(value: Any) -> Any:
    """Convert a value of a type that JSON does not know, by its own methods."""
    kind = type(value)
    for name in names_of(kind):
        convert = _CONVERTERS.get(name)
        if convert is not None:
            return convert(value)
    if type_attribute(kind, "__fspath__") is not None:
        return value.__fspath__()
    if type_attribute(kind, "get_secret_value") is not None:
        return MASK
    if type_attribute(kind, "model_dump") is not None:
        return value.model_dump(mode="json")
    raise TypeError(f"{type_name(kind)} cannot be represented in JSON")


def _asked_for(value: Any) -> Any:
    """Convert a value that the user asked to encode, including data library types."""
    try:
        return data_form(value)
    except TypeError:
        declared = declared_fields(type(value))
        if declared is None:
            return _given(value)
    return {name: getattr(value, name) for name in declared if hasattr(value, name)}


def _with_plain_keys(value: Any) -> Any:
    """Return the value with numpy numbers among dictionary keys replaced by plain ones."""
    if type(value) is list or type(value) is tuple:
        fresh = [_with_plain_keys(item) for item in value]
        return value if all(a is b for a, b in zip(fresh, value, strict=True)) else fresh
    if type(value) is not dict:
        return value
    changed = {}
    is_same = True
    for key, item in value.items():
        try:
            plain_key = number_form(key)
        except TypeError:
            plain_key = key
        plain_item = _with_plain_keys(item)
        is_same = is_same and plain_key is key and plain_item is item
        changed[plain_key] = plain_item
    return value if is_same else changed


def _bytes(value: bytes | bytearray) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return b2a_base64(value, newline=False).decode()


# By name: importing all these modules would slow the start of a small program.
_CONVERTERS: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("builtins", "bytearray"): _bytes,
    ("builtins", "bytes"): _bytes,
    ("builtins", "frozenset"): parts_of,
    ("builtins", "set"): parts_of,
    ("datetime", "date"): lambda value: value.isoformat(),
    ("datetime", "datetime"): lambda value: value.isoformat(),
    ("datetime", "time"): lambda value: value.isoformat(),
    ("datetime", "timedelta"): lambda value: value.total_seconds(),
    ("decimal", "Decimal"): str,
    ("enum", "Enum"): lambda value: value.value,
    ("numpy", "generic"): number_form,
    ("pandas._libs.tslibs.nattype", "_NaT"): _nothing,
    ("uuid", "UUID"): str,
}


def _placeholder(value: Any, shown: str) -> bytes:
    if len(shown) > _MAX_SHOWN:
        shown = f"{shown[:_MAX_SHOWN]}…"
    return json.dumps(placeholder(value, shown)).encode()
