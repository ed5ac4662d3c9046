"""Ids: 36 lower-case characters in Python; 16 bytes in SQLite, UUID in PostgreSQL."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy.types import LargeBinary, TypeDecorator, UserDefinedType

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect
    from sqlalchemy.types import TypeEngine

_HEX_DIGITS = 32


@lru_cache(maxsize=16_384)
def to_bytes(text: str) -> bytearray:
    """The 16 bytes of an id, not to be changed.

    A bytearray, as Python's sqlite3 module binds that five times as fast as bytes: it looks for an
    adapter for whatever is not exactly an int, float, str or bytearray.

    Raises:
        ValueError: It is not a UUID.
    """
    digits = text.replace("-", "")
    if len(digits) != _HEX_DIGITS:
        msg = f"{text!r} is not a UUID"
        raise ValueError(msg)
    return bytearray.fromhex(digits)


def to_text(raw: bytes) -> str:
    """The id with these 16 bytes."""
    digits = raw.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def prefix_range(prefix: str) -> tuple[str, str]:
    """The first and the last id that can begin with these characters.

    Raises:
        ValueError: No id begins so.
    """
    digits = prefix.replace("-", "").lower()
    first = digits.ljust(_HEX_DIGITS, "0")
    last = digits.ljust(_HEX_DIGITS, "f")
    return to_text(bytes.fromhex(first)), to_text(bytes.fromhex(last))


def suffix_pattern(suffix: str) -> str:
    """The LIKE pattern of the hex digits of all ids that end with these characters.

    Raises:
        ValueError: No id ends so.
    """
    digits = suffix.replace("-", "").lower()
    to_text(bytes.fromhex(digits.rjust(_HEX_DIGITS, "0")))
    return f"%{digits}"


def time_floor(time_us: int) -> str:
    """The lowest id that a UUIDv7 made at that time can have (RFC 9562, 5.7)."""
    milliseconds = min(max(time_us // 1000, 0), (1 << 48) - 1)
    return to_text(milliseconds.to_bytes(6, "big") + bytes(10))


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
        """UUID where there is one, else a BLOB."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(_PostgresUuid())
        return dialect.type_descriptor(LargeBinary(16))

    def process_bind_param(self, value: str | None, dialect: Dialect) -> Any:
        """To the database."""
        if value is None or dialect.name == "postgresql":
            return value
        return to_bytes(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        """From the database."""
        if value is None or dialect.name == "postgresql":
            return value  # type: ignore[no-any-return] # the loader gives text
        return to_text(value)
