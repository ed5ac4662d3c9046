"""The matrix of cases and languages, as docs/clients.md shows it.

    python -m tests.conformance.matrix           print it
    python -m tests.conformance.matrix --write   write it into docs/clients.md

It says what the tests hold: a case without a gap in gaps.yaml must pass, and one with a gap must
not.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.conformance.gaps import known_gaps
from tests.conformance.idiom.runner import IdiomCase
from tests.conformance.idiom.runner import load_all as load_idiom_cases
from tests.conformance.languages import LANGUAGES, ROOT, Language
from tests.conformance.wire.case import load_all as load_wire_cases

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.conformance.wire.case import WireCase

PAGE = ROOT / "docs" / "clients.md"
BEGIN = "<!-- conformance: begin (written by `make test-clients`) -->"
END = "<!-- conformance: end -->"
PASSES = "yes"
GAP = "gap"
NO_PROGRAM = "-"


def matrix() -> str:
    """Return the matrix of both tiers, and the list of the gaps, in Markdown."""
    return "\n\n".join(
        [
            "### Programs against the real service",
            _table("idiom", load_idiom_cases()),
            "### Clients against a service that misbehaves",
            _table("wire", load_wire_cases()),
            "### Known gaps",
            _gaps(),
        ]
    )


def _table(tier: str, cases: Sequence[IdiomCase | WireCase]) -> str:
    titles = " | ".join(language.title for language in LANGUAGES)
    lines = [f"| case | {titles} | |", f"|---|{'---|' * len(LANGUAGES)}---|"]
    for case in cases:
        cells = [_cell(tier, case, language) for language in LANGUAGES]
        lines.append(f"| `{case.name}` | {' | '.join(cells)} | {case.words} |")
    return "\n".join(lines)


def _cell(tier: str, case: IdiomCase | WireCase, language: Language) -> str:
    if not (ROOT / language.folder).is_dir():
        return NO_PROGRAM
    if (language.name, case.name) in known_gaps(tier):
        return GAP
    has_program = not isinstance(case, IdiomCase) or case.program(language).is_file()
    return PASSES if has_program else NO_PROGRAM


def _gaps() -> str:
    lines = [
        f"- {language.title}, `{case}`: {reason}"
        for language in LANGUAGES
        for tier in ("idiom", "wire")
        for (name, case), reason in sorted(known_gaps(tier).items())
        if name == language.name
    ]
    return "\n".join(lines) or "None."


def page_with(text: str, page: str) -> str:
    """Return a page with another matrix between its two marks.

    Raises:
        ValueError: A mark is missing.
    """
    before, _, rest = page.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        msg = f"the page has not both marks: {BEGIN} and {END}"
        raise ValueError(msg)
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def main(arguments: Sequence[str]) -> None:
    """Print the matrix, or write it into the page."""
    found = matrix()
    if list(arguments) == ["--write"]:
        page = Path(PAGE).read_text(encoding="utf-8")
        Path(PAGE).write_text(page_with(found, page), encoding="utf-8")
    print(found)


if __name__ == "__main__":
    main(sys.argv[1:])
