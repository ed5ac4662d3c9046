from __future__ import annotations

from pathlib import Path

import pytest
from mypy import api

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_type_checkers_see_the_wrapped_signature(tmp_path: Path) -> None:
    here = Path(__file__)
    checked = [str(path) for path in here.parent.glob("*.py") if path != here]
    out, errors, code = api.run(
        [
            "--strict",
            f"--config-file={ROOT / 'pyproject.toml'}",
            f"--cache-dir={tmp_path}",
            *checked,
        ]
    )
    assert code == 0, out + errors
