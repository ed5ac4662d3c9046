"""The page on processes and threads names all such state, threads and handlers of the client."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/processes-and-threads.md"
CLIENT = ROOT / "python_client/flowspan"

CALLS = {
    *("threading.Thread", "threading.Timer", "ThreadPoolExecutor", "LoopThread", "own_thread"),
    *("os.register_at_fork", "atexit.register", "util.Finalize"),
    *("signal.signal", "signal.setitimer", "signal.set_wakeup_fd", "signal.pthread_kill"),
}
"""Calls that start threads, register handlers, or use signals."""

SPELLINGS = {
    "_genuine['Thread']": "threading.Thread",
    "_signal.pthread_kill": "signal.pthread_kill",
    "_signal.signal": "signal.signal",
}

PATCHED = ("sys", "builtins", "threading", "logging", "signal", "asyncio", "warnings")
"""Modules whose attributes belong to the whole process."""

STATEFUL = {
    *("threading.Lock", "threading.RLock", "threading.Condition", "threading.Event", "Lock"),
    *("threading.local", "contextvars.ContextVar", "ContextVar"),
}
CONTAINERS = {
    *("dict", "set", "list", "deque", "defaultdict", "OrderedDict", "SimpleQueue"),
    *("WeakSet", "WeakKeyDictionary", "WeakValueDictionary"),
}
MUTATING = {
    *("append", "add", "pop", "popitem", "clear", "discard", "remove", "update", "setdefault"),
    *("extend", "insert", "move_to_end", "put", "popleft"),
}


def function_of(node: ast.AST) -> str:
    """Return the called function; empty for other nodes."""
    name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
    return SPELLINGS.get(name, name)


def module_level(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value
        elif isinstance(node, ast.AnnAssign) and node.value and isinstance(node.target, ast.Name):
            yield node.target.id, node.value


def is_container(value: ast.expr) -> bool:
    name = function_of(value).split("[")[0].rpartition(".")[2]
    return isinstance(value, (ast.List, ast.Dict, ast.Set)) or name in CONTAINERS


def mutated_names(tree: ast.Module) -> set[str]:
    """Return the names whose items are set or deleted, or on which a mutating method is called."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in MUTATING:
                found.add(ast.unparse(node.func.value))
        elif isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
            found.add(ast.unparse(node.value))
    return found


def patches(tree: ast.Module) -> set[str]:
    stored = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    )
    return {ast.unparse(node) for node in stored if ast.unparse(node.value) in PATCHED}


def found_in(tree: ast.Module) -> set[str]:
    mutated = mutated_names(tree)
    found = patches(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            found.update(node.names)
        elif function_of(node) in CALLS:
            found.add(function_of(node))
    for name, value in module_level(tree):
        if function_of(value) in STATEFUL or (is_container(value) and name in mutated):
            found.add(name)
    return found


def modules() -> dict[str, ast.Module]:
    paths = (path for path in sorted(CLIENT.rglob("*.py")) if path.parent != CLIENT / "v1")
    return {path.relative_to(CLIENT).as_posix(): ast.parse(path.read_text()) for path in paths}


def rows() -> Iterator[tuple[str, str, str]]:
    """Return the rows of the page's tables on the client: module, names, and the rest."""
    client, _, _ = PAGE.read_text().partition("## The service")
    for line in client.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) >= 3:
            yield cells[0].strip("`"), cells[1], " ".join(cells[2:])


def names_in(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


def test_the_page_names_all_of_the_client() -> None:
    listed: dict[str, set[str]] = {}
    for module, names, _ in rows():
        listed.setdefault(module, set()).update(names_in(names))
    missing = {
        module: absent
        for module, tree in modules().items()
        if (absent := found_in(tree) - listed.get(module, set()))
    }
    assert not missing, "docs/processes-and-threads.md does not name these"


def test_the_page_names_nothing_else() -> None:
    trees = modules()
    for module, names, _ in rows():
        assert module in trees, f"{module} is not a module of the client"
        known = found_in(trees[module]) | {name for name, _ in module_level(trees[module])}
        assert names_in(names) <= known, f"{module} has no longer what the page names"


def test_each_row_explains_its_names() -> None:
    for module, names, rest in rows():
        assert names_in(names), f"the row of {module} names nothing"
        assert len(rest.split()) >= 2, f"the row of {module}, {names}, explains nothing"


def test_the_search_finds_each_kind() -> None:
    code = """
import threading, sys, os
_lock = threading.Lock()
_seen: set[int] = set()
_constant = {1: 2}
_count = 0
def use():
    global _count
    _seen.add(1)
    sys.excepthook = use
    threading.Thread(target=use).start()
os.register_at_fork(after_in_child=use)
"""
    assert found_in(ast.parse(code)) == {
        *("_lock", "_seen", "_count", "sys.excepthook", "threading.Thread"),
        "os.register_at_fork",
    }
