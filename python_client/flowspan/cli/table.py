"""Rows in columns that fit the terminal, however narrow it is.

Texts are cut first, then names. Where that does not do, columns are left out, the least important
first. Ids and figures are never cut.
"""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from rich.text import Text

from flowspan.cli import format as fmt

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

_GAP = 2
_FIGURES = frozenset({"TOOK", "WAITED", "SIZE", "ATTEMPT", "#"})
_TEXTS = dict.fromkeys(
    ("VALUE", "WHY", "DESCRIPTION", "PATH", "STATUS", "TAGS", "PROCESS", "FOR"), 20
)
_NAMES = dict.fromkeys(("FLOW", "NAME", "TASK", "KEY", "VARIABLE"), 8)
_CUT: tuple[Mapping[str, int], ...] = (
    _TEXTS,
    {**_TEXTS, **_NAMES},
    {
        **_NAMES,
        **dict.fromkeys(("STATUS", "VALUE", "WHY", "DESCRIPTION", "PATH", "TYPE"), 10),
        **dict.fromkeys(("FOR", "PROCESS", "TAGS", "CAUSE"), 6),
        "STATE": 14,
        "TIME": 20,
    },
)
"""The columns that may be cut, and to how many cells at the least: first texts, then names."""
_LEFT_OUT = (
    *("TAGS", "WAITED", "FIRST SEEN", "FROM", "PROCESS", "FOR", "CAUSE", "ATTEMPT", "RUN"),
    *("UPDATED", "MADE", "STARTED", "LAST RUN", "TYPE", "TOOK", "SIZE", "DESCRIPTION", "NAME"),
    *("WHY", "STATUS"),
)
"""The columns that are left out of a narrow table, in this order; the others stay."""
_WIDTHS_FROM_ROWS = 1000


def draw(
    header: Sequence[str], rows: Iterable[Sequence[str | Text]], *, width: int | None, **how: Any
) -> list[Text]:
    """The lines of a table; the arguments are those of `lines`."""
    return list(lines(header, rows, width=width, **how))


def lines(
    header: Sequence[str],
    rows: Iterable[Sequence[str | Text]],
    *,
    width: int | None,
    cut: Sequence[Mapping[str, int]] = _CUT,
    left_out: Sequence[str] = _LEFT_OUT,
    figures: Container[str] = _FIGURES,
) -> Iterator[Text]:
    """The lines of a table, each made when it is asked for.

    The columns are as wide as the first thousand rows need; a wider cell after that stands out.

    Args:
        header: The names of the columns.
        rows: The cells; plain text is shown without what a terminal would obey.
        width: The width of the terminal; None never cuts and leaves nothing out.
        cut: The columns that may be cut, and to how many cells at the least, one step after the
            other.
        left_out: The columns that may be left out, the least important first.
        figures: The names of the columns that are aligned on the right.
    """
    cells = ([_cell(cell) for cell in row] for row in rows)
    first = [[Text(name, "bold") for name in header], *islice(cells, _WIDTHS_FROM_ROWS)]
    widths = [max(row[index].cell_len for row in first) for index in range(len(header))]
    columns = list(range(len(header)))
    if width is not None:
        columns = _kept(header, widths, width, cut[-1], left_out)
        for least in cut:
            widths = _fitted(header, columns, widths, width, least)
    is_cut = width is not None
    for row in chain(first, cells):
        line = Text()
        for index in columns:
            line.append("" if index == columns[0] else " " * _GAP)
            on_right = header[index] in figures
            _put(line, row[index], widths[index], on_right=on_right, is_cut=is_cut)
        line.rstrip()
        if width is not None:
            line.truncate(width, overflow="ellipsis")
        yield line


def _cell(cell: str | Text) -> Text:
    return cell if isinstance(cell, Text) else Text(fmt.visible(cell))


def _total(widths: Sequence[int], columns: Sequence[int]) -> int:
    return sum(widths[index] for index in columns) + _GAP * (len(columns) - 1)


def _kept(
    header: Sequence[str],
    widths: Sequence[int],
    width: int,
    least: Mapping[str, int],
    left_out: Sequence[str],
) -> list[int]:
    """The columns for which there is room when all that may be cut are cut to their least."""
    narrow = [
        min(cells, least.get(name, cells)) for name, cells in zip(header, widths, strict=True)
    ]
    columns = list(range(len(header)))
    for name in left_out:
        if _total(narrow, columns) <= width:
            break
        if name in header and len(columns) > 1:
            columns.remove(header.index(name))
    return columns


def _fitted(
    header: Sequence[str],
    columns: Sequence[int],
    widths: Sequence[int],
    width: int,
    least: Mapping[str, int],
) -> list[int]:
    """Takes from the widest of the columns that may be cut, until all fit or all are narrow."""
    fitted = list(widths)
    excess = _total(fitted, columns) - width
    while excess > 0:
        flexible = [i for i in columns if fitted[i] > least.get(header[i], fitted[i])]
        if not flexible:
            break
        flexible.sort(key=lambda index: fitted[index])
        # Down to the next one at once: a text may be very long.
        below = fitted[flexible[-2]] if len(flexible) > 1 else 0
        widest = flexible[-1]
        step = max(fitted[widest] - max(below, least[header[widest]]), 1)
        fitted[widest] -= min(step, excess)
        excess -= min(step, excess)
    return fitted


def _put(line: Text, cell: Text, width: int, *, on_right: bool, is_cut: bool) -> None:
    fitted = cell
    if is_cut and cell.cell_len > width:
        fitted = cell.copy()
        fitted.truncate(width, overflow="ellipsis")
    missing = " " * max(width - fitted.cell_len, 0)
    line.append(missing if on_right else "")
    line.append_text(fitted)
    line.append("" if on_right else missing)
