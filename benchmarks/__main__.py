"""Measure flowspan and print a table: `make bench`, or `python -m benchmarks`."""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys

from benchmarks import collect, output
from benchmarks.databases import NoDatabaseError, databases
from benchmarks.figures import Results
from benchmarks.goals import ROWS
from benchmarks.machine import describe

PARTS = ("engine_overhead", "reporter_cost", "tracing_cost", "metrics_cost", "store_ingest")
DOCUMENT = collect.ROOT / "docs" / "performance.md"


def main() -> None:
    """Run the command line."""
    arguments = _parse()
    if arguments.parts:
        for part in PARTS:
            subprocess.run(
                [sys.executable, "-m", f"benchmarks.{part}"], check=True, cwd=collect.ROOT
            )
        return
    facts = describe()
    rows = arguments.only or [row.name for row in ROWS]
    results = Results()
    if "import" in rows or "import-names" in rows:
        _measure_imports(results, arguments.runs)
    _measure(results, _names(arguments.db), rows, runs=arguments.runs, quick=arguments.quick)
    if arguments.json:
        print(json.dumps(output.as_json(results, facts), indent=2))
    elif arguments.markdown:
        print(output.markdown(results, facts, runs=arguments.runs), end="")
    else:
        output.print_table(results, facts, runs=arguments.runs)
    if arguments.write_docs:
        text = output.markdown(results, facts, runs=arguments.runs)
        output.replace_between_marks(DOCUMENT, "figures", text)
    if any(sample.voids for sample in results.samples.values()):
        sys.exit(1)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = [row.name for row in ROWS]
    parser.add_argument("--db", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--runs", type=int, default=5, help="number of rounds (default: 5)")
    parser.add_argument(
        "--only",
        action="append",
        choices=names,
        metavar="NAME",
        help=f"measure only this row; repeatable: {', '.join(names)}",
    )
    parser.add_argument("--parts", action="store_true", help="measure the parts: engine, store, …")
    parser.add_argument("--quick", action="store_true", help="use small numbers, for a trial run")
    parser.add_argument("--json", action="store_true", help="print JSON in base units")
    parser.add_argument(
        "--markdown", action="store_true", help="print Markdown, as in docs/performance.md"
    )
    parser.add_argument(
        "--write-docs", action="store_true", help="write the table to docs/performance.md"
    )
    return parser.parse_args()


def _names(db: str) -> list[str]:
    return ["sqlite", "postgresql"] if db == "both" else [db]


def _measure_imports(results: Results, runs: int) -> None:
    # The first process after an installation compiles the modules, which is not measured.
    collect.run_workload("imports")
    for _ in range(runs):
        figures = collect.run_workload("imports")["figures"]
        results.add("import", "sqlite", figures["import flowspan"])
        results.add("import-names", "sqlite", figures["from flowspan import flow, task"])


def _measure(
    results: Results, names: list[str], rows: list[str], *, runs: int, quick: bool
) -> None:
    with contextlib.ExitStack() as stack:
        collectors = []
        for name in names:
            try:
                new_database = stack.enter_context(databases(name))
            except NoDatabaseError as error:
                for row in rows:
                    results.void(row, name, str(error))
                continue
            collectors.append(collect.Collector(results, name, new_database, rows, quick=quick))
        for number in range(runs):
            for collector in collectors:
                print(f"run {number + 1} of {runs}: {collector.database}", file=sys.stderr)
                collector.measure_round(number)
        for collector in collectors:
            collector.measure_listing()


if __name__ == "__main__":
    main()
