"""Output of the figures as table, JSON and Markdown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from benchmarks.goals import ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from benchmarks.figures import Results, Sample
    from benchmarks.goals import Row

BEGIN = "<!-- begin: {name} -->"
END = "<!-- end: {name} -->"
_DATABASE_NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
_HEADINGS = ("", "", "goal", "median", "min - max", "ratio")


def lines(results: Results) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each line, in order of the rows."""
    for row in ROWS:
        for database, title in _DATABASE_NAMES.items():
            sample = results.samples.get((row.name, database))
            if sample is None:
                continue
            label = "" if row.any_database else title
            yield (row.title, label, *_figures(row, database, sample))


def _figures(row: Row, database: str, sample: Sample) -> tuple[str, str, str, str]:
    goal = row.goals.get(database)
    goal_text = f"{row.unit.show(goal)} {row.unit.name}" if goal is not None else ""
    if not sample.values:
        return goal_text, "void", "", ""
    ratio = row.ratio(database, sample.median)
    return (
        goal_text,
        f"{row.unit.show(sample.median)} {row.unit.name}",
        f"{row.unit.show(min(sample.values))} - {row.unit.show(max(sample.values))}",
        "" if ratio is None else f"{ratio:.2f}",
    )


def wide_console() -> Console:
    """Return a console, wide enough for a table if the output is not a terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=130)


def print_table(results: Results, facts: Mapping[str, str], *, runs: int) -> None:
    """Print the table, then void runs, then additional figures."""
    console = wide_console()
    table = Table(title=f"flowspan, medians of {runs} runs (ratio to goal; 1 or less is reached)")
    for heading in _HEADINGS:
        table.add_column(heading, justify="left" if heading == "" else "right")
    for cells in lines(results):
        reached = cells[-1] and float(cells[-1]) <= 1
        style = "green" if reached else ("red" if cells[-1] or cells[3] == "void" else "")
        table.add_row(*cells[:-1], f"[{style}]{cells[-1]}[/]" if style else cells[-1])
    console.print(table)
    for (name, database), sample in results.samples.items():
        for why in sample.voids:
            console.print(f"[red]void[/] {name}, {database}: {why}", highlight=False)
    for name, sample in sorted(results.notes.items()):
        console.print(f"{name}: {sample.median:.4g}", highlight=False)
    for name, value in facts.items():
        console.print(f"{name}: {value}", highlight=False)


def as_json(results: Results, facts: Mapping[str, str]) -> dict[str, object]:
    """Return everything in base units: seconds, bytes and 1/s."""
    figures = []
    for row in ROWS:
        for database in _DATABASE_NAMES:
            sample = results.samples.get((row.name, database))
            if sample is None:
                continue
            median = sample.median if sample.values else None
            figures.append(
                {
                    "name": row.name,
                    "database": None if row.any_database else database,
                    "goal": row.goals.get(database),
                    "median": median,
                    "values": sample.values,
                    "ratio": row.ratio(database, median) if median else None,
                    "void": sample.voids,
                }
            )
    notes = {name: sample.median for name, sample in sorted(results.notes.items())}
    return {"facts": dict(facts), "figures": figures, "notes": notes}


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table. Columns with a heading are right-aligned."""
    align = ["---" if heading == "" else "---:" for heading in headings]
    cells = [headings, align, *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def markdown(results: Results, facts: Mapping[str, str], *, runs: int) -> str:
    """Return the table for docs/performance.md."""
    measured = "; ".join(f"{name}: {value}" for name, value in facts.items())
    table = markdown_table(_HEADINGS, list(lines(results)))
    voids = "".join(
        f"\nVoid: {name}, {database}: {why}\n"
        for (name, database), sample in results.samples.items()
        for why in sample.voids
    )
    return f"{table}{voids}\nMedians of {runs} runs. {measured}.\n"


def replace_between_marks(path: Path, name: str, text: str) -> None:
    """Replace the text between the two marks of that name in a file.

    Raises:
        ValueError: The file has no such marks.
    """
    begin, end = BEGIN.format(name=name), END.format(name=name)
    before = path.read_text()
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    after, replaced = pattern.subn(lambda _: f"{begin}\n{text}{end}", before)
    if not replaced:
        raise ValueError(f"{path} has no marks {begin} and {end}")
    path.write_text(after)
