"""Values of user code as JSON, for people and other languages to see.

Never fails: what cannot be written is replaced by a placeholder that says what it was::

    {"$unserializable": {"type": "pandas.DataFrame", "repr": "..."}}
"""

from __future__ import annotations

import json
from binascii import b2a_base64
from typing import TYPE_CHECKING, Any, NamedTuple

from flowspan.core.failures import error_text, type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_PARAMETERS_BYTES = 512 * 1024
PLACEHOLDER = "$unserializable"

_MAX_REPR = 200


class Problem(NamedTuple):
    """A parameter that was replaced by a placeholder."""

    name: str
    type: str
    reason: str


def encode_parameters(arguments: Mapping[str, Any]) -> tuple[bytes, list[Problem]]:
    """One JSON object of the arguments, and what could not be written.

    Args:
        arguments: The values by parameter.

    Returns:
        JSON in UTF-8 of at most 512 KiB; and the parameters that a placeholder stands for.
    """
    try:
        data = _dumps(arguments)
        if len(data) <= MAX_PARAMETERS_BYTES:
            return data, []
    except Exception:  # noqa: BLE001, S110 - one of the values: found out below
        pass
    problems: list[Problem] = []
    parts: dict[str, bytes] = {}
    for name, value in arguments.items():
        try:
            parts[name] = _dumps(value)
        except Exception as error:  # noqa: BLE001 - may be anything that user code raises
            problems.append(Problem(name, type_name(type(value)), error_text(error)))
            parts[name] = _placeholder(value)
    _replace_largest(arguments, parts, problems)
    items = (b"%s:%s" % (json.dumps(name).encode(), part) for name, part in parts.items())
    return b"{%s}" % b",".join(items), problems


def encode_value(value: Any) -> bytes:
    """A value as JSON in UTF-8. NaN and infinity, which JSON does not have, become null.

    Raises:
        TypeError: JSON has no form for something in it.
        ValueError: It contains itself.
    """
    return _dumps(value, for_nan=_nothing)


def _nothing(_constant: str) -> None:
    return None


def _replace_largest(
    arguments: Mapping[str, Any], parts: dict[str, bytes], problems: list[Problem]
) -> None:
    room = MAX_PARAMETERS_BYTES - sum(len(name.encode()) * 6 + 8 for name in parts)
    for name in sorted(parts, key=lambda name: len(parts[name]), reverse=True):
        if sum(map(len, parts.values())) <= room:
            return
        reason = f"it takes {len(parts[name])} bytes; all together may take {MAX_PARAMETERS_BYTES}"
        problems.append(Problem(name, type_name(type(arguments[name])), reason))
        parts[name] = _placeholder(arguments[name])


def _dumps(value: Any, *, for_nan: Callable[[str], Any] = str) -> bytes:
    try:
        text = json.dumps(
            value, default=_plain, ensure_ascii=False, allow_nan=False, separators=(",", ":")
        )
    except ValueError:
        # NaN and infinity, which JSON does not have, are replaced. Circular values fail again.
        text = json.dumps(value, default=_plain, separators=(",", ":"))
        text = json.dumps(json.loads(text, parse_constant=for_nan), separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:  # half a surrogate pair
        return json.dumps(json.loads(text)).encode()


def _plain(value: Any) -> Any:
    """What JSON writes for a type that it does not know."""
    for kind in type(value).__mro__:
        convert = _CONVERTERS.get((kind.__module__, kind.__name__))
        if convert is not None:
            return convert(value)
    if hasattr(value, "__fspath__"):
        return value.__fspath__()
    if hasattr(value, "get_secret_value"):
        return "**********"
    if hasattr(type(value), "model_dump"):
        return value.model_dump(mode="json")
    fields = getattr(type(value), "__dataclass_fields__", None)
    if fields is not None:
        return {name: getattr(value, name) for name in fields if hasattr(value, name)}
    raise TypeError(f"{type_name(type(value))} has no form in JSON")


def _bytes(value: bytes | bytearray) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return b2a_base64(value, newline=False).decode()


# By name, for importing all these modules would be a part of the start of a small program.
_CONVERTERS: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("builtins", "bytearray"): _bytes,
    ("builtins", "bytes"): _bytes,
    ("builtins", "frozenset"): list,
    ("builtins", "set"): list,
    ("datetime", "date"): lambda value: value.isoformat(),
    ("datetime", "datetime"): lambda value: value.isoformat(),
    ("datetime", "time"): lambda value: value.isoformat(),
    ("datetime", "timedelta"): lambda value: value.total_seconds(),
    ("decimal", "Decimal"): str,
    ("enum", "Enum"): lambda value: value.value,
    ("uuid", "UUID"): str,
}


def _placeholder(value: Any) -> bytes:
    try:
        shown = repr(value)
    except Exception as error:  # noqa: BLE001 - __repr__ is user code
        shown = f"<its __repr__ raised {type(error).__name__}>"
    if len(shown) > _MAX_REPR:
        shown = f"{shown[:_MAX_REPR]}…"
    return json.dumps({PLACEHOLDER: {"type": type_name(type(value)), "repr": shown}}).encode()
