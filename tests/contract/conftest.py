"""What the contract tests get: the real gRPC server over a real SQLite store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.harness import Harness, Stubs
from tests.support.history import check_all_histories, watch_from_here

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Harness]:
    """A server; at the end of the test, the history of every run in it is checked."""
    harness = Harness(tmp_path)
    try:
        token = watch_from_here(harness.channel)
        yield harness
        if harness.is_running:
            check_all_histories(harness.channel, token=token)
    finally:
        harness.close()


@pytest.fixture
def stubs(harness: Harness) -> Stubs:
    """The stubs of all services."""
    return Stubs(harness.channel)
