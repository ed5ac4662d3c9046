"""The name of the program that this process runs, as the `service.name` of its traces.

A trace viewer shows one row, one colour and one node of the system map for each service. The name
of the script or module distinguishes programs there, where one name for all of them would not.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

INTERACTIVE = "python"
"""The name of a program without a file: `python -c`, standard input, an interactive session."""
NOTEBOOK = "notebook"
"""The name of a notebook whose own name is unknown."""

_MAIN_MODULES = ("__mp_main__", "__main__")
"""The main module: in a process that multiprocessing spawned, it also has the first name."""
_SUFFIXES = (".py", ".pyw", ".pyc", ".pyz")
_RUNNERS = frozenset({"cProfile", "pdb", "profile", "runpy", "trace"})
"""Modules of the standard library that run the script in `sys.argv`."""

_of_parent: str | None = None
"""The name that the parent process gave, in a worker process; else None."""


def set_service_name(name: str) -> None:
    """Adopt the name of the parent process: for worker processes."""
    global _of_parent  # noqa: PLW0603 - once, when a worker starts
    _of_parent = name


def service_name(environ: Mapping[str, str]) -> str:
    """Return the name of this program: `etl` for `python jobs/etl.py`. Never empty.

    Args:
        environ: The environment of the process; Jupyter puts the path of the notebook there.
    """
    if _of_parent is not None:
        return _of_parent
    if getattr(sys, "frozen", False):
        return _stem(sys.executable)
    main = next(filter(None, map(sys.modules.get, _MAIN_MODULES)), None)
    if "ipykernel" in sys.modules:
        return _notebook(main, environ)
    module = _module(main)
    if module in _RUNNERS:
        return _stem(_argument())
    # Python removes `__file__` when the main thread has ended; other threads may still begin flows.
    return module or _stem(str(getattr(main, "__file__", None) or _argument()))


def _argument() -> str:
    """Return the program as it was called: -c for `python -c`, empty for standard input."""
    arguments = getattr(sys, "argv", None) or [""]  # a program that embeds Python may have none
    return str(arguments[0])


def _module(main: ModuleType | None) -> str:
    """Return the module of `python -m`; empty for other programs."""
    name = str(getattr(getattr(main, "__spec__", None), "name", None) or "")
    if name in _MAIN_MODULES:  # a folder or an archive with a __main__.py
        return ""
    return name.removesuffix(".__main__")


def _stem(path: str) -> str:
    """Return the name of a program's file without folder and suffix."""
    file = Path(path)
    if file.stem == "__main__":
        file = file.absolute().parent
    name = file.stem if file.suffix in _SUFFIXES else file.name
    # A name like <stdin>, or -c in `sys.argv`, is not that of a file.
    return name if name and name[0] not in "<-" else INTERACTIVE


def _notebook(main: ModuleType | None, environ: Mapping[str, str]) -> str:
    for path in (getattr(main, "__vsc_ipynb_file__", None), environ.get("JPY_SESSION_NAME")):
        if type(path) is str and path.endswith(".ipynb"):
            return Path(path).stem or NOTEBOOK
    return NOTEBOOK


def host_name() -> str:
    """Return the name of this machine; empty if it has none."""
    return os.uname().nodename
