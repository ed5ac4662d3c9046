"""docs/clients.md shows the matrix that the tests hold, and the gaps name cases that exist."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.conformance import gaps
from tests.conformance.gaps import known_gaps, unless_known
from tests.conformance.idiom.runner import load_all as load_idiom_cases
from tests.conformance.languages import LANGUAGES, PYTHON, SELECTION, selected
from tests.conformance.matrix import BEGIN, END, PAGE, matrix, page_with
from tests.conformance.wire.case import load_all as load_wire_cases

if TYPE_CHECKING:
    from pathlib import Path

CASES = {"wire": load_wire_cases(), "idiom": load_idiom_cases()}


def test_page_shows_the_matrix() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == page_with(matrix(), page), "run python -m tests.conformance.matrix --write"


def test_page_without_marks_is_refused() -> None:
    for page in ("", BEGIN, END, f"{END}{BEGIN}"):
        with pytest.raises(ValueError, match="marks"):
            page_with("text", page)
    assert page_with("new", f"a\n{BEGIN}old{END}b") == f"a\n{BEGIN}\n\nnew\n\n{END}b"


@pytest.mark.parametrize("tier", ["wire", "idiom"])
def test_gaps_name_cases_and_languages(tier: str) -> None:
    for (language, case), reason in known_gaps(tier).items():
        assert language in {each.name for each in LANGUAGES}, language
        assert case in {each.name for each in CASES[tier]}, case
        assert reason, case


@pytest.mark.parametrize("tier", ["wire", "idiom"])
def test_words_are_one_sentence(tier: str) -> None:
    for case in CASES[tier]:
        assert case.words.endswith("."), case.name
        assert "|" not in case.words, case.name


def test_python_has_every_program() -> None:
    assert [case.name for case in load_idiom_cases() if not case.program(PYTHON).is_file()] == []


@pytest.fixture
def one_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "gaps.yaml"
    file.write_text("wire: {python: {known: it is hard}}\nidiom: {}\n")
    monkeypatch.setattr(gaps, "FILE", file)


@pytest.mark.usefixtures("one_gap")
def test_gap_that_passes_is_an_error() -> None:
    with (
        pytest.raises(AssertionError, match="remove it from"),
        unless_known("wire", "python", "known"),
    ):
        pass


@pytest.mark.usefixtures("one_gap")
def test_gap_that_fails_is_expected() -> None:
    with (
        pytest.raises(pytest.xfail.Exception, match="it is hard"),
        unless_known("wire", "python", "known"),
    ):
        raise AssertionError


@pytest.mark.usefixtures("one_gap")
@pytest.mark.parametrize(
    ("tier", "language", "case"),
    [("wire", "python", "other"), ("idiom", "python", "known"), ("wire", "go", "known")],
)
def test_other_failure_is_none(tier: str, language: str, case: str) -> None:
    with pytest.raises(AssertionError, match="broken"), unless_known(tier, language, case):
        raise AssertionError("broken")


@pytest.mark.usefixtures("one_gap")
def test_gap_of_the_tests_themselves_is_an_error() -> None:
    with pytest.raises(OSError, match="no disk"), unless_known("wire", "python", "known"):
        raise OSError("no disk")


def test_languages_are_selected_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SELECTION, raising=False)
    assert selected() == (PYTHON,)
    monkeypatch.setenv(SELECTION, "all")
    assert selected() == LANGUAGES
    monkeypatch.setenv(SELECTION, "python,cobol")
    with pytest.raises(ValueError, match="has cobol"):
        selected()
