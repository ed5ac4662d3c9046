"""Artifacts and variables: a small report about a package of the standard library.

    python examples/artifacts.py
    python examples/artifacts.py email

`flowspan artifact ls` lists the artifacts, `flowspan artifact inspect modules` shows the table.
Run it again, and `flowspan artifact ls --key modules` lists every version. `flowspan variable
set long_module 400` changes the number of lines from which a module counts as long.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path

from flowspan import flow, task
from flowspan.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from flowspan.variables import Variable


@task
def measure(paths: list[Path]) -> list[dict[str, object]]:
    """Count the lines and functions of each module, and report the progress."""
    progress = create_progress_artifact(0.0, description="modules read")
    rows = []
    for number, path in enumerate(paths, 1):
        text = path.read_text(encoding="utf-8")
        functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef)]
        rows.append({"module": path.stem, "lines": text.count("\n"), "functions": len(functions)})
        update_progress_artifact(progress, 100 * number / len(paths))
    create_table_artifact(rows, key="modules", description="lines and functions of each module")
    return rows


@flow
def report(package: str = "json") -> str:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    rows = measure(sorted(Path(spec.origin).parent.glob("*.py")))
    limit = Variable.get("long_module", 300)
    long = [row["module"] for row in rows if row["lines"] > limit]
    summary = f"{len(rows)} modules, {len(long)} of more than {limit} lines: {', '.join(long)}"
    create_markdown_artifact(f"# {package}\n\n{summary}\n", key="summary")
    create_link_artifact(f"https://docs.python.org/3/library/{package}.html", package)
    return summary


if __name__ == "__main__":
    print(report(*sys.argv[1:]))
