"""Measure the structure of the code: sizes, import cycles, docstrings.

Usage: python scripts/code_metrics.py [FOLDER]

FOLDER is the checkout to measure, by default this one. Generated code is left out.
"""

from __future__ import annotations

import ast
import itertools
import re
import statistics
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOTS = {
    "client": Path("python_client/flowspan"),
    "service": Path("service/flowspan_service"),
}
MAX_FUNCTION_LINES = 40
NOUN_CLAUSE = re.compile(r"(What|Whether|How|Who|Whose|Where|When|Which|Why|See|That|If|Is|Are)\b")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def main() -> None:
    """Print one column for each side."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1]
    sides = {side: _measure(folder / root) for side, root in ROOTS.items()}
    print(f"{'':44}" + "".join(f"{side:>10}" for side in sides))
    for name in next(iter(sides.values())):
        print(f"{name:44}" + "".join(f"{figures[name]:>10}" for figures in sides.values()))


def _measure(root: Path) -> dict[str, object]:
    files = _files(root)
    trees = modules(root)
    lines = [len(file.read_text().splitlines()) for file in files]
    written = [count for count in lines if count > 1]
    functions = [node for tree in trees.values() for node in ast.walk(tree) if _is_function(node)]
    texts = [text for tree in trees.values() for text in docstrings(tree)]
    clauses = sum(bool(NOUN_CLAUSE.match(text)) for text in texts)
    folders = Counter(file.parent for file in files)
    return {
        "modules": len(files),
        "lines of a module, median": round(statistics.median(written)),
        "lines of a module, largest": max(written),
        "functions": len(functions),
        f"functions over {MAX_FUNCTION_LINES} lines of code": sum(
            _code_lines(each) > MAX_FUNCTION_LINES for each in functions
        ),
        "modules in import cycles, lazy and typing too": len(in_cycles(trees)),
        "modules in a folder, most": max(folders.values()),
        "docstrings": len(texts),
        "docstrings opening with a noun clause, %": f"{100 * clauses / len(texts):.1f}",
    }


def modules(root: Path) -> dict[str, ast.Module]:
    """Return the hand-written modules below the folder of a package, by their full names."""
    return {_module(root, file): ast.parse(file.read_text()) for file in _files(root)}


def _files(root: Path) -> list[Path]:
    return [file for file in sorted(root.rglob("*.py")) if "v1" not in file.parts]


def _module(root: Path, file: Path) -> str:
    return ".".join(file.relative_to(root.parent).with_suffix("").parts).removesuffix(".__init__")


def _is_function(node: ast.AST) -> bool:
    return isinstance(node, Function)


def _code_lines(function: ast.AST) -> int:
    """Return the lines of a function's body, without its docstring."""
    assert isinstance(function, Function)  # noqa: S101 - for the type checker
    body = function.body
    has_docstring = ast.get_docstring(function, clean=False) is not None
    if has_docstring:
        body = body[1:]
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def docstrings(tree: ast.Module) -> Iterator[str]:
    """Yield the docstrings of a module, also those below its assignments."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | Function):
            text = ast.get_docstring(node)
            if text:
                yield text
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            continue
        for before, after in itertools.pairwise(body):
            if isinstance(before, (ast.Assign, ast.AnnAssign)) and is_text(after):
                yield ast.literal_eval(after.value).strip()


def is_text(node: ast.stmt) -> bool:
    """Return True if a statement is a string alone."""
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Constant):
        return False
    return isinstance(node.value.value, str)


def in_cycles(trees: dict[str, ast.Module]) -> set[str]:
    """Return the modules that import each other, directly or through others.

    Imports inside functions and for the type checker count.
    """
    imports = {module: set(_imports(module, tree, trees)) for module, tree in trees.items()}
    reachable = {module: _reachable(module, imports) for module in imports}
    return {module for module in imports if module in reachable[module]}


def _imports(module: str, tree: ast.Module, trees: dict[str, ast.Module]) -> Iterator[str]:
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in trees else node.module for name in inner]
        yield from (name for name in names if name in trees and name != module)


def _reachable(start: str, imports: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(imports[start])
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += imports[module]
    return found


if __name__ == "__main__":
    main()
