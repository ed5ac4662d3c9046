"""The wire shape of a message, counted on its bytes before it is parsed.

A field of two bytes may become a message of 200 bytes in memory, so a limit on the bytes alone does
not bound the memory of parsing. The scan decodes nothing: it steps from field to field, into those
that hold messages, and stops at the limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from flowspan_service.domain.errors import InvalidFieldError, TooLargeError

if TYPE_CHECKING:
    from google.protobuf.message import Message

MAX_MESSAGES = 160_000
"""Messages within one message. 20,000 events have 120,000 when each creates a run."""
MAX_FIELDS = 500_000
"""Fields of one message and those within it. The smallest of the largest batches have 400,000."""
MAX_DEPTH = 64
"""Messages within messages. A chain of 16 failures in an event of a batch is 20 deep."""

_MAX_VARINT_BYTES = 10
_VARINT, _LENGTH = 0, 2
_SIZES = {1: 8, 5: 4}
"""The sizes of the other fields; groups (3 and 4) are not among them."""

_Shape: TypeAlias = "dict[int, _Shape]"
"""The fields of a type that hold messages, by number, each with the shape of its type."""

_shapes: dict[str, _Shape] = {}


class _MalformedError(Exception):
    """The bytes are not a message."""


def check_shape(data: bytes, message: type[Message]) -> None:
    """Check that a message of this type has no more fields than it may have.

    Raises:
        InvalidFieldError: The bytes are not a message, or use groups, which no message here has.
        TooLargeError: The message has too many fields, or they are nested too deeply.
    """
    try:
        _Scan(data).message(0, len(data), _shape_of(message.DESCRIPTOR))
    except (_MalformedError, IndexError, KeyError):
        raise malformed() from None


def malformed() -> InvalidFieldError:
    """Return the error for bytes that are not a message."""
    return InvalidFieldError(
        "The bytes received are not a message of the type that this method expects.",
        advice="Check that text is UTF-8 and that both sides were generated from the same protos.",
    )


def _shape_of(descriptor: Any) -> _Shape:
    """Return the shape of a type; the shape of a recursive type contains itself."""
    shape = _shapes.get(descriptor.full_name)
    if shape is None:
        shape = _shapes[descriptor.full_name] = {}
        for field in descriptor.fields:
            if field.message_type is not None:
                shape[field.number] = _shape_of(field.message_type)
    return shape


class _Scan:
    """The counts of a message during its scan."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._messages = 0
        self._fields = 0

    def message(self, at: int, end: int, shape: _Shape, depth: int = 1) -> None:
        """Count the message in these bytes.

        Raises:
            _MalformedError, IndexError, KeyError: The bytes are not a message.
            TooLargeError: A count exceeds its limit.
        """
        self._messages += 1
        if self._messages > MAX_MESSAGES:
            raise _too_many(f"{MAX_MESSAGES} nested messages")
        if depth > MAX_DEPTH:
            raise _too_many(f"{MAX_DEPTH} levels of nested messages")
        while at < end:
            self._fields += 1
            if self._fields > MAX_FIELDS:
                raise _too_many(f"{MAX_FIELDS} fields")
            tag, at = self._number(at)
            kind = tag & 7
            if kind == _LENGTH:
                length, at = self._number(at)
                inner = shape.get(tag >> 3)
                if inner is not None:
                    self.message(at, at + length, inner, depth + 1)
                at += length
            elif kind == _VARINT:
                at = self._number(at)[1]
            else:
                at += _SIZES[kind]
        if at != end:
            raise _MalformedError

    def _number(self, at: int) -> tuple[int, int]:
        """Return the number at a position, and the position after it."""
        byte = self._data[at]
        if byte <= 0x7F:
            return byte, at + 1
        value = shift = 0
        for index in range(at, at + _MAX_VARINT_BYTES):
            byte = self._data[index]
            value |= (byte & 0x7F) << shift
            if byte <= 0x7F:
                return value, index + 1
            shift += 7
        raise _MalformedError


def _too_many(limit: str) -> TooLargeError:
    return TooLargeError(
        f"The message has more than {limit}.", advice="Send less in one message.", limit=limit
    )
