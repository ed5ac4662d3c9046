"""The bulk statements for SQLite."""

from __future__ import annotations

import sqlite3

import pytest

from flowspan_service.stores.dialects import sqlite
from flowspan_service.stores.dialects.sqlite import CHUNK_SIZES, _fold, _insert_sql, _ladder
from flowspan_service.stores.schema import metadata


def test_rows_are_cut_into_the_sizes_of_the_ladder() -> None:
    values = list(range(2 * 1303))
    pieces = list(_ladder(values, 2))
    assert [rows for rows, _ in pieces] == [960, 256, 64, 16, 4, 1, 1, 1]
    assert [value for _, chunk in pieces for value in chunk] == values
    with pytest.raises(ValueError, match="do not make rows"):
        list(_ladder(values, 3))


def test_no_statement_has_more_variables_than_sqlite_takes_by_default() -> None:
    assert max(len(table.c) for table in metadata.tables.values()) * CHUNK_SIZES[0] <= 32_766


def test_columns_that_are_the_same_throughout_are_said_once() -> None:
    nan = float("nan")
    rows = [1, "x", nan, 4, 2, "x", nan, 5, 3, "x", nan, 6]
    folded, values = _fold(list(rows), 3, (1, 2))
    assert folded == (1, 2)
    assert values == ["x", nan, 1, 4, 2, 5, 3, 6]
    assert _fold(list(rows), 3, (0, 1)) == ((), rows)
    assert _fold(list(rows), 3, ()) == ((), rows)


@pytest.mark.parametrize("columns", [(), (0,), (1, 2), (0, 3), (0, 1, 2, 3)])
def test_folded_rows_arrive_as_they_were(columns: tuple[int, ...]) -> None:
    rows = (
        [[7, "x", None, 8]] * 4 if 0 in columns else [[number, "x", None, 8] for number in range(4)]
    )
    folded, values = _fold([value for row in rows for value in row], 4, columns)
    assert folded == columns
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (a, b, c, d)")
    connection.execute(_insert_sql("t", 4, 4, folded), values)
    found = connection.execute("SELECT * FROM t").fetchall()
    connection.close()
    assert found == [tuple(row) for row in rows]


def test_what_may_be_folded_are_columns() -> None:
    for name, columns in sqlite._FOLDABLE.items():
        assert len(columns) == {"run": 13, "transition": 7}[name]
        assert list(columns) == sorted(columns)
