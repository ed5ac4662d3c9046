"""Distinction of the program's own log records from library records."""

from __future__ import annotations

import logging
import sys
import sysconfig
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from flowspan.logging.user_code import is_library_file, is_of_library

if TYPE_CHECKING:
    from pathlib import Path

SITE = "/opt/env/lib/python3.13/site-packages"
OWN = "/home/me/project/flows.py"
STANDARD = f"{sysconfig.get_paths()['stdlib']}/urllib/request.py"


def run(module: str = "__main__", parent: Any = None) -> Any:
    return SimpleNamespace(definition=SimpleNamespace(__module__=module), parent=parent)


def record(name: str, path: str) -> logging.LogRecord:
    return logging.LogRecord(name, logging.INFO, path, 1, "text", None, None)


@pytest.mark.parametrize(
    ("name", "path", "expected"),
    [
        ("__main__", OWN, False),
        ("__main__", f"{SITE}/structlog/stdlib.py", False),
        ("root", OWN, False),
        ("root", f"{SITE}/noisy/client.py", True),
        ("root", STANDARD, False),  # This covers asyncio.to_thread(logging.info, ...).
        ("etl.load", STANDARD, False),
        ("etl.load", OWN, False),
        ("etl.load", "<stdin>", False),
        ("etl.load", "<ipython-input-3-1>", False),
        ("vendor.noise", f"{SITE}/noisy/client.py", True),
        ("vendor.noise", "/usr/lib/python3/dist-packages/noisy.py", True),
        ("pydantic.main", f"{SITE}/pydantic/main.py", True),
        ("pydantic", OWN, True),  # The logger's name decides, not the caller.
        ("asyncio", STANDARD, True),
        ("queue", OWN, False),  # The program uses this name; the library does not log.
        ("py.warnings", STANDARD, False),  # logging.captureWarnings requested it.
        ("strange name/", OWN, False),
    ],
)
def test_whose_a_record_is(name: str, path: str, expected: bool) -> None:
    assert is_of_library(record(name, path), run()) == expected


@pytest.mark.parametrize("path", [OWN, f"{SITE}/project/util.py"])
def test_the_package_of_the_flow_is_no_library_wherever_it_is(path: str) -> None:
    name = "pydantic.flows"  # It is installed, as a project is in its own image.
    assert is_of_library(record("pydantic.util", path), run())
    assert not is_of_library(record("pydantic.util", path), run(name))
    assert not is_of_library(record("pydantic.util", path), run("other", run(name)))


def test_a_module_beside_the_program_is_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "helpers_beside.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    assert not is_of_library(record("helpers_beside", f"{SITE}/structlog/stdlib.py"), run())


@pytest.mark.parametrize("spec", [None, 3])
def test_modules_made_by_hand_do_no_harm(monkeypatch: pytest.MonkeyPatch, spec: object) -> None:
    name = f"made_by_hand_{spec}"
    module = ModuleType(name)
    module.__spec__ = spec  # type: ignore[assignment] # the subject of the test
    monkeypatch.setitem(sys.modules, name, module)
    assert not is_of_library(record(name, OWN), run())


def test_files() -> None:
    assert is_library_file("<frozen importlib._bootstrap>")
    assert is_library_file(logging.__file__)
    assert is_library_file(pytest.__file__)
    assert not is_library_file(__file__)
    assert not is_library_file("/home/me/site-packages.py")
