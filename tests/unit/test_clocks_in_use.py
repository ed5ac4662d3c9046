"""No client module takes its time from functions that a test may have patched."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import flowspan

ROOT = Path(flowspan.__file__).parent
# The program's clock, for display only: local hours in console lines.
ALLOWED = {"clock/__init__.py": None, "logging/console.py": {"strftime", "localtime"}}
WAITS = {"sleep", "wait_for", "timeout", "timeout_at"}
MODULES = sorted(
    str(path.relative_to(ROOT))
    for path in ROOT.rglob("*.py")
    if not path.name.endswith(("_pb2.py", "_pb2_grpc.py"))
)


def used(tree: ast.AST, module: str) -> set[str]:
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == module
    }


@pytest.mark.parametrize("module", MODULES)
def test_a_module_takes_its_time_from_flowspan_s_clock(module: str) -> None:
    tree = ast.parse((ROOT / module).read_text())
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    allowed = ALLOWED.get(module, set())
    if "time" in imported and allowed is not None:
        assert used(tree, "time") <= allowed
    if not module.startswith("clock/"):
        assert not used(tree, "asyncio") & WAITS
        polls = {
            ast.unparse(node.func)
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "poll"
            and node.args
        }
        assert not polls, "Connection.poll uses time.monotonic"
