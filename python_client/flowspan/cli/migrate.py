"""`flowspan migrate`."""

from __future__ import annotations

import os.path
from collections import Counter
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowspan.cli import format as fmt
from flowspan.cli import options
from flowspan.cli.session import CommandError, Session, session
from flowspan.migrating.names import MISSING, SAME

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowspan.migrating.programs import Program
    from flowspan.migrating.reading import Finding

_PAGE = "https://github.com/flowspan/flowspan/blob/main/docs/migrating-from-prefect.md"
_WORDS = {SAME: "works"}
_STYLES = {SAME: "green", "differs": "yellow", "renamed": "yellow", MISSING: "red"}

Paths = Annotated[
    list[str],
    typer.Argument(
        metavar="PATH…",
        help="Python files or folders that contain them.",
        show_default=False,
        callback=options.refuse_blank,
    ),
]


def migrate(
    ctx: typer.Context,
    paths: Paths,
    *,
    write: Annotated[
        bool, typer.Option("--write", help="Rewrite the imports in the files.")
    ] = False,
    problems: Annotated[
        bool, typer.Option("--problems", help="Hide names that work unchanged.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Check Prefect 3 programs for compatibility and rewrite their imports.

    Report line by line which Prefect names work, differ or are missing. Files
    change only with --write, and then only imports and module names.

    Missing names are still imported from Prefect, so that no program silently
    changes its meaning.

    The exit code is 1 if a name is missing or a file cannot be read.

    Try:

        flowspan migrate flows/

        flowspan migrate flows/etl.py --write
    """
    this = session(ctx)
    found = _existing(paths)
    if find_spec("libcst") is None:
        raise CommandError(
            "this command needs the package libcst, which is not installed",
            advice="Install it: pip install 'flowspan[migrate]'",
        )
    from flowspan.migrating.files import python_files  # noqa: PLC0415 - needs libcst
    from flowspan.migrating.programs import open_program  # noqa: PLC0415 - needs libcst
    from flowspan.migrating.project import Project  # noqa: PLC0415 - needs libcst

    read = using = written = 0
    words: Counter[str] = Counter()
    trouble = False
    project = Project(python_files(found))
    for path in project.paths:
        read += 1
        program = open_program(path, project)
        trouble |= bool(program.trouble)
        if program.trouble:
            this.err.print(f"{path} was skipped: {program.trouble}", soft_wrap=True)
        if not program.findings:
            continue
        using += 1
        words.update(finding.word for finding in program.findings)
        if write and program.content is not None:
            program.write()
            written += 1
        _print_program(this, program, problems=problems, json=json)
    if not json:
        _print_end(this, read, using, words)
        _print_what_changed(this, written, has_any=bool(using), write=write)
    if trouble or words[MISSING]:
        raise typer.Exit(1)


def _existing(paths: list[str]) -> list[Path]:
    # Path("") is the working folder, so convert to paths only here, after blank text is
    # refused.
    for text in paths:
        # Unlike Path.exists, os.path.exists returns False for a text that is too long for a
        # path.
        if not os.path.exists(text):
            raise typer.BadParameter(f"{text!r} does not exist", param_hint="'PATH…'")
    return [Path(text) for text in paths]


def _print_program(this: Session, program: Program, *, problems: bool, json: bool) -> None:
    shown = [each for each in program.findings if not (problems and each.word == SAME)]
    if json:
        for finding in shown:
            this.print_json(_record(program.path, finding))
        return
    if not shown:
        return
    this.print_parts((str(program.path), "bold"))
    for line, findings in groupby(shown, key=lambda finding: finding.line):
        for (word, note), alike in groupby(findings, key=lambda each: (each.word, each.note)):
            _print_line(this, line, word, note, alike)
    this.print()


def _print_line(
    this: Session, line: int, word: str, note: str, findings: Iterable[Finding]
) -> None:
    names = ", ".join(finding.name.removeprefix("prefect.") for finding in findings)
    this.print_parts(
        (f"{line:>6}  ", "dim"),
        (f"{_WORDS.get(word, word):<8}", _STYLES[word]),
        (names, ""),
        (f": {note.replace('`', '')}" if note else "", "dim"),
    )


def _record(path: Path, finding: Finding) -> dict[str, object]:
    return {
        "file": str(path),
        "line": finding.line,
        "column": finding.column,
        "name": finding.name,
        "word": _WORDS.get(finding.word, finding.word),
        "note": finding.note,
    }


def _print_end(this: Session, read: int, using: int, words: Counter[str]) -> None:
    if not using:
        this.print(f"No use of Prefect in {fmt.count(read, 'file')}.")
        return
    kinds = ", ".join(f"{words[word]} {_WORDS.get(word, word)}" for word in _STYLES if words[word])
    this.print(f"Files that use Prefect: {using:,} of {read:,}. Names: {kinds}.")
    if words.keys() - {SAME}:
        this.print(f"For details on each name, see {_PAGE}")


def _print_what_changed(this: Session, written: int, *, has_any: bool, write: bool) -> None:
    if written:
        this.print(f"Changed the imports of {fmt.count(written, 'file')}.")
    elif has_any and write:
        this.print("No imports needed to change.")
    elif has_any:
        this.print("No files were changed. Use --write to rewrite the imports.")
