"""The setting for previews of task arguments."""

from __future__ import annotations

import pytest

from flowspan.config import load
from flowspan.exceptions import ConfigError

VARIABLE = "FLOWSPAN_TASK_PARAMETERS_PREVIEW"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("", 2048),
        ("true", 2048),
        ("1", 2048),
        ("false", 0),
        ("0", 0),
        ("64", 64),
        ("300", 300),
        ("65536", 65536),
    ],
)
def test_sizes_and_words(text: str, size: int) -> None:
    assert load({"HOME": "/nowhere", VARIABLE: text}).task_parameters_preview == size


@pytest.mark.parametrize("text", ["63", "65537", "-5", "2 KiB", "all", "9" * 30])
def test_other_values_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=f"{VARIABLE}='{text}': expected true, false or 64 to"):
        load({"HOME": "/nowhere", VARIABLE: text})
