"""A program that may use Prefect: what it uses, and the program with its imports changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import libcst as cst

from flowspan.migrating import files
from flowspan.migrating.reading import Finding, read
from flowspan.migrating.writing import migrate

if TYPE_CHECKING:
    from pathlib import Path


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
        module = cst.parse_module(content)
        findings = read(module)
        changed = migrate(cst.parse_module(content)).bytes
    except OSError as error:
        return Program(path, trouble=error.strerror or str(error))
    except cst.ParserSyntaxError as error:
        return Program(path, trouble=f"line {error.raw_line} is no Python: {error.message}")
    except (UnicodeError, LookupError, SyntaxError) as error:
        return Program(path, trouble=f"its text cannot be read: {error}")
    except RecursionError:
        return Program(path, trouble="it is nested too deeply")
    return Program(path, findings, content=changed if changed != content else None)


def migrated(text: str) -> str:
    """Return a program's text with its imports changed.

    Args:
        text: The program.

    Raises:
        libcst.ParserSyntaxError: It is no Python.
    """
    return migrate(cst.parse_module(text)).code
