"""Rendering of artifacts for the terminal."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

from rich.text import Text

from flowspan.cli import format as fmt
from flowspan.cli import json_output, table
from flowspan.cli.safe_text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from flowspan.api.models import Artifact

_BAR_WIDTH = 30
_MAX_ROWS = 200
_FIGURE = re.compile(r"[-+]?[\d,.]+(e[-+]?\d+)?\s?%?", re.IGNORECASE)


def head(artifact: Artifact, *, now: datetime) -> Iterator[Text]:
    """Yield the artifact's metadata, one line per field."""
    yield Text.assemble(
        (fmt.visible(artifact.key or str(artifact.id)), "bold"), f"  {fmt.visible(artifact.type)}"
    )
    fields = {
        "id": str(artifact.id),
        "flow run": str(artifact.flow_run_id or ""),
        "task run": str(artifact.task_run_id or ""),
        "created": f"{fmt.stamp(artifact.created_at)} ({fmt.ago(artifact.created_at, now=now)})",
        "updated": ""
        if artifact.updated_at == artifact.created_at
        else f"{fmt.stamp(artifact.updated_at)} ({fmt.ago(artifact.updated_at, now=now)})",
        "description": artifact.description,
    }
    for name, value in fields.items():
        if value:
            yield Text.assemble((f"  {name:<13}", "dim"), fmt.visible(value))


def body(artifact: Artifact, *, width: int | None) -> Iterator[Text]:
    """Yield the artifact's content, rendered by type."""
    if artifact.data is None:
        return
    try:
        value = artifact.data.json()
    except ValueError:
        size = len(artifact.data.data)
        yield Text(f"{fmt.size(size)}, encoded as {artifact.data.encoding!r}")
        return
    if artifact.type == "progress" and _is_number(value):
        yield _bar(float(value))
    elif artifact.type == "table" and (cells := _cells(value)) is not None:
        header, rows = cells
        shown = rows[:_MAX_ROWS]
        figures = {
            name for name, *cells in zip(header, *rows, strict=True) if all(map(_is_figure, cells))
        }
        yield from table.draw(
            header, shown, width=width, cut=[dict.fromkeys(header, 6)], left_out=(), figures=figures
        )
        if len(rows) > _MAX_ROWS:
            yield Text(
                f"… {fmt.count(len(rows) - _MAX_ROWS, 'more row')}: use --json to see them",
                style="dim",
            )
    elif isinstance(value, str):
        yield from map(Text, clean(value).splitlines())
    else:
        yield from map(Text, json_output.pretty(value).splitlines())


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < sys.float_info.max  # NaN and infinity draw no bar


def _is_figure(cell: str) -> bool:
    """Return True if a cell is right-aligned: a number, or empty."""
    return cell in {"", "null"} or _FIGURE.fullmatch(cell) is not None


def _bar(percent: float) -> Text:
    filled = round(min(max(percent, 0.0), 100.0) / 100 * _BAR_WIDTH)
    return Text.assemble(
        ("━" * filled, "green"), ("─" * (_BAR_WIDTH - filled), "dim"), f" {percent:g} %"
    )


def _cells(value: Any) -> tuple[list[str], list[list[str]]] | None:
    """Return the header and rows of a table artifact, or None if the value is not a table.

    A table is a dict of columns, a list of dicts or a list of lists.
    """
    if isinstance(value, dict) and value and all(isinstance(x, list) for x in value.values()):
        columns = list(value.values())
        count = max(map(len, columns))
        rows = [[_cell(x[i]) if i < len(x) else "" for x in columns] for i in range(count)]
        return [fmt.visible(name) for name in value], rows
    if not isinstance(value, list) or not value:
        return None
    if all(isinstance(row, dict) for row in value):
        names = list(dict.fromkeys(name for row in value for name in row))
        rows = [[_cell(row.get(name, "")) for name in names] for row in value]
        return [fmt.visible(name) for name in names], rows
    if all(isinstance(row, list) for row in value):
        width = max(map(len, value))
        rows = [[*map(_cell, row), *[""] * (width - len(row))] for row in value]
        return [str(number) for number in range(1, width + 1)], rows
    return None


def _cell(value: Any) -> str:
    return fmt.visible(value if isinstance(value, str) else json_output.line(value))
