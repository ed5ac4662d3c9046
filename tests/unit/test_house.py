"""The house's own rules, where no tool checks them."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements-dev.lock").read_text()
GENERATED = ROOT / "python_client" / "flowspan" / "v1"
MAX_MODULE_LINES = 600


def test_lock_names_no_host():
    assert "://" not in LOCK
    assert not re.search(r"^-", LOCK, re.MULTILINE), "the lock has pins and nothing else"


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


def test_every_ignore_says_why():
    ignore = re.compile(r"#\s*(?:noqa|type:\s*ignore|pragma)(?P<rest>.*)")
    reasoned = re.compile(r"[A-Za-z0-9,\[\]:\s-]*?\s[-#(]\s*\S+")
    silent = []
    for folder in ("python_client", "service", "tests", "examples", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            if path.is_relative_to(GENERATED) or path == Path(__file__):
                continue
            for number, line in enumerate(path.read_text().splitlines(), start=1):
                found = ignore.search(line)
                if found and not reasoned.match(found["rest"]):
                    silent.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
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
