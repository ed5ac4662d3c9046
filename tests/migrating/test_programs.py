"""Prefect programs with only their imports changed behave on flowspan as they declare."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.migrating.run import difference, expected, name_of, programs, run

from flowspan.migrating.programs import migrated

if TYPE_CHECKING:
    from pathlib import Path

    from flowspan.testing import Harness


@pytest.mark.parametrize("program", programs(), ids=name_of)
def test_a_program_does_what_it_says(
    program: Path, flowspan_harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWSPAN_RESULTS_URL", str(tmp_path / "results"))
    text = program.read_text(encoding="utf-8")
    path = tmp_path / program.name
    path.write_text(migrated(text), encoding="utf-8")
    assert not difference(text, "flowspan", run(path, name_of(program)))


@pytest.mark.parametrize("text", ["print(1)\n", "# prefect prints: 1\n# flowspan prints: 2\n"])
def test_a_program_that_says_too_little_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="program"):
        expected(text, "flowspan")


def test_another_line_is_a_difference() -> None:
    text = "# prints: 1\n# prefect prints: 2\n# flowspan prints: 3\n# because: of us\n"
    assert not difference(text, "prefect", ["1", "2"])
    assert not difference(text, "flowspan", ["1", "3"])
    assert difference(text, "flowspan", ["1", "2"])
