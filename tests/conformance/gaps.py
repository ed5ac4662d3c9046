"""The known gaps: cases that a client does not pass yet, with reasons."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = Path(__file__).parent / "gaps.yaml"


def known_gaps(tier: str) -> dict[tuple[str, str], str]:
    """Return the reasons of the gaps of a tier, by language and case."""
    data = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return {
        (language, case): " ".join(reason.split())
        for language, cases in (data[tier] or {}).items()
        for case, reason in cases.items()
    }


@contextmanager
def unless_known(tier: str, language: str, case: str) -> Iterator[None]:
    """Let a case fail that is a known gap, and only that.

    Raises:
        AssertionError: A known gap has passed.
    """
    reason = known_gaps(tier).get((language, case))
    if reason is None:
        yield
        return
    try:
        yield
    except AssertionError:
        pytest.xfail(reason)
    msg = f"{case} passes in {language}: remove it from {FILE.name} ({reason})"
    raise AssertionError(msg)
