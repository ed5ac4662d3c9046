"""The name of the program, in each way in which Python runs one."""

from __future__ import annotations

import subprocess
import sys
import zipapp
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

TELL = """
import os
from flowspan.connection.program import service_name

def tell():
    print(service_name(os.environ), flush=True)
"""
CODE = TELL + "tell()\n"
CHILDREN = (
    TELL
    + """
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    child = context.Process(target=tell)
    child.start()
    child.join()
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        print(pool.submit(service_name, {}).result())
"""
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with programs of all kinds."""
    (tmp_path / "nightly_etl.py").write_text(CODE)
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "orders.py").write_text(CODE)
    (package / "__main__.py").write_text(CODE)
    (tmp_path / "console-script").write_text(f"#!{sys.executable}\n{CODE}")
    archive = tmp_path / "archived"
    archive.mkdir()
    (archive / "__main__.py").write_text(CODE)
    zipapp.create_archive(archive, tmp_path / "invoices.pyz")
    (tmp_path / "children.py").write_text(CHILDREN)
    (package / "children.py").write_text(CHILDREN)
    return tmp_path


def names(folder: Path, *arguments: str, stdin: str = "") -> list[str]:
    """Run Python with arguments; return the names that the program tells."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        input=stdin,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.split("\n")


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["nightly_etl.py"], "nightly_etl"),
        (["./nightly_etl.py", "--all"], "nightly_etl"),
        (["-m", "nightly_etl"], "nightly_etl"),
        (["-m", "shop.orders"], "shop.orders"),
        (["-m", "shop"], "shop"),
        (["shop"], "shop"),
        (["console-script"], "console-script"),
        (["invoices.pyz"], "invoices"),
        (["-m", "cProfile", "nightly_etl.py"], "nightly_etl"),
        (["-c", CODE], "python"),
        (["-i", "nightly_etl.py"], "nightly_etl"),
    ],
)
def test_a_program(folder: Path, arguments: list[str], name: str) -> None:
    assert names(folder, *arguments)[0] == name


@pytest.mark.parametrize("arguments", [[], ["-"], ["-i"]])
def test_standard_input_and_the_interpreter(folder: Path, arguments: list[str]) -> None:
    code = CODE.replace("tell()\n", "\ntell()\n")  # a blank line ends a function
    assert names(folder, *arguments, stdin=code)[0] == "python"


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize(
    ("program", "name"), [(["children.py"], "children"), (["-m", "shop.children"], "shop.children")]
)
def test_children_of_multiprocessing(
    folder: Path, program: list[str], name: str, method: str
) -> None:
    assert names(folder, *program, method)[:2] == [name, name]
