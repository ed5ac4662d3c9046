"""Ids: 36 lower-case characters in Python; 16 bytes in SQLite, UUID in PostgreSQL."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy.types import LargeBinary, TypeDecorator, UserDefinedType

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.engine import Dialect
    from sqlalchemy.types import TypeEngine

_HEX_DIGITS = 32
_LAST_CHARACTER = "\U0010ffff"


@lru_cache(maxsize=16_384)
def to_bytes(text: str) -> bytearray:
    """Return the 16 bytes of an id. Do not change them.

    They are a bytearray, which Python's sqlite3 module binds five times as fast as bytes: it looks
    for an adapter for any value that is not exactly an int, float, str or bytearray.

    Raises:
        ValueError: The text is not a UUID.
    """
    digits = text.replace("-", "")
    if len(digits) != _HEX_DIGITS:
        msg = f"{text!r} is not a UUID"
        raise ValueError(msg)
    return bytearray.fromhex(digits)


def to_text(raw: bytes) -> str:
    """Return the id with these 16 bytes."""
    digits = raw.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def prefix_range(prefix: str) -> tuple[str, str]:
    """Return the first and the last id that can begin with these characters.

    Raises:
        ValueError: No id begins with them.
    """
    digits = prefix.replace("-", "").lower()
    first = digits.ljust(_HEX_DIGITS, "0")
    last = digits.ljust(_HEX_DIGITS, "f")
    return to_text(bytes.fromhex(first)), to_text(bytes.fromhex(last))


def suffix_pattern(suffix: str) -> str:
    """Return the LIKE pattern of the hex digits of all ids that end with these characters.

    Raises:
        ValueError: No id ends with them.
    """
    digits = suffix.replace("-", "").lower()
    to_text(bytes.fromhex(digits.rjust(_HEX_DIGITS, "0")))
    return f"%{digits}"


def time_floor(time_us: int) -> str:
    """Return the lowest UUIDv7 of that time (RFC 9562, 5.7)."""
    milliseconds = min(max(time_us // 1000, 0), (1 << 48) - 1)
    return to_text(milliseconds.to_bytes(6, "big") + bytes(10))


def begins_with(column: ColumnElement[Any], prefix: str) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions for names that begin with a prefix.

    They are a range, as LIKE uses an index only under conditions.
    """
    return column >= prefix, column < prefix + _LAST_CHARACTER


class _PostgresUuid(UserDefinedType[str]):
    """PostgreSQL's UUID, as text on the way in and out (see dialects.postgresql for the loader)."""

    cache_ok = True
    render_bind_cast = True

    def get_col_spec(self, **_: Any) -> str:
        return "UUID"


class Id(TypeDecorator[str]):
    """The column type of ids."""

    impl = LargeBinary(16)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return UUID where the database has one, else a BLOB."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(_PostgresUuid())
        return dialect.type_descriptor(LargeBinary(16))

    def process_bind_param(self, value: str | None, dialect: Dialect) -> Any:
        """Convert a value for the database."""
        if value is None or dialect.name == "postgresql":
            return value
        return to_bytes(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        """Convert a value from the database."""
        if value is None or dialect.name == "postgresql":
            return value  # type: ignore[no-any-return] # the loader gives text
        return to_text(value)
