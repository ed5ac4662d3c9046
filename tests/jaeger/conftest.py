"""A Jaeger for the tests of this folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.jaeger import Jaeger, find_jaeger

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def jaeger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jaeger]:
    """Yield a Jaeger with storage in memory; found, or built with Go."""
    program = find_jaeger()
    if program is None:
        pytest.skip("there is neither a Jaeger here nor a Go to build one")
    process = Jaeger(program, tmp_path_factory.mktemp("jaeger"))
    process.start()
    yield process
    process.end()
