"""Messages as JSON: the ProtoJSON mapping, strict for people and lenient for generated clients.

A person who types a request wants to hear of a name that is misspelt: ``{"ordr": …}`` would list
everything. A generated client may be newer than the service, so its unknown fields are ignored, as
they are in binary. Unknown names of enum values are refused in both: in binary, too, the checks of
the servicers refuse numbers that they do not know.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NoReturn

from google.protobuf.json_format import Error, MessageToDict, ParseDict

from flowspan_service.api import limits
from flowspan_service.api.fields.checks import invalid, shown
from flowspan_service.api.fields.payloads import to_text_form
from flowspan_service.domain.errors import InvalidFieldError, ServiceError, TooLargeError
from flowspan_service.transports.http.errors import json_bytes

if TYPE_CHECKING:
    from google.protobuf.message import Message

MAX_DEPTH = 64
"""Messages within messages, as in binary (see api.calls.wire_shape)."""

MAX_BRACKETS = 1_000_000
"""Opening brackets in a request. "[]," is three bytes, and a list of 56 in memory."""

_WELL_KNOWN = "google.protobuf."
_FIELD_OF_ERROR = re.compile(r"Failed to parse (\w+) field: ")
_PLACE_IN_ERROR = re.compile(r" at \w+(\.[\w\[\]]+)*\.*$")


def binary_request(kind: type[Message], text: bytes, *, is_lenient: bool) -> bytes:
    """Return the bytes of a request that came as JSON.

    Args:
        kind: The type of the request.
        text: The JSON text, in UTF-8; empty for a request without fields.
        is_lenient: True to ignore unknown fields.

    Raises:
        InvalidFieldError: The text is not JSON, or not the JSON of that type; names the field.
        TooLargeError: It has too many objects and arrays.
    """
    content = _loaded(text or b"{}")
    if not isinstance(content, dict):
        raise _malformed("it is not an object")
    message = kind()
    try:
        _check_names(content, kind.DESCRIPTOR, "", is_lenient=is_lenient, depth=1)
        ParseDict(content, message)
        return message.SerializeToString()
    except ServiceError:
        raise
    except (Error, ValueError, TypeError, OverflowError) as error:
        raise _not_parsed(error) from None


def json_answer(kind: type[Message], data: bytes) -> bytes:
    """Return the JSON text of an encoded answer, in which payloads of text are text."""
    return json_bytes(MessageToDict(to_text_form(kind.FromString(data))))


def _loaded(text: bytes) -> Any:
    if text.count(b"[") + text.count(b"{") > MAX_BRACKETS:
        raise TooLargeError(
            f"The body of the request has more than {MAX_BRACKETS} brackets.",
            advice="Send less in one request.",
            limit=str(MAX_BRACKETS),
        )
    try:
        content = json.loads(text.decode(), object_pairs_hook=_object, parse_constant=_no_constant)
        if b"\\ud" in text.lower():
            json_bytes(content)  # refuses half of a surrogate pair, which is not text
        return content
    except RecursionError:
        raise _malformed("it is nested too deeply") from None
    except ValueError as error:
        raise _malformed(str(error)) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise invalid(twice[: limits.NAME], "is there twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise _malformed(f"{name} is not JSON")


def _check_names(
    content: dict[str, Any], kind: Any, at: str, *, is_lenient: bool, depth: int
) -> None:
    """Check the names of the fields and enum values of a message; remove unknown fields if lenient.

    Args:
        content: The message, as JSON.
        kind: The descriptor of its type.
        at: The path of the message in the request, with a dot at its end.
        is_lenient: True to remove unknown fields.
        depth: The number of messages around this one, with itself.

    Raises:
        InvalidFieldError: A name is unknown, or messages are nested too deeply.
    """
    if depth > MAX_DEPTH:
        raise _malformed("it is nested too deeply")
    for name in list(content):
        field = kind.fields_by_camelcase_name.get(name) or kind.fields_by_name.get(name)
        place = f"{at}{name}"[: limits.NAME]
        if field is not None:
            found = content[name]
            # If the type of one is wrong, ParseDict says so later.
            for value in found if isinstance(found, list) else [found]:
                _check_value(value, field, place, is_lenient=is_lenient, depth=depth)
        elif is_lenient:
            del content[name]
        else:
            raise invalid(place, f"there is no such field in {kind.name}")


def _check_value(value: Any, field: Any, place: str, *, is_lenient: bool, depth: int) -> None:
    if field.enum_type is not None:
        if isinstance(value, str):
            _check_enum(value, field.enum_type, place)
    elif field.message_type is not None and isinstance(value, dict):
        kind = field.message_type
        # No map of the service holds messages or enums.
        if not (kind.full_name.startswith(_WELL_KNOWN) or kind.GetOptions().map_entry):
            _check_names(value, kind, f"{place}.", is_lenient=is_lenient, depth=depth + 1)


def _check_enum(name: str, kind: Any, place: str) -> None:
    if name not in kind.values_by_name:
        known = ", ".join(kind.values_by_name)
        raise invalid(place, f"{shown(name)} is not one of {known}")


def _malformed(why: str) -> InvalidFieldError:
    return InvalidFieldError(
        f"The body of the request is not a JSON object that this method expects: {why}.",
        advice="Send an object, {} at least. Text is UTF-8, and each name is there once.",
    )


def _not_parsed(error: Exception) -> InvalidFieldError:
    """Return the error for what ParseDict refused; its first line names the field."""
    text = str(error).partition("\n")[0][: limits.KIB]
    field = ".".join(_FIELD_OF_ERROR.findall(text))
    why = _PLACE_IN_ERROR.sub("", _FIELD_OF_ERROR.sub("", text)).rstrip(".")
    return invalid(field, why) if field else _malformed(why)
