"""Rows in PostgreSQL's binary COPY format.

See "Binary Format" in postgresql.org/docs/current/sql-copy.html. Made column by column, so that
most of the work is done by loops in C; psycopg's own writer goes value by value and takes longer.
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


class _Fixed(NamedTuple):
    """A type whose values all have the same length."""

    code: str
    size: int


_FIXED: tuple[tuple[type, _Fixed], ...] = (
    (Id, _Fixed("16s", 16)),
    (Boolean, _Fixed("b", 1)),
    (BigInteger, _Fixed("q", 8)),
    (SmallInteger, _Fixed("h", 2)),
    (Integer, _Fixed("i", 4)),
)


def _fixed(column: Column[Any]) -> _Fixed | None:
    for kind, fixed in _FIXED:
        if isinstance(column.type, kind):
            return fixed
    return None


class RowEncoder:
    """Encodes rows of these columns. Strings may not be longer than 1 GiB."""

    def __init__(self, columns: Sequence[Column[Any]]) -> None:
        self.width = len(columns)
        self._count = struct.pack(">h", len(columns))
        self._parts: list[tuple[slice, Callable[[Sequence[Sequence[Any]]], Iterable[bytes]]]] = []
        start = 0
        while start < len(columns):
            end = start
            while end < len(columns) and not columns[end].nullable and _fixed(columns[end]):
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


def _pack_together(
    columns: Sequence[Column[Any]],
) -> Callable[[Sequence[Sequence[Any]]], Iterable[bytes]]:
    """For columns side by side that are never NULL: one call of struct for a row's values."""
    kinds = [kind for kind in map(_fixed, columns) if kind is not None]
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
    fixed = _fixed(column)
    if isinstance(column.type, Id):
        return _ID_LENGTH.__add__
    if fixed is not None:
        return partial(struct.Struct(f">i{fixed.code}").pack, fixed.size)
    if isinstance(column.type, Text):
        return _text
    if isinstance(column.type, LargeBinary):
        return _bytes
    msg = f"column {column.name}: no encoding for {column.type!r}"
    raise TypeError(msg)


def _text(value: str) -> bytes:
    data = value.encode()
    if b"\0" in data:
        # PostgreSQL cannot keep it, and to lose a log record over it would be worse.
        data = value.replace("\0", _SYMBOL_FOR_NUL).encode()
    return _LENGTH.pack(len(data)) + data


def _bytes(value: bytes) -> bytes:
    return _LENGTH.pack(len(value)) + value
