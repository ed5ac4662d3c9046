"""A census of the Python standard library: lines, functions, classes, and the most complex code.

A real workload on input that every machine has. One flow finds the packages; each package is a
subflow; each source file is a task that parses it; a last task adds up the figures. Files are
read through a simulated mirror that fails occasionally; those tasks are retried.

    python examples/stdlib_census.py                  # all packages
    python examples/stdlib_census.py --packages 5     # the five largest
    python examples/stdlib_census.py --tests          # with Python's own tests: three times as much

On a terminal it shows the live tree of its runs, like `flowspan run watch`.
"""

from __future__ import annotations

import argparse
import ast
import io
import os
import random
import sys
import sysconfig
import tokenize
import warnings
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from flowspan import flow, get_run_logger, runtime, task, unmapped
from flowspan.cli.live_view import LiveView
from flowspan.cli.summary import print_summary
from flowspan.task_runners import ThreadPoolTaskRunner

STDLIB = Path(sysconfig.get_path("stdlib"))
NOT_STDLIB = {"site-packages", "dist-packages", "__pycache__"}
TOP_LEVEL_MODULES = "(modules)"
FAILURE_RATE = 0.02
BRANCHES = (
    ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.comprehension,
    ast.match_case, ast.Assert,
)  # fmt: skip
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass
class Package:
    """A package of the standard library and its source files."""

    name: str
    files: list[Path]


@dataclass
class Census:
    """The figures of a file, a package or the whole library."""

    name: str
    files: int = 0
    lines: int = 0
    functions: int = 0
    classes: int = 0
    most_complex: list[tuple[int, str]] = field(default_factory=list)
    syntax_errors: list[str] = field(default_factory=list)

    def add(self, part: Census) -> None:
        self.files += part.files
        self.lines += part.lines
        self.functions += part.functions
        self.classes += part.classes
        self.most_complex = sorted(self.most_complex + part.most_complex)[-10:]
        self.syntax_errors += part.syntax_errors


def read_from_mirror(path: Path, seed: int) -> bytes:
    """Read a file over a simulated unreliable connection.

    The seed, the file and the attempt determine which reads fail, so every run is the same.
    """
    attempt = runtime.task_run.run_count
    draw = random.Random(f"{seed} {path.relative_to(STDLIB)} {attempt}").random()
    if draw < FAILURE_RATE:
        raise ConnectionResetError(f"the mirror hung up while it sent {path.name}")
    return path.read_bytes()


@task
def find_packages(limit: int | None, *, with_tests: bool) -> list[Package]:
    packages: dict[str, Package] = {}
    left_out = NOT_STDLIB if with_tests else {*NOT_STDLIB, "test"}
    for folder, folders, files in os.walk(STDLIB):
        # os.walk descends only into the folders left in this list.
        folders[:] = sorted(
            set(folders) - left_out - {f for f in folders if f.startswith("config-")}
        )
        inside = Path(folder).relative_to(STDLIB)
        name = inside.parts[0] if inside.parts else TOP_LEVEL_MODULES
        sources = sorted(Path(folder, file) for file in files if file.endswith(".py"))
        if sources:
            packages.setdefault(name, Package(name, [])).files.extend(sources)
    largest = sorted(packages.values(), key=lambda package: -len(package.files))[:limit]
    print(f"{len(largest)} packages with {sum(len(p.files) for p in largest)} files in {STDLIB}")
    return largest


@task(retries=4, retry_delay_seconds=[0.05, 0.1, 0.2], tags=["parse"])
def parse_file(path: Path, seed: int) -> Census:
    source = read_from_mirror(path, seed)
    census = Census(str(path.relative_to(STDLIB)), files=1)
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
        text = source.decode(encoding)
        tree = ast.parse(text)
    except (SyntaxError, UnicodeDecodeError, ValueError) as error:
        # Some test files contain syntax errors on purpose. They are findings, not failures.
        census.syntax_errors = [f"{census.name}: {error}"]
        get_run_logger().warning("%s cannot be parsed: %s", census.name, error)
        return census
    census.lines = sum(1 for _ in io.StringIO(text))
    count(tree, census)
    return census


