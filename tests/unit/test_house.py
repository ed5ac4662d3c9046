"""House rules that no tool checks."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from scripts import code_metrics

import flowspan

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements-dev.lock").read_text()
GENERATED = ROOT / "python_client" / "flowspan" / "v1"
MAX_MODULE_LINES = 600


def test_lock_names_no_host():
    assert "://" not in LOCK
    assert not re.search(r"^-", LOCK, re.MULTILINE), "the lock file must contain only pins"


def test_lock_has_everything_that_the_project_asks_for():
    asked = [
        *PROJECT["project"]["dependencies"],
        *PROJECT["project"]["optional-dependencies"]["postgres"],
        *PROJECT["dependency-groups"]["dev"],
    ]
    pinned = {line.split("==")[0] for line in LOCK.splitlines() if "==" in line}
    names = {re.split(r"[\[<>=;~! ]", line)[0].lower().replace("_", "-") for line in asked}
    assert names <= pinned, "run `make lock`"


def test_modules_are_short():
    modules = [
        path
        for folder in ("python_client", "service", "tests", "examples", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        if not path.is_relative_to(GENERATED)
    ]
    assert modules
    long = {str(path): len(path.read_text().splitlines()) for path in modules}
    assert not {path: lines for path, lines in long.items() if lines > MAX_MODULE_LINES}


def test_no_modules_of_the_service_import_each_other():
    modules = code_metrics.modules(ROOT / "service" / "flowspan_service")
    assert "flowspan_service.main" in modules
    assert not code_metrics.in_cycles(modules), "move what they share to a module of its own"


def test_cycles_are_found_in_imports_of_every_kind():
    sources = {
        "a": "import b",
        "b": "def f():\n    from c import x",
        "c": "if TYPE_CHECKING:\n    from a import y",
        "d": "import a",
    }
    modules = {name: ast.parse(source) for name, source in sources.items()}
    assert code_metrics.in_cycles(modules) == {"a", "b", "c"}


def test_unit_tests_neither_sleep_nor_open_sockets():
    waits = re.compile(
        r"(?<![\w\"'])(?:time\.sleep|asyncio\.sleep|sleep)\((?!0\))|socket\.socket|socketpair"
        r"|grpc\.(?:aio\.)?(?:server|insecure_channel)|create_server|HTTPServer"
    )
    found = {
        str(path.relative_to(ROOT)): match[0]
        for path in (ROOT / "tests" / "unit").rglob("test_*.py")
        if path != Path(__file__) and (match := waits.search(path.read_text()))
    }
    assert not found, "these belong to tests/integration"


def test_every_ignore_says_why():
    ignore = re.compile(r"#\s*(?:noqa|type:\s*ignore)(?P<rest>.*)")
    reasoned = re.compile(r"[A-Za-z0-9,\[\]:\s-]*?\s[-#(]\s*\S+")
    silent = []
    for folder in ("python_client", "service", "examples", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            if path.is_relative_to(GENERATED):
                continue
            lines = path.read_text().splitlines()
            for index, line in enumerate(lines):
                found = ignore.search(line)
                # The reason follows the directive, or is in a comment just before it.
                before = [each.strip() for each in lines[max(0, index - 3) : index]]
                told = any(each.startswith("#") for each in before)
                if found and not told and not reasoned.match(found["rest"]):
                    silent.append(f"{path.relative_to(ROOT)}:{index + 1}: {line.strip()}")
    assert not silent


@pytest.mark.parametrize("package", ["flowspan", "flowspan_service"])
def test_import_is_quiet_and_starts_nothing(package: str):
    code = (
        f"import threading, {package}; assert threading.active_count() == 1, threading.enumerate()"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_states_page_names_the_rules_of_the_code():
    page = (ROOT / "docs" / "states.md").read_text()
    code = rules_in_code()
    assert {"order_of_types", "run_is_known"} <= code, "the search for rules found too little"
    cells = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", page, re.MULTILINE)
    listed = {name for cell in cells for name in re.findall(r"\w+", cell)}
    assert listed == code | PERMISSIONS
    letters = dict(re.findall(r"^\| ([A-Z]) \|.*\| ([^|]*) \|$", page, re.MULTILINE))
    assert "".join(letters) == "ABCDEFGHIJKLMNOPQ"
    for rules in letters.values():
        assert set(re.findall(r"`(\w+)`", rules)) <= code | PERMISSIONS


# These permit a transition, within `terminal_is_final`, and are never a reason for rejection.
PERMISSIONS = {"silence_is_overruled", "completed_may_be_rolled_back"}


def rules_in_code() -> set[str]:
    """Return the rule names in the service's verdicts, as found in its sources."""
    found: set[str] = set()
    for path in (ROOT / "service").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Tuple):
                parts, place = [ast.unparse(part) for part in node.elts], node.elts[1:2]
                if not parts or not parts[0].startswith("VerdictKind."):
                    continue
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "Objection":
                place = node.args[1:2]
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "NotUnderstood":
                place = node.args[0:1]
            else:
                continue
            found.update(p.value for p in place if isinstance(p, ast.Constant) and p.value)
    return found


def test_versions_agree():
    assert flowspan.__version__ == PROJECT["project"]["version"]
