"""The rules of style that a program can check: openings of docstrings and banned phrases."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from scripts import code_metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
CODE = ("python_client", "service", "benchmarks", "examples", "scripts", "tests")
MAX_CLAUSES = 0.03
BANNED = re.compile(
    r"\b(is to be|are to be|was to be|what of|so many as|as many as there are|there is none"
    r"|goes on|go on for ever|for good|by itself|by themselves|told of|tells of|nobody|somebody"
    r"|anybody|no longer there)\b",
    re.IGNORECASE,
)
QUOTED = re.compile(r"```.*?```|`[^`]*`|\"[^\"\n]*\"", re.DOTALL)


def modules(folder: str) -> list[Path]:
    programs = ROOT / "tests" / "migrating"
    return [
        path
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "v1" not in path.parts and not path.is_relative_to(programs) and path != Path(__file__)
    ]


def pages() -> list[Path]:
    files = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("proto/**/*.proto")]
    assert len(files) > 40
    return sorted(files)


def prose_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and text of each docstring and comment of a module."""
    source = path.read_text()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and code_metrics.is_text(node):
            yield node.lineno, ast.literal_eval(node.value)


def found_in(text: str) -> list[str]:
    return BANNED.findall(QUOTED.sub("", text))


@pytest.mark.parametrize("folder", CODE)
def test_docstrings_open_with_a_verb_or_a_term(folder: str) -> None:
    texts = [
        text
        for path in modules(folder)
        for text in code_metrics.docstrings(ast.parse(path.read_text()))
    ]
    clauses = [text.splitlines()[0] for text in texts if code_metrics.NOUN_CLAUSE.match(text)]
    assert len(clauses) <= MAX_CLAUSES * len(texts), clauses


@pytest.mark.parametrize("folder", CODE)
def test_code_has_no_banned_phrase(folder: str) -> None:
    found = {
        f"{path.relative_to(ROOT)}:{line}": phrases
        for path in modules(folder)
        for line, text in prose_of(path)
        if (phrases := found_in(text))
    }
    assert not found


def test_pages_have_no_banned_phrase() -> None:
    found = {
        str(path.relative_to(ROOT)): phrases
        for path in pages()
        if (phrases := found_in(path.read_text()))
    }
    assert not found


@pytest.mark.parametrize("text", ["What goes on here.", "Told of by nobody.", "It is to be sent."])
def test_the_check_finds_banned_phrases(text: str) -> None:
    assert found_in(text)
    assert not found_in(f"`{text}`")
