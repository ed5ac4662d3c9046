"""The addresses on which the service listens."""

from __future__ import annotations

import pytest

from flowspan_service.config import load
from flowspan_service.transports.listening import is_private

EVERYWHERE = "::"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), True),
        (("--no-tcp",), True),
        (("--host", "localhost"), True),
        (("--host", "::1"), True),
        (("--host", EVERYWHERE), False),
        (("--host", "flows.example.com"), False),
        (("--host", EVERYWHERE, "--no-tcp"), True),
        (("--host", EVERYWHERE, "--no-tcp", "--http-port", "4680"), False),
    ],
)
def test_who_can_reach_the_service(arguments: tuple[str, ...], expected: bool) -> None:
    assert is_private(load(["--home", "/h", *arguments], {})) is expected