def count(tree: ast.Module, census: Census) -> None:
    """Count functions and classes, and each function's cyclomatic complexity (McCabe, 1976)."""
    complexity: dict[str, int] = {}
    waiting: list[tuple[ast.AST, str]] = [(tree, "")]
    while waiting:
        node, owner = waiting.pop()
        if isinstance(node, ast.ClassDef):
            census.classes += 1
            owner = f"{owner}.{node.name}".lstrip(".")
        elif isinstance(node, FUNCTIONS):
            census.functions += 1
            owner = f"{owner}.{node.name}".lstrip(".")
            complexity[owner] = 1
        elif owner in complexity:
            if isinstance(node, BRANCHES):
                complexity[owner] += 1
            elif isinstance(node, ast.BoolOp):
                complexity[owner] += len(node.values) - 1
        waiting.extend((child, owner) for child in ast.iter_child_nodes(node))
    found = sorted((value, f"{census.name}:{name}") for name, value in complexity.items())
    census.most_complex = found[-10:]


@flow(flow_run_name="{name}", log_prints=True)
def census_package(name: str, files: list[Path], seed: int) -> Census:
    census = Census(name)
    for parsed in parse_file.map(files, unmapped(seed)):
        census.add(parsed.result())
    print(f"{name}: {census.lines:,} lines in {census.files} files")
    return census


@task
def put_together(packages: list[Census]) -> Census:
    whole = Census("all")
    for package in packages:
        whole.add(package)
    return whole


@flow(log_prints=True)
def stdlib_census(
    packages: int | None = None, *, workers: int = 4, seed: int = 1, with_tests: bool = False
) -> list[Census]:
    VIEW.show(runtime.flow_run.id)
    todo = find_packages(packages, with_tests=with_tests)
    VIEW.expect("census-package", len(todo))
    runner = ThreadPoolTaskRunner(max_workers=workers)
    package_flow = census_package.with_options(task_runner=runner)
    done = [package_flow(package.name, package.files, seed) for package in todo]
    return [*done, put_together(done)]


def show_findings(console: Console, packages: list[Census]) -> None:
    *packages, whole = packages
    table = Table("package", title="The Python standard library", box=None, pad_edge=False)
    for figure in ("files", "lines", "functions", "classes"):
        table.add_column(figure, justify="right")
    largest = sorted(packages, key=lambda package: -package.lines)[:10]
    for census in (*largest, whole):
        figures = (census.files, census.lines, census.functions, census.classes)
        table.add_row(
            census.name, *(f"{figure:,}" for figure in figures), style="bold" * (census is whole)
        )
    console.print(table)
    console.print()
    console.print("The most complex functions:", style="bold")
    for complexity, where in reversed(whole.most_complex):
        show_line(console, f"  {complexity:>4}  {where}")
    console.print()
    console.print(f"{len(whole.syntax_errors)} files cannot be parsed:", style="bold")
    for finding in whole.syntax_errors:
        show_line(console, f"  {finding}")
    console.print()


def show_line(console: Console, text: str) -> None:
    """Print a line, cut to the width of a terminal."""
    if console.is_terminal:
        console.print(text, no_wrap=True, overflow="ellipsis")
    else:
        console.print(text, soft_wrap=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--packages", type=int, metavar="N", help="only the N packages with the most files"
    )
    parser.add_argument("--workers", type=int, default=4, help="number of threads (default: 4)")
    parser.add_argument(
        "--seed", type=int, default=1, help="seed of the simulated failures (default: 1)"
    )
    parser.add_argument("--tests", action="store_true", help="include Python's own tests")
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # about the syntax of old sources
    with VIEW:
        state = stdlib_census(
            args.packages,
            workers=args.workers,
            seed=args.seed,
            with_tests=args.tests,
            return_state=True,
        )
    if state.is_completed():
        show_findings(CONSOLE, state.result())
    print_summary(CONSOLE, state.run_id)
    return 0 if state.is_completed() else 1


CONSOLE = Console(highlight=False, markup=False)
VIEW = LiveView()

if __name__ == "__main__":
    sys.exit(main())
