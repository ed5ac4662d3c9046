"""The pytest plugin: fixtures with a harness for a test, or for all tests of a process.

It is loaded in every run of pytest where flowspan is installed, and so imports nothing of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowspan.testing.harness import Harness


@pytest.fixture
def flowspan_harness() -> Iterator[Harness]:
    """A flowspan service, home and settings for this test alone."""
    from flowspan.testing.harness import flowspan_test_harness  # noqa: PLC0415 - see the module

    with flowspan_test_harness() as harness:
        yield harness


@pytest.fixture(scope="session")
def flowspan_session_harness() -> Iterator[Harness]:
    """A flowspan service, home and settings for all tests of this process (of an xdist worker)."""
    from flowspan.testing.harness import flowspan_test_harness  # noqa: PLC0415 - see the module

    with flowspan_test_harness() as harness:
        yield harness
