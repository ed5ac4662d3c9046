from __future__ import annotations

import pytest
from rich.text import Text

from flowspan.cli.table import draw
from flowspan.cli.table import lines as lazily

HEADER = ("ID", "FLOW", "NAME", "STATE", "TOOK")
ROWS = [
    ("01a202d9-d289", "etl", "a-name-that-is-rather-long-for-a-run", Text("✓ Completed"), "1.0s"),
    ("01a202d9-d28a", "stdlib-census", "short", Text("✗ Failed"), "12m 05s"),
]


def plain(rows=ROWS, *, width=None):
    return [line.plain for line in draw(HEADER, rows, width=width)]


def test_columns_are_as_wide_as_they_need():
    assert plain() == [
        "ID             FLOW           NAME                                  STATE           TOOK",
        "01a202d9-d289  etl            a-name-that-is-rather-long-for-a-run  ✓ Completed     1.0s",
        "01a202d9-d28a  stdlib-census  short                                 ✗ Failed     12m 05s",
    ]


def test_names_are_cut_and_nothing_else():
    for width in (60, 70, 80):
        lines = plain(width=width)
        assert max(map(len, lines)) <= width
        for line, row in zip(lines[1:], ROWS, strict=True):
            assert line.startswith(row[0])
            assert row[3].plain in line
            assert line.endswith(row[4])
        assert "…" in lines[1]


def test_where_cutting_does_not_do_columns_are_left_out():
    assert plain(width=45) == [
        "ID             FLOW           STATE",
        "01a202d9-d289  etl            ✓ Completed",
        "01a202d9-d28a  stdlib-census  ✗ Failed",
    ]
    assert plain(width=40)[2] == "01a202d9-d28a  stdlib-cens…  ✗ Failed"


@pytest.mark.parametrize("width", [1, 2, 8, 15, 20, 30, 50, 79, 80, 200])
def test_no_line_is_wider_than_the_terminal(width):
    rows = [*ROWS, ("01a202d9-d28b", "表" * 300, "e\u0301" * 200, Text("✗ " + "Odd" * 99), "1.0s")]
    assert max(line.cell_len for line in draw(HEADER, rows, width=width)) <= width


def test_rows_are_taken_when_they_are_asked_for():
    def rows():
        for number in range(1000):
            yield (str(number), "f", "n", "s", "1")
        yield ("a-wider-one", "f", "n", "s", "1")
        pytest.fail("this row must not be read")

    lines = lazily(HEADER, rows(), width=None)
    assert [next(lines).plain for _ in range(3)][2] == "1    f     n     s         1"
    assert [next(lines).plain for _ in range(999)][-1] == "a-wider-one  f     n     s         1"


@pytest.mark.parametrize("name", ["日本語の名前", "emoji 🎉 name", "a\tb\nc\x1b[31m"])
def test_wide_and_odd_characters_keep_the_columns(name):
    lines = draw(
        HEADER, [("i", name, "n", Text("s"), "1"), ("i", "x", "n", Text("s"), "1")], width=None
    )
    assert len({line.cell_len for line in lines[1:]}) == 1
    assert "\n" not in lines[1].plain
    assert "\x1b" not in lines[1].plain


def test_styles_are_kept():
    line = draw(("STATE",), [(Text.assemble(("✗ Failed", "red")),)], width=None)[1]
    assert [str(span.style) for span in line.spans] == ["red"]
