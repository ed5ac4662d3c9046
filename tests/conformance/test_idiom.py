"""The idiom tier: programs in each language, compared by what the real service has of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.conformance.gaps import unless_known
from tests.conformance.idiom.runner import FOLDER, IdiomCase, load_all, read_result, run_case
from tests.conformance.languages import Language, build, selected

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.service import ServiceProcess


@pytest.mark.parametrize("case", load_all(), ids=lambda case: case.name)
@pytest.mark.parametrize("language", selected(), ids=lambda language: language.name)
def test_program_reports_the_expected_record(
    case: IdiomCase,
    language: Language,
    start_service: Callable[..., ServiceProcess],
    short_tmp_path: Path,
) -> None:
    if language.problem:
        pytest.skip(language.problem)
    if not case.program(language).is_file():
        pytest.skip(f"{case.name} is not written in {language.title} yet")
    build(language)
    with unless_known("idiom", language.name, case.name):
        run_case(case, language, start_service, short_tmp_path)


@pytest.mark.parametrize("reader", selected(), ids=lambda language: f"read by {language.name}")
@pytest.mark.parametrize("writer", selected(), ids=lambda language: f"written by {language.name}")
def test_results_are_read_by_clients_in_all_languages(
    writer: Language,
    reader: Language,
    start_service: Callable[..., ServiceProcess],
    short_tmp_path: Path,
) -> None:
    for language, case in ((writer, "write_result"), (reader, "read_result")):
        if language.problem:
            pytest.skip(language.problem)
        if not (FOLDER / case / language.program).is_file():
            pytest.skip(f"{case} is not written in {language.title} yet")
        build(language)
    read_result(writer, reader, start_service, short_tmp_path)
