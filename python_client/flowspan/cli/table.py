"""Rows in columns that fit the terminal: names are cut, never ids, states or figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from flowspan.cli import format as fmt

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

_GAP = 2
_LEAST_WIDTH = 6
_FIGURES = frozenset({"TOOK", "SIZE", "ATTEMPT", "#"})
_MAY_BE_CUT = frozenset(
    {
        *("DESCRIPTION", "FLOW", "FOR", "NAME", "PATH", "PROCESS"),
        *("STATUS", "TAGS", "TASK", "VALUE", "WHY"),
    }
)


def draw(
    header: Sequence[str],
    rows: Iterable[Sequence[str | Text]],
    *,
    width: int | None,
    may_be_cut: Container[str] = _MAY_BE_CUT,
    figures: Container[str] = _FIGURES,
) -> list[Text]:
    """The lines of a table.

    Args:
        header: The names of the columns.
        rows: The cells; plain text is shown without what a terminal would obey.
        width: The width of the terminal; None never cuts.
        may_be_cut: The names of the columns that may be cut.
        figures: The names of the columns that are aligned on the right.
    """
    cells = [[_cell(cell) for cell in row] for row in rows]
    cells.insert(0, [Text.assemble((name, "bold")) for name in header])
    widths = [max(row[index].cell_len for row in cells) for index in range(len(header))]
    if width is not None:
        flexible = [index for index, name in enumerate(header) if name in may_be_cut]
        widths = _fitted(flexible, widths, width)
    is_figure = [name in figures for name in header]
    return [_line(row, widths, is_figure) for row in cells]


def _cell(cell: str | Text) -> Text:
    return cell if isinstance(cell, Text) else Text(fmt.visible(cell))


def _fitted(flexible: Sequence[int], widths: Sequence[int], width: int) -> list[int]:
    """Takes from the widest of the columns that may be cut, until all fit or all are narrow."""
    fitted = list(widths)
    excess = sum(fitted) + _GAP * (len(fitted) - 1) - width
    while excess > 0 and flexible:
        widest = max(flexible, key=lambda index: fitted[index])
        if fitted[widest] <= _LEAST_WIDTH:
            break
        fitted[widest] -= 1
        excess -= 1
    return fitted


def _line(row: Sequence[Text], widths: Sequence[int], is_figure: Sequence[bool]) -> Text:
    line = Text()
    for index, (cell, width, on_right) in enumerate(zip(row, widths, is_figure, strict=True)):
        fitted = cell.copy()
        fitted.truncate(width, overflow="ellipsis")
        missing = " " * (width - fitted.cell_len)
        line.append(" " * _GAP if index else "")
        line.append(missing if on_right else "")
        line.append_text(fitted)
        line.append("" if on_right else missing)
    line.rstrip()
    return line
