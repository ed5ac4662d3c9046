"""The files of a project, and the flows and tasks that they import from each other."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import libcst as cst

from flowspan.migrating.deep_stack import with_deep_stack
from flowspan.migrating.parsing import parse
from flowspan.migrating.reading import made_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_ROUNDS = 5
"""Maximum length of a chain of re-exports."""


class Project:
    """Files that may import flows and tasks from each other.

    Args:
        paths: The files.

    Attributes:
        paths: The files, in their order.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self.paths = list(paths)
        # "Flow" or "Task" by top-level name, for each file.
        self._kinds: dict[Path, dict[str, str]] = {}
        self._files: dict[str, list[Path]] = {}
        self._trees: dict[Path, ast.Module] = {}
        if len(self.paths) > 1:
            self._read()
        self._stems = {_name_of(file).encode() for file, kinds in self._kinds.items() if kinds}

    def may_be_imported_by(self, content: bytes) -> bool:
        """Return True if a file may import a flow or task of another one.

        Args:
            content: The file's content.
        """
        return any(stem in content for stem in self._stems)

    def imported_kinds(self, path: Path, tree: ast.Module) -> dict[str, str]:
        """Return the kinds of the names that a file imports from others, for `reading.read`.

        Args:
            path: The file.
            tree: Its code.
        """
        found: dict[str, str] = {}
        for module in _imported_modules(tree):
            for file in self._files_of(module, path.resolve()):
                for name, kind in self._kinds[file].items():
                    found[_joined(module, name)] = kind
        return found

    def _read(self) -> None:
        for path in self.paths:
            file = path.resolve()
            try:
                content = path.read_bytes()
                if b"import" in content:
                    self._look_at(file, content)
            except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
                continue  # `open_program` reports the reason
            except cst.ParserSyntaxError:
                continue
        for _ in range(_ROUNDS):
            passed_on = [self._pass_on(file, tree) for file, tree in self._trees.items()]
            if not any(passed_on):
                break
        self._trees = {}

    def _look_at(self, file: Path, content: bytes) -> None:
        tree = parse(content)
        kinds: dict[str, str] = {}
        if b"prefect" in content.lower():
            kinds = with_deep_stack(lambda: made_in(cst.parse_module(content)))
        self._kinds[file] = {name: kind for name, kind in kinds.items() if name.isidentifier()}
        self._trees[file] = tree
        parts = [*file.parent.parts[1:], file.stem] if file.stem != "__init__" else file.parts[1:-1]
        for start in range(len(parts)):
            self._files.setdefault(".".join(parts[start:]), []).append(file)

    def _pass_on(self, file: Path, tree: ast.Module) -> bool:
        """Add the names that a file re-exports from others. Return True if there are any."""
        kinds = self._kinds[file]
        before = len(kinds)
        known = self.imported_kinds(file, tree)
        for node in tree.body:
            if not isinstance(node, ast.ImportFrom):
                continue
            module = "." * node.level + (node.module or "")
            for alias in node.names:
                kind = known.get(_joined(module, alias.name))
                if kind is not None:
                    kinds.setdefault(alias.asname or alias.name, kind)
        return len(kinds) > before

    def _files_of(self, module: str, importer: Path) -> list[Path]:
        """Return the files that a module's name may refer to."""
        name = module.lstrip(".")
        level = len(module) - len(name)
        if not level:
            return self._files.get(name, [])
        folder = importer
        for _ in range(level):
            folder = folder.parent
        place = folder.joinpath(*name.split(".")) if name else folder
        files = [place.with_name(f"{place.name}.py"), place / "__init__.py"]
        return [file for file in files if file in self._kinds]


def _name_of(file: Path) -> str:
    return file.parent.name if file.stem == "__init__" else file.stem


def _imported_modules(tree: ast.Module) -> Iterator[str]:
    """Yield the modules that code imports, or imports from; relative ones begin with dots."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield module
            yield from (_joined(module, alias.name) for alias in node.names)


def _joined(module: str, name: str) -> str:
    return f"{module}{name}" if module.endswith(".") else f"{module}.{name}"
