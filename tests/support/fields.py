"""Field paths of protobuf messages: the possible ones and the ones that a message has set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

_LEAVES = ("google.protobuf.Timestamp", "google.protobuf.Duration")


def possible_fields(descriptor: Descriptor) -> set[str]:
    """Return the paths of all fields below a message, such as "log.time".

    A message inside a message of the same type ends a path, as in `Failure.cause`.
    """
    return set(_possible(descriptor, (), ""))


def set_fields(message: Message) -> set[str]:
    """Return the paths of the fields that are set, also those of the messages in it."""
    return set(_set(message, (), ""))


def _possible(descriptor: Descriptor, outer: tuple[str, ...], before: str) -> Iterator[str]:
    inside = (*outer, descriptor.full_name)
    for field in descriptor.fields:
        path = before + field.name
        yield path
        if _goes_deeper(field, inside):
            yield from _possible(field.message_type, inside, path + ".")


def _set(message: Message, outer: tuple[str, ...], before: str) -> Iterator[str]:
    inside = (*outer, message.DESCRIPTOR.full_name)
    for field, value in message.ListFields():
        path = before + field.name
        yield path
        if _goes_deeper(field, inside):
            is_one = hasattr(value, "ListFields")
            for each in [value] if is_one else value:
                yield from _set(each, inside, path + ".")


def _goes_deeper(field: Any, inside: tuple[str, ...]) -> bool:
    kind = field.message_type
    return kind is not None and kind.full_name not in (*inside, *_LEAVES)
