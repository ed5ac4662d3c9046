"""Tables that fit the terminal, however narrow it is.

Text columns are shortened first, then names. If the table is still too wide, columns are
dropped, least important first. Ids and numbers are never shortened.
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
    ("VALUE", "REASON", "DESCRIPTION", "PATH", "STATUS", "TAGS", "PROCESS", "FOR"), 20
)
_NAMES = dict.fromkeys(("FLOW", "NAME", "TASK", "KEY", "VARIABLE"), 8)
_CUT: tuple[Mapping[str, int], ...] = (
    _TEXTS,
    {**_TEXTS, **_NAMES},
    {
        **_NAMES,
        **dict.fromkeys(("STATUS", "VALUE", "REASON", "DESCRIPTION", "PATH", "TYPE"), 10),
        **dict.fromkeys(("FOR", "PROCESS", "TAGS", "CAUSE"), 6),
        "STATE": 14,
        "TIME": 20,
    },
)
"""Columns that may be shortened, and their minimum width in cells: first texts, then names."""
_LEFT_OUT = (
    *("TAGS", "WAITED", "FIRST SEEN", "SOURCE", "PROCESS", "FOR", "CAUSE", "ATTEMPT", "RUN"),
    *("UPDATED", "CREATED", "STARTED", "LAST RUN", "TYPE", "TOOK", "SIZE", "DESCRIPTION", "NAME"),
    *("REASON", "STATUS"),
)
"""Columns that are dropped from a narrow table, in this order. The others always stay."""
_WIDTHS_FROM_ROWS = 1000


def draw(
    header: Sequence[str], rows: Iterable[Sequence[str | Text]], *, width: int | None, **how: Any
) -> list[Text]:
    """Return the lines of a table. The arguments are those of `lines`."""
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
    """Yield the lines of a table, each rendered on demand.

    Columns are as wide as the first thousand rows need; a wider cell after that overflows.

    Args:
        header: The column names.
        rows: The cells. Plain text is shown without terminal control sequences.
        width: The width of the terminal in cells; None never shortens and drops nothing.
        cut: Minimum widths of the columns that may be shortened, one mapping per step.
        left_out: The columns that may be dropped, least important first.
        figures: The names of the right-aligned columns.
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
    """Return the indices of the columns that fit when all are shortened to their minimum."""
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
    """Shorten the widest flexible columns until the table fits or none can be shortened."""
    fitted = list(widths)
    excess = _total(fitted, columns) - width
    while excess > 0:
        flexible = [i for i in columns if fitted[i] > least.get(header[i], fitted[i])]
        if not flexible:
            break
        flexible.sort(key=lambda index: fitted[index])
        # Shrink to the next widest column in one step, because a text may be very long.
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
