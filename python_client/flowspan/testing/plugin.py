"""Pytest plugin with harness fixtures, per test or per process.

Pytest loads it in every run if flowspan is installed, so it imports flowspan lazily.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowspan.testing.harness import Harness


@pytest.fixture
def flowspan_harness() -> Iterator[Harness]:
    """Provide a flowspan service, a home and settings for one test."""
    from flowspan.testing.harness import flowspan_test_harness  # noqa: PLC0415 - lazy, as above

    with flowspan_test_harness() as harness:
        yield harness


@pytest.fixture(scope="session")
def flowspan_session_harness() -> Iterator[Harness]:
    """Provide one flowspan service, home and settings for all tests of a process."""
    from flowspan.testing.harness import flowspan_test_harness  # noqa: PLC0415 - lazy, as above

    with flowspan_test_harness() as harness:
        yield harness
