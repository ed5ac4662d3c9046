"""PostgreSQL's binary formats, byte by byte."""

from __future__ import annotations

import pytest
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Integer,
    LargeBinary,
    Numeric,
    SmallInteger,
    Text,
)

from flowspan_service.stores.dialects.binary import ArrayEncoder, RowEncoder
from flowspan_service.stores.ids import Id, to_bytes

RUN_ID = "0190aabb-ccdd-7eef-8011-223344556677"


def body(columns: list[Column], *values: object) -> str:
    return RowEncoder(columns).encode(values).hex(" ", 1)


def test_fixed_columns_are_packed_with_their_lengths() -> None:
    columns = [
        Column("id", Id, nullable=False),
        Column("small", SmallInteger, nullable=False),
        Column("whole", Integer, nullable=False),
        Column("big", BigInteger, nullable=False),
    ]
    assert body(columns, to_bytes(RUN_ID), -2, 3, 1 << 40) == (
        "00 04"
        " 00 00 00 10 01 90 aa bb cc dd 7e ef 80 11 22 33 44 55 66 77"
        " 00 00 00 02 ff fe"
        " 00 00 00 04 00 00 00 03"
        " 00 00 00 08 00 00 01 00 00 00 00 00"
    )


def test_nullable_columns_have_a_length_of_minus_one() -> None:
    columns = [
        Column("id", Id),
        Column("big", BigInteger),
        Column("flag", Boolean),
        Column("text", Text),
        Column("blob", LargeBinary),
    ]
    assert body(columns, None, None, None, None, None) == "00 05" + " ff ff ff ff" * 5
    assert body(columns, to_bytes(RUN_ID), 1, 1, "ä", b"\0") == (
        "00 05"
        " 00 00 00 10 01 90 aa bb cc dd 7e ef 80 11 22 33 44 55 66 77"
        " 00 00 00 08 00 00 00 00 00 00 00 01"
        " 00 00 00 01 01"
        " 00 00 00 02 c3 a4"
        " 00 00 00 01 00"
    )


def test_rows_follow_each_other() -> None:
    columns = [Column("small", SmallInteger, nullable=False), Column("text", Text, nullable=False)]
    assert body(columns, 1, "a", 2, "") == (
        "00 02 00 00 00 02 00 01 00 00 00 01 61 00 02 00 00 00 02 00 02 00 00 00 00"
    )


def test_missing_values_and_unknown_types_are_errors() -> None:
    columns = [Column("one", SmallInteger, nullable=False), Column("two", Text)]
    with pytest.raises(ValueError, match="shorter"):
        RowEncoder(columns).encode([1, "a", 2])
    with pytest.raises(TypeError, match="no encoding"):
        RowEncoder([Column("number", Numeric)])


def test_arrays_have_a_header_and_elements_with_lengths() -> None:
    encoder = ArrayEncoder([Column("big", BigInteger), Column("text", Text, nullable=False)])
    assert encoder.types == ["int8[]", "text[]"]
    first, second = encoder.encode([7, "a", None, "bc"])
    assert first.hex(" ", 4) == (
        "00000001 00000001 00000014 00000002 00000001 00000008 00000000 00000007 ffffffff"
    )
    assert second.hex() == (
        "0000000100000001000000190000000200000001" + "0000000161" + "000000026263"
    )
