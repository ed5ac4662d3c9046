"""Compare flowspan with Prefect and DBOS: `make bench-peers`, `python -m benchmarks.peers`."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from rich.table import Table

from benchmarks.databases import NoDatabaseError, databases
from benchmarks.figures import Sample
from benchmarks.goals import MEGABYTES, MICROSECONDS, MILLISECONDS, SECONDS, Unit
from benchmarks.machine import describe
from benchmarks.output import markdown_table, replace_between_marks, wide_console
from benchmarks.peers import engines
from benchmarks.peers.environments import ROOT, version_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from benchmarks.peers.engines import Engine

Figures = dict[tuple[str, str], Sample]


@dataclass(frozen=True)
class Line:
    """A line of the table.

    Attributes:
        figure: The name of the figure in the output of the workloads.
        title: The title for people.
        unit: The display unit.
    """

    figure: str
    title: str
    unit: Unit


LINES = (
    Line("task", "sequential no-op task", MICROSECONDS),
    Line("visible", "further, until its states are visible, per task", MICROSECONDS),
    Line("mapped", "mapped no-op task", MICROSECONDS),
    Line("subflow", "subflow", MILLISECONDS),
    Line("flow", "top-level flow of one task", MILLISECONDS),
    Line("fibo(10)", "40 tasks of fibo(10)", SECONDS),
    Line("fibo(33)", "10 tasks of fibo(33)", SECONDS),
    Line("import", "a process that imports flow and task", SECONDS),
    Line("hello", "a hello flow as a process", SECONDS),
    Line("start", "server from start to ready", SECONDS),
    Line("memory", "server memory, idle", MEGABYTES),
)

# Counts by engine: large enough to see flowspan's cost, and limited in time for the others.
FLOWSPAN_COUNTS = {"task": 10_000, "mapped": 10_000, "subflow": 1_000, "flow": 100}
PREFECT_COUNTS = {"task": 200, "mapped": 300, "subflow": 5, "flow": 3}
DBOS_COUNTS = {"task": 500, "mapped": 300, "subflow": 100, "flow": 50}
WORKLOADS = ("task", "mapped", "subflow", "flow", "fibonacci", "import", "hello")


@dataclass(frozen=True)
class Contender:
    """A column of the table.

    Attributes:
        title: The title for people.
        start: Returns a context manager that yields the engine, ready to run.
        counts: The number of operations by workload.
        workloads: The workloads to run.
    """

    title: str
    start: Callable[[], AbstractContextManager[Engine]]
    counts: dict[str, int]
    workloads: tuple[str, ...] = WORKLOADS


def main() -> None:
    """Run the command line."""
    arguments = _parse()
    facts = describe()
    facts["peers"] = f"Prefect {version_of('prefect')}, DBOS {version_of('dbos')}"
    figures: Figures = {}
    with contextlib.ExitStack() as stack:
        contenders = [
            contender
            for contender in _contenders(stack, postgresql=not arguments.no_postgresql)
            if not arguments.only or contender.title.startswith(tuple(arguments.only))
        ]
        for number in range(arguments.runs):
            # Rotate, so that a slow minute of the machine does not always affect the same
            # engine.
            shift = number % len(contenders)
            for contender in contenders[shift:] + contenders[:shift]:
                print(f"run {number + 1}: {contender.title}", file=sys.stderr)
                _measure(figures, contender)
    titles = [contender.title for contender in contenders]
    if arguments.json:
        _print_json(figures, facts)
    else:
        _print_table(figures, titles, facts)
    if arguments.write_docs:
        _write_docs(figures, titles, facts, arguments.runs)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="number of rounds (default: 3)")
    parser.add_argument(
        "--only", action="append", help="measure only columns with this prefix; repeatable"
    )
    parser.add_argument("--no-postgresql", action="store_true", help="skip PostgreSQL")
    parser.add_argument("--json", action="store_true", help="print JSON in base units")
    parser.add_argument(
        "--write-docs", action="store_true", help="write the table to docs/performance.md"
    )
    return parser.parse_args()


def _contenders(stack: contextlib.ExitStack, *, postgresql: bool) -> Iterator[Contender]:
    yield Contender("flowspan", engines.flowspan, FLOWSPAN_COUNTS)
    yield Contender("Prefect", partial(engines.prefect, heartbeat=True), PREFECT_COUNTS)
    yield Contender(
        "Prefect, no heartbeat",
        partial(engines.prefect, heartbeat=False),
        PREFECT_COUNTS,
        ("task", "mapped", "subflow", "flow", "fibonacci"),
    )
    yield Contender("DBOS", engines.dbos, DBOS_COUNTS)
    if postgresql:
        try:
            new_database = stack.enter_context(databases("postgresql"))
        except NoDatabaseError as error:
            print(f"without PostgreSQL: {error}", file=sys.stderr)
            return

        @contextlib.contextmanager
        def dbos_on_postgresql() -> Iterator[Engine]:
            with new_database() as url, engines.dbos(url) as engine:
                yield engine

        yield Contender("DBOS, PostgreSQL", dbos_on_postgresql, DBOS_COUNTS)


def _measure(figures: Figures, contender: Contender) -> None:
    with contender.start() as engine:
        found = dict(engine.figures)
        for workload in contender.workloads:
            try:
                found.update(engine.run(workload, contender.counts.get(workload, 10)))
            except RuntimeError as error:
                print(f"{contender.title}, {workload}: {error}", file=sys.stderr)
    for name, value in found.items():
        figures.setdefault((name, contender.title), Sample()).values.append(value)


def _cells(figures: Figures, titles: list[str]) -> Iterator[list[str]]:
    """Yield the cells of each line. A peer's figure is followed by its ratio to flowspan's."""
    for line in LINES:
        ours = figures.get((line.figure, "flowspan"))
        cells = [f"{line.title} ({line.unit.name})"]
        for title in titles:
            sample = figures.get((line.figure, title))
            if sample is None:
                cells.append("")
                continue
            text = line.unit.show(sample.median)
            if ours and title != "flowspan" and ours.median > 0 and sample.median > 0:
                text += f" ({_ratio(sample.median / ours.median)})"
            cells.append(text)
        yield cells


def _ratio(value: float) -> str:
    return f"x{value:,.0f}" if value >= 10 else f"x{value:.1f}"


def _print_table(figures: Figures, titles: list[str], facts: dict[str, str]) -> None:
    console = wide_console()
    table = Table(title="flowspan and its peers: medians (and ratio to flowspan)")
    table.add_column("")
    for title in titles:
        table.add_column(title, justify="right")
    for cells in _cells(figures, titles):
        table.add_row(*cells)
    console.print(table)
    for name, value in facts.items():
        console.print(f"{name}: {value}", highlight=False)


def _print_json(figures: Figures, facts: dict[str, str]) -> None:
    values: dict[str, dict[str, list[float]]] = {}
    for (name, title), sample in figures.items():
        values.setdefault(title, {})[name] = sample.values
    print(json.dumps({"facts": facts, "figures": values}, indent=2))


def _write_docs(figures: Figures, titles: list[str], facts: dict[str, str], runs: int) -> None:
    table = markdown_table(["", *titles], list(_cells(figures, titles)))
    measured = "; ".join(f"{name}: {value}" for name, value in facts.items())
    text = f"{table}\nMedians of {runs} runs. {measured}.\n"
    replace_between_marks(ROOT / "docs" / "performance.md", "peers", text)


if __name__ == "__main__":
    main()
