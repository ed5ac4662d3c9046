"""Values in PostgreSQL's binary formats: rows for COPY, and arrays for parameters.

See "Binary Format" in postgresql.org/docs/current/sql-copy.html; arrays are as `array_recv` in the
server's source reads them. Values are encoded column by column, so that loops in C do most of the
work; psycopg encodes value by value, which takes longer.
"""

from __future__ import annotations

import struct
from functools import partial
from itertools import chain, repeat, starmap
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import BigInteger, Boolean, Integer, LargeBinary, SmallInteger, Text

from flowspan_service.stores.ids import Id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sqlalchemy import Column

SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = struct.pack(">h", -1)

_NULL = struct.pack(">i", -1)
_LENGTH = struct.Struct(">i")
_ID_LENGTH = struct.pack(">i", 16)
_SYMBOL_FOR_NUL = "\N{SYMBOL FOR NULL}"


class _Kind(NamedTuple):
    """A type of PostgreSQL's (the oids are those of its catalog pg_type)."""

    sql: str
    oid: int
    code: str = ""
    """Of the module struct, if all values have the same length."""
    size: int = 0


# The first that fits counts, as BigInteger and SmallInteger are Integers too.
_KINDS: tuple[tuple[type, _Kind], ...] = (
    (Id, _Kind("uuid", 2950, "16s", 16)),
    (Boolean, _Kind("bool", 16, "b", 1)),
    (BigInteger, _Kind("int8", 20, "q", 8)),
    (SmallInteger, _Kind("int2", 21, "h", 2)),
    (Integer, _Kind("int4", 23, "i", 4)),
    (Text, _Kind("text", 25)),
    (LargeBinary, _Kind("bytea", 17)),
)


def _kind(column: Column[Any]) -> _Kind:
    for kind, found in _KINDS:
        if isinstance(column.type, kind):
            return found
    msg = f"column {column.name}: no encoding for {column.type!r}"
    raise TypeError(msg)


class RowEncoder:
    """Encodes rows of these columns. Strings may not be longer than 1 GiB."""

    def __init__(self, columns: Sequence[Column[Any]]) -> None:
        self.width = len(columns)
        self._count = struct.pack(">h", len(columns))
        self._parts: list[tuple[slice, Callable[[Sequence[Sequence[Any]]], Iterable[bytes]]]] = []
        start = 0
        while start < len(columns):
            end = start
            while end < len(columns) and not columns[end].nullable and _kind(columns[end]).size:
                end += 1
            if end > start:
                self._parts.append((slice(start, end), _pack_together(columns[start:end])))
                start = end
            else:
                self._parts.append((slice(start, start + 1), _pack_alone(columns[start])))
                start += 1

    def encode(self, values: Sequence[Any]) -> bytes:
        """Rows, given as their values one after the other; SIGNATURE and TRAILER go around."""
        columns = [values[index :: self.width] for index in range(self.width)]
        # The last column is the shortest if values are missing: strict finds it.
        fields = [encode(columns[part]) for part, encode in self._parts]
        lines = zip(repeat(self._count, len(columns[0])), *fields, strict=True)
        return b"".join(chain.from_iterable(lines))


class ArrayEncoder:
    """Encodes rows of these columns as one array for each column."""

    def __init__(self, columns: Sequence[Column[Any]]) -> None:
        kinds = [_kind(column) for column in columns]
        self.types = [f"{kind.sql}[]" for kind in kinds]
        """The arrays' types, in SQL."""
        self._parts = [
            (kind.oid, _pack_alone(column)) for kind, column in zip(kinds, columns, strict=True)
        ]

    def encode(self, values: Sequence[Any]) -> list[bytes]:
        """Rows, given as their values one after the other, as arrays."""
        width = len(self._parts)
        return [
            self._array(oid, values[index::width], encode)
            for index, (oid, encode) in enumerate(self._parts)
        ]

    @staticmethod
    def _array(
        oid: int,
        column: Sequence[Any],
        encode: Callable[[Sequence[Sequence[Any]]], Iterable[bytes]],
    ) -> bytes:
        # Dimensions, whether there may be NULLs, the type; then the size, and the first index.
        header = struct.pack(">iiIii", 1, 1, oid, len(column), 1)
        return b"".join((header, *encode((column,))))


def _pack_together(
    columns: Sequence[Column[Any]],
) -> Callable[[Sequence[Sequence[Any]]], Iterable[bytes]]:
    """For columns side by side that are never NULL: one call of struct for a row's values."""
    kinds = [_kind(column) for column in columns]
    pack = struct.Struct(">" + "".join(f"i{kind.code}" for kind in kinds)).pack

    def encode(values: Sequence[Sequence[Any]]) -> Iterable[bytes]:
        pairs = zip(kinds, values, strict=True)
        with_sizes = chain.from_iterable((repeat(kind.size), column) for kind, column in pairs)
        return starmap(pack, zip(*with_sizes))  # noqa: B905 - the sizes have no end

    return encode


def _pack_alone(column: Column[Any]) -> Callable[[Sequence[Sequence[Any]]], Iterable[bytes]]:
    """For a column of its own, whose values may be NULL or of any length."""
    one = _encoder_of_values(column)

    def encode(values: Sequence[Sequence[Any]]) -> Iterable[bytes]:
        (column_values,) = values
        return [_NULL if value is None else one(value) for value in column_values]

    def encode_each_once(values: Sequence[Sequence[Any]]) -> Iterable[bytes]:
        # Names, times that are not set and the like repeat themselves.
        (column_values,) = values
        distinct = set(column_values)
        if len(distinct) > len(column_values) // 2:
            return encode(values)
        known = {value: _NULL if value is None else one(value) for value in distinct}
        return map(known.__getitem__, column_values)

    return encode if isinstance(column.type, Id | LargeBinary) else encode_each_once


def _encoder_of_values(column: Column[Any]) -> Callable[[Any], bytes]:
    if isinstance(column.type, Id):
        return _ID_LENGTH.__add__
    kind = _kind(column)
    if kind.size:
        return partial(struct.Struct(f">i{kind.code}").pack, kind.size)
    return _text if isinstance(column.type, Text) else _bytes


def _text(value: str) -> bytes:
    data = value.encode()
    if b"\0" in data:
        # PostgreSQL cannot store it, and losing a log record because of it would be worse.
        data = value.replace("\0", _SYMBOL_FOR_NUL).encode()
    return _LENGTH.pack(len(data)) + data


def _bytes(value: bytes) -> bytes:
    return _LENGTH.pack(len(value)) + value
