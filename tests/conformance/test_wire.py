"""The wire tier: each client against a scripted service that misbehaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.conformance.gaps import unless_known
from tests.conformance.languages import Language, build, selected
from tests.conformance.wire.case import WireCase, load_all
from tests.conformance.wire.runner import run_case

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("case", load_all(), ids=lambda case: case.name)
@pytest.mark.parametrize("language", selected(), ids=lambda language: language.name)
def test_client_keeps_the_protocol(
    case: WireCase, language: Language, short_tmp_path: Path
) -> None:
    if language.problem:
        pytest.skip(language.problem)
    build(language)
    with unless_known("wire", language.name, case.name):
        run_case(case, language, short_tmp_path)
