"""A program that may use Prefect: what it uses, and the program with its imports changed."""

from __future__ import annotations

import ast
import sys
import threading
import warnings
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import libcst as cst

from flowspan.migrating import files
from flowspan.migrating.reading import Finding, read
from flowspan.migrating.writing import migrate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_T = TypeVar("_T")

# Long chains of calls and operators, as generated code has them, nest as deeply as they are long.
_STACK_BYTES = 512 * 1024**2
_RECURSION_LIMIT = 10_000


@dataclass(frozen=True)
class Program:
    """A Python file.

    Attributes:
        path: The file.
        findings: What it uses of Prefect, in the order of its lines.
        trouble: Why it could not be read or written; empty if it could.
        content: The file with its imports changed; None where that changes nothing.
    """

    path: Path
    findings: list[Finding] = field(default_factory=list)
    trouble: str = ""
    content: bytes | None = None

    def write(self) -> None:
        """Write the file with its imports changed, if that changes anything.

        Raises:
            OSError: It cannot be written.
        """
        if self.content is not None:
            files.replace(self.path, self.content)


def open_program(path: Path) -> Program:
    """Read a file.

    Args:
        path: The file.
    """
    try:
        content = path.read_bytes()
        if b"prefect" not in content.lower():
            return Program(path)
        # What Python itself refuses may keep libcst busy for minutes, or overflow its stack.
        with warnings.catch_warnings(action="ignore"):
            ast.parse(content)
        findings, changed = _with_deep_stack(lambda: _read_and_migrate(content))
    except OSError as error:
        return Program(path, trouble=error.strerror or str(error))
    except SyntaxError as error:
        where = f"line {error.lineno} is no Python" if error.lineno else "it is no Python"
        return Program(path, trouble=f"{where}: {error.msg}")
    except cst.ParserSyntaxError as error:
        return Program(path, trouble=f"libcst cannot read line {error.raw_line}: {error.message}")
    except ValueError as error:
        return Program(path, trouble=f"it is no Python: {error}")
    except (RecursionError, MemoryError):
        return Program(path, trouble="its code is nested too deeply")
    return Program(path, findings, content=changed if changed != content else None)


def _read_and_migrate(content: bytes) -> tuple[list[Finding], bytes]:
    findings = read(cst.parse_module(content))
    return findings, migrate(cst.parse_module(content)).bytes


def _with_deep_stack(call: Callable[[], _T]) -> _T:
    """Return what a call returns that recurses deeply: it runs in a thread with a large stack."""
    outcome: Future[_T] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:  # noqa: BLE001 - the caller's
            outcome.set_exception(error)

    limit, size = sys.getrecursionlimit(), threading.stack_size(_STACK_BYTES)
    sys.setrecursionlimit(_RECURSION_LIMIT)
    try:
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join()
        return outcome.result()
    finally:
        sys.setrecursionlimit(limit)
        threading.stack_size(size)


def migrated(text: str) -> str:
    """Return a program's text with its imports changed.

    Args:
        text: The program.

    Raises:
        libcst.ParserSyntaxError: It is no Python.
    """
    return migrate(cst.parse_module(text)).code
