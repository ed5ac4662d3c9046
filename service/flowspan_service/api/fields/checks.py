"""General checks of requests, from which each noun builds its own table.

A check raises InvalidFieldError, whose message names the field, or TooLargeError.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias

from flowspan_service.api import limits
from flowspan_service.domain.errors import InvalidFieldError, TooLargeError
from flowspan_service.domain.states import StateType

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.timestamp_pb2 import Timestamp

Check: TypeAlias = "Callable[[Any], None]"
"""The check of one type of request."""
Checks: TypeAlias = "dict[type[Any], Check]"
"""The checks of a service's requests, by type."""

is_id = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch
"""Matches a UUID in lower-case canonical form."""
is_new_id = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
).fullmatch
"""Matches a UUIDv7 in lower-case canonical form."""
_HEX = re.compile(r"[0-9a-f]*").fullmatch
_ID_PART = re.compile(r"-*(?:[0-9a-f]-*){4,32}").fullmatch

MAX_SECONDS = 253_402_300_799
"""The end of the year 9999, the last second of a Timestamp."""

STATE_TYPES = frozenset(int(each) for each in StateType)
_ORDERS = (0, 1, 2)


# Checks of requests.


def no_check(_: object) -> None:
    """Accept any request."""


def by_id(request: Any) -> None:
    """Check a request for the resource of an id."""
    check_id(request.id, "id")


def with_message(name: str, check: Callable[[Any, str], None]) -> Check:
    """Return the check of a request with a required message.

    Args:
        name: The field of the message.
        check: The check of the message, called with the message and the name of its field.
    """

    def check_request(request: Any) -> None:
        if not request.HasField(name):
            raise invalid(name, "is required")
        check(getattr(request, name), name)

    return check_request


def with_page(limit: int) -> Check:
    """Return the check of a request for a page of at most `limit` items."""

    def check_request(request: Any) -> None:
        size = request.page_size
        if not 0 <= size <= limit:
            raise invalid("page_size", f"{size} is not between 1 and {limit} (or 0)")

    return check_request


def with_order(request: Any) -> None:
    """Check the order of a list."""
    if request.order not in _ORDERS:
        raise invalid("order", f"{request.order} is not known")


def all_of(*checks: Check) -> Check:
    """Return a check that runs several checks in turn."""

    def check_request(request: Any) -> None:
        for check in checks:
            check(request)

    return check_request


# Checks of fields.


def invalid(field: str, why: str) -> InvalidFieldError:
    """Return the error for a field with a forbidden value."""
    return InvalidFieldError(f"{field}: {why}", field=field)


def too_large(field: str, size: int, limit: int) -> TooLargeError:
    """Return the error for a field that exceeds its limit."""
    return TooLargeError(
        f"{field}: {size} bytes exceed the limit of {limit}", field=field, limit=str(limit)
    )


def check_id(value: str, field: str) -> None:
    """Check a required id."""
    if not value:
        raise invalid(field, "is required")
    if not is_id(value):
        raise invalid(field, f"{shown(value)} is not a UUID in lower-case canonical form")


def check_optional_id(value: str, field: str) -> None:
    """Check an id that may be empty."""
    if value:
        check_id(value, field)


def check_new_id(value: str, field: str) -> None:
    """Check the id of a run or artifact to create: lists use the order of ids as that of time."""
    check_id(value, field)
    if not is_new_id(value):
        raise InvalidFieldError(
            f"{field}: {shown(value)} is not a UUIDv7 (the 13th digit is not 7, or the 17th is"
            " not 8, 9, a or b)",
            advice="Make ids with a function for UUIDv7: uuid.uuid7() in Python 3.14, uuid.NewV7()"
            " of google/uuid in Go, v7() of uuid in JavaScript, uuidv7() in PostgreSQL 18.",
            field=field,
        )


def check_optional_new_id(value: str, field: str) -> None:
    """Check the id of a run or artifact to create, which may be empty."""
    if value:
        check_new_id(value, field)


def check_id_part(part: str, field: str, which: str) -> None:
    """Check the beginning or the end of an id, or an empty string."""
    if part and not _ID_PART(part):
        raise invalid(field, f"{shown(part)} is not the {which} of an id, of 4 characters or more")


def check_text(value: str, field: str, limit: int) -> None:
    """Check a string of at most `limit` bytes without NULs, which PostgreSQL rejects."""
    if "\0" in value:
        raise invalid(
            field, 'contains a NUL character (U+0000). Leave it out, or send "␀" in its place'
        )
    check_length(value, field, limit)


def check_length(value: str, field: str, limit: int) -> None:
    """Check that a string has at most `limit` bytes."""
    # A character has at most four bytes, so most strings need not be encoded to be measured.
    if len(value) * 4 > limit and len(value.encode()) > limit:
        raise too_large(field, len(value.encode()), limit)


def check_required_text(value: str, field: str, limit: int) -> None:
    """Check a string that must not be empty."""
    if not value:
        raise invalid(field, "is required")
    check_text(value, field, limit)


def check_tags(tags: Sequence[str], field: str) -> None:
    """Check tags."""
    if len(tags) > limits.TAG_COUNT:
        raise TooLargeError(
            f"{field}: {len(tags)} tags exceed the limit of {limits.TAG_COUNT}", field=field
        )
    for tag in tags:
        check_required_text(tag, field, limits.NAME)


def check_values(values: Sequence[str | int], field: str) -> None:
    """Check the values of a filter: strings, or types of states."""
    if len(values) > limits.FILTER_VALUES:
        raise TooLargeError(f"{field}: more than {limits.FILTER_VALUES} values", field=field)
    for value in values:
        if isinstance(value, str):
            check_required_text(value, field, limits.NAME)
        elif value not in STATE_TYPES:
            raise invalid(field, f"{value} is not known")


def check_hex(value: str, field: str, length: int) -> None:
    """Check a string of `length` lower-case hex digits, or an empty one."""
    if value and (len(value) != length or not _HEX(value)):
        raise invalid(field, f"{shown(value)} is not {length} lower-case hex digits")


def check_time(time: Timestamp, field: str) -> None:
    """Check a time between the years 1970 and 9999."""
    if not (0 <= time.seconds <= MAX_SECONDS and 0 <= time.nanos <= 999_999_999):
        raise invalid(field, "is not a time between the years 1970 and 9999")


def check_required_time(message: Any, name: str, field: str) -> None:
    """Check a required time; the beginning of 1970 counts as a time."""
    if not message.HasField(name):
        raise invalid(field, "is required")
    check_time(getattr(message, name), field)


def check_duration(duration: Duration, field: str) -> None:
    """Check a duration that must not be negative."""
    if not (0 <= duration.seconds <= MAX_SECONDS and 0 <= duration.nanos <= 999_999_999):
        raise invalid(field, "is not a positive duration")


def shown(value: str) -> str:
    """Return a string as error messages quote it, shortened."""
    return repr(value if len(value) <= 80 else value[:80] + "…")
