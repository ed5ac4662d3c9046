"""A program that may use Prefect: its uses of Prefect, and its code with migrated imports."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import libcst as cst

from flowspan.migrating import files
from flowspan.migrating.deep_stack import with_deep_stack
from flowspan.migrating.parsing import parse
from flowspan.migrating.reading import Finding, read
from flowspan.migrating.writing import migrate

if TYPE_CHECKING:
    from pathlib import Path

    from flowspan.migrating.project import Project


@dataclass(frozen=True)
class Program:
    """A Python file.

    Attributes:
        path: The file.
        findings: Its uses of Prefect, in the order of the lines.
        trouble: The reason why it could not be read or written; empty if it could.
        content: The file with its imports changed; None if nothing changes.
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


def open_program(path: Path, project: Project) -> Program:
    """Read a file.

    Args:
        path: The file.
        project: The project of the file, whose flows it may import.
    """
    try:
        content = path.read_bytes()
        if b"prefect" not in content.lower() and not project.may_be_imported_by(content):
            return Program(path)
        tree = parse(content)
        kinds = project.imported_kinds(path, tree)
        findings, changed = with_deep_stack(lambda: _read_and_migrate(content, kinds))
    except OSError as error:
        return Program(path, trouble=error.strerror or str(error))
    except SyntaxError as error:
        where = (
            f"line {error.lineno} is not valid Python" if error.lineno else "it is not valid Python"
        )
        return Program(path, trouble=f"{where}: {error.msg}")
    except cst.ParserSyntaxError as error:
        return Program(path, trouble=f"libcst cannot read line {error.raw_line}: {error.message}")
    except ValueError as error:
        return Program(path, trouble=f"it is not valid Python: {error}")
    except (RecursionError, MemoryError):
        return Program(path, trouble="its code is nested too deeply")
    return Program(path, findings, content=changed if changed != content else None)


def _read_and_migrate(content: bytes, kinds: dict[str, str]) -> tuple[list[Finding], bytes]:
    findings = read(cst.parse_module(content), kinds)
    return findings, migrate(cst.parse_module(content)).bytes


def migrated(text: str) -> str:
    """Return a program's text with its imports changed.

    Args:
        text: The program.

    Raises:
        libcst.ParserSyntaxError: It is not valid Python.
    """
    return migrate(cst.parse_module(text)).code
