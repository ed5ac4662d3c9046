"""Telling the program's own code from that of the libraries that it uses."""

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
"""The logger of `logging.captureWarnings`, which a program has to ask for."""


def is_of_library(record: logging.LogRecord, run: Run) -> bool:
    """True if a log record comes from a library, and not from the program that the run is part of.

    A logger belongs to the module or package that it is named after. Where that is none, as with
    the root logger, the file decides in which the call stands. The package that the flow is in is
    never a library, wherever it is installed.

    Args:
        record: The record.
        run: The run in which it was made.
    """
    name = record.name.partition(".")[0]
    if name == _PROGRAM or record.name == _WARNINGS:
        return False
    if not _is_library_name(name, record.pathname):
        return False
    here: Run | None = run
    while here is not None:  # a project may be installed, too: it is where its flows are
        if _package_of(here) == name:
            return False
        here = here.parent
    return True


@lru_cache(1024)
def is_library_file(path: str) -> bool:
    """True for a file of the standard library or of an installed package."""
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
        # Not where the standard library makes the call: `asyncio.to_thread(logger.info, …)`.
        return _is_installed(called_in)
    if is_library_file(where) and not _is_installed(where):
        # "queue" or "test" may be a name that the program chose.
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
    except (ImportError, AttributeError, ValueError):  # there is none, or it was made by hand
        return None


def _package_of(run: Run) -> str:
    module = getattr(run.definition, "__module__", None)
    return module.partition(".")[0] if type(module) is str else ""
