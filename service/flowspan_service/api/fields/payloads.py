"""Payloads, the values of users: checks, conversions, and their text form in JSON answers."""

from __future__ import annotations

import json
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar

from flowspan.v1 import payload_pb2
from flowspan_service.api import limits
from flowspan_service.api.fields.checks import check_required_text, invalid, too_large
from flowspan_service.domain.payloads import Payload

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.descriptor import FieldDescriptor
    from google.protobuf.message import Message

    from flowspan_service.domain.errors import InvalidFieldError

M = TypeVar("M", bound="Message")

_PAYLOAD = payload_pb2.Payload.DESCRIPTOR.full_name
_NO_BRACKETS = bytes(sorted(set(range(256)) - set(b"[]{}")))
_AS_SQUARE = bytes.maketrans(b"{}", b"[]")
_STEPS = {ord("["): 1, ord("]"): -1}
_PEELED_LEVELS = 8


# Checks.


def check_payload(
    payload: payload_pb2.Payload, field: str, limit: int, *, is_reported: bool = False
) -> None:
    """Check a value of user code.

    Args:
        payload: The message.
        field: The name of its field.
        limit: The maximum size of the value in bytes.
        is_reported: True in a report, where deeply nested JSON is accepted: clients of version
            0.1 may send it, and a refusal would cost them a whole batch.
    """
    encoding = payload.encoding
    # The usual encoding needs no other check.
    if encoding != "json":
        check_required_text(encoding, f"{field}.encoding", limits.SHORT_NAME)
    data = payload.data
    if payload.text:
        if data:
            raise invalid(field, "has both data and text. Send one of them")
        data = payload.text.encode()
        field = f"{field}.text"
    else:
        field = f"{field}.data"
    if len(data) > limit:
        raise too_large(field, len(data), limit)
    if encoding == "json":
        _check_json(data, field, is_reported=is_reported)


class _ConstantError(ValueError):
    """A constant of JavaScript that JSON lacks; the argument is its name."""


def _refuse(constant: str) -> NoReturn:
    """Refuse NaN and the infinities, which Python's parser accepts and JSON lacks."""
    raise _ConstantError(constant)


_parse = json.JSONDecoder(
    parse_constant=_refuse, parse_float=len, parse_int=len, object_pairs_hook=len
).decode
"""Parses JSON, but makes small numbers of its numbers and objects, to save memory and time. Python
itself would refuse an integer of more than 4300 digits, which JSON allows."""


def _check_json(data: bytes, field: str, *, is_reported: bool) -> None:
    """Check that data is one JSON value (RFC 8259) that is not nested too deeply."""
    try:
        _parse(data.decode())
    except ValueError as error:
        raise invalid(field, f"is not JSON ({_reason(error)})") from None
    except RecursionError:
        if is_reported:
            return
        raise _too_deep(field) from None
    if not is_reported and _depth_of(data) > limits.JSON_DEPTH:
        raise _too_deep(field)


def _reason(error: ValueError) -> str:
    """Return why a value is not JSON, for people."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.pos}"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not UTF-8"
    return f"it contains {error}"


def _too_deep(field: str) -> InvalidFieldError:
    return invalid(field, f"is nested more deeply than {limits.JSON_DEPTH} levels")


def _depth_of(json_text: bytes) -> int:
    """Return the nesting of valid JSON: exactly if it may exceed the limit, else an upper bound."""
    openings = json_text.count(b"[") + json_text.count(b"{")
    if openings <= limits.JSON_DEPTH:
        return openings
    # Without escaped backslashes and quotes, every second part is a string.
    plain = json_text.replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = b"".join(plain.split(b'"')[::2]).translate(_AS_SQUARE, _NO_BRACKETS)
    levels = 0
    # Most values are wide and flat: a few levels at the bottom are all but everything.
    while levels < _PEELED_LEVELS and len(brackets) > 2 * limits.JSON_DEPTH:
        brackets = brackets.replace(b"[]", b"")
        levels += 1
    return levels + max(accumulate(map(_STEPS.__getitem__, brackets)), default=0)


# Conversions.


def payload_of(wire: payload_pb2.Payload) -> Payload:
    """Return the payload of a message, whichever form its value has."""
    return Payload(wire.encoding, wire.data or wire.text.encode())


def payload_message(payload: Payload | None) -> payload_pb2.Payload | None:
    """Return the message of a payload; None for None."""
    if payload is None:
        return None
    return payload_pb2.Payload(encoding=payload.encoding, data=payload.data)


def stored_payload(wire: payload_pb2.Payload) -> bytes:
    """Return the encoded message of a payload as it is stored: with `data`."""
    if wire.text:
        wire = payload_pb2.Payload(encoding=wire.encoding, data=wire.text.encode())
    return wire.SerializeToString()


# The text form.


class _Way(NamedTuple):
    """A field that is a payload, or holds one."""

    name: str
    is_repeated: bool
    is_map: bool


_ways: dict[str, tuple[_Way, ...]] = {}
"""The fields of each type, by its full name, that lead to payloads."""


def to_text_form(message: M) -> M:
    """Return a message whose payloads have `text` in place of `data`, wherever they are in it.

    For answers in JSON, which people read. A payload is changed if its encoding is "json" or begins
    with "text/" and its data is UTF-8. The given message is not changed.
    """
    if not _leads_to_payload(message.DESCRIPTOR):
        return message
    copied = type(message)()
    copied.CopyFrom(message)
    _rewrite(copied)
    return copied


def _leads_to_payload(descriptor: Any) -> bool:
    return descriptor.full_name == _PAYLOAD or bool(_ways_of(descriptor))


def _ways_of(descriptor: Any) -> tuple[_Way, ...]:
    known = _ways.get(descriptor.full_name)
    if known is None:
        known = _ways[descriptor.full_name] = tuple(
            way
            for field in descriptor.fields
            if field.message_type is not None and (way := _way(field)) is not None
        )
    return known


def _way(field: FieldDescriptor) -> _Way | None:
    """Return the way through a field that holds messages; None if it leads to no payload."""
    inner: Any = field.message_type
    is_map = inner.GetOptions().map_entry
    if is_map:
        inner = inner.fields_by_name["value"].message_type
    if inner is None or not _reaches(inner, set()):
        return None
    return _Way(field.name, field.is_repeated, is_map)


def _reaches(descriptor: Any, seen: set[str]) -> bool:
    """Return True if a message of the type can hold a payload; types may be recursive."""
    if descriptor.full_name == _PAYLOAD:
        return True
    if descriptor.full_name in seen:
        return False
    seen.add(descriptor.full_name)
    return any(
        _reaches(field.message_type, seen)
        for field in descriptor.fields
        if field.message_type is not None
    )


def _rewrite(message: Any) -> None:
    if message.DESCRIPTOR.full_name == _PAYLOAD:
        _put_text(message)
        return
    for way in _ways_of(message.DESCRIPTOR):
        for inner in _messages(message, way):
            _rewrite(inner)


def _messages(message: Any, way: _Way) -> Iterable[Any]:
    """Return the messages in a field."""
    if not way.is_repeated:
        return (getattr(message, way.name),) if message.HasField(way.name) else ()
    field: Any = getattr(message, way.name)
    found: Iterable[Any] = field.values() if way.is_map else field
    return found


def _put_text(payload: payload_pb2.Payload) -> None:
    if payload.encoding != "json" and not payload.encoding.startswith("text/"):
        return
    try:
        text = payload.data.decode()
    except UnicodeDecodeError:
        return
    payload.ClearField("data")
    payload.text = text
