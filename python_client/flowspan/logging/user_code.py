"""Distinction between the program's own code and that in the libraries it uses."""

from __future__ import annotations

import sys
from functools import lru_cache
from traceback import StackSummary
from typing import TYPE_CHECKING, Any

from flowspan.core.tracebacks import is_own

if TYPE_CHECKING:
    import logging
    from traceback import FrameSummary
    from types import FrameType

    from flowspan.core.run import Run

_INSTALLED = ("site-packages", "dist-packages")
_PROGRAM = "__main__"
_WARNINGS = "py.warnings"
"""The logger of `logging.captureWarnings`, which a program enables explicitly."""


def is_of_library(record: logging.LogRecord, run: Run) -> bool:
    """Return True if a log record comes from a library, not from the run's program.

    A logger belongs to the module or package that it is named after. Without one, as for the
    root logger, the file of the logging call decides. The package that contains the flow is never a
    library, wherever it is installed.

    Args:
        record: The record.
        run: The run in which it was logged.
    """
    name = record.name.partition(".")[0]
    if name == _PROGRAM or record.name == _WARNINGS:
        return False
    if not _is_library_name(name, record.pathname):
        return False
    here: Run | None = run
    while here is not None:  # a project may be installed, too; its flows identify it
        if _package_of(here) == name:
            return False
        here = here.parent
    return True


@lru_cache(1024)
def is_library_file(path: str) -> bool:
    """Return True for a file of the standard library or of an installed package."""
    return _is_installed(path) or path.startswith(
        ("<frozen ", "built-in", "frozen", *_standard_folders())
    )


@lru_cache(1)
def _standard_folders() -> tuple[str, ...]:
    import sysconfig  # noqa: PLC0415 - start-up cost

    paths = sysconfig.get_paths()
    return tuple(paths[name] for name in ("stdlib", "platstdlib") if paths.get(name))


def _is_installed(path: str) -> bool:
    parts = path.replace("\\", "/").split("/")
    return any(part in parts for part in _INSTALLED)


def user_callers() -> list[FrameSummary]:
    """Return the program's own frames on the stack of the calling thread, the outermost first."""
    found: list[tuple[FrameType, int]] = []
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the documented name
    while frame is not None:
        if not is_own(frame) and not is_library_file(frame.f_code.co_filename):
            found.append((frame, frame.f_lineno))
        frame = frame.f_back
    return list(StackSummary.extract(iter(reversed(found))))


def _is_library_name(name: str, called_in: str) -> bool:
    where = _place_of(name) if name.isidentifier() else None
    if where is None:
        # A call made by the standard library counts as the program's: `to_thread(logger.info, …)`.
        return _is_installed(called_in)
    if is_library_file(where) and not _is_installed(where):
        # A program may choose a name of the standard library, such as "queue" or "test".
        return is_library_file(called_in)
    return is_library_file(where)


@lru_cache(1024)
def _place_of(name: str) -> str | None:
    """Return the file of a module, or the folder of a package; None if there is neither."""
    from importlib.util import find_spec  # noqa: PLC0415 - start-up cost

    module = sys.modules.get(name)
    try:
        spec: Any = getattr(module, "__spec__", None) or find_spec(name)
        return spec.origin or next(iter(spec.submodule_search_locations or ()), None)
    except (ImportError, AttributeError, ValueError):  # missing, or created manually
        return None


def _package_of(run: Run) -> str:
    module = getattr(run.definition, "__module__", None)
    return module.partition(".")[0] if type(module) is str else ""
