"""The waits of a run by reason."""

from __future__ import annotations

import pytest

from flowspan.telemetry.waiting import shown_waits

MS = 1_000_000


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([], []),
        ([("input", 100)], [("input", 100, 200)]),
        ([("input", 100), ("thread", 150)], [("input", 100, 150), ("thread", 150, 200)]),
        ([("input", 100), ("thread", 195)], [("input", 100, 195)]),
        ([("input", 100), ("thread", 105)], [("thread", 105, 200)]),
        ([("lock", 120)], [("lock", 120, 200)]),
        # The same reason twice is one wait.
        ([("process", 100), ("process", 150)], [("process", 100, 200)]),
        (
            [("process", 100), ("", 150), ("process", 155)],
            [("process", 100, 150), ("process", 155, 200)],
        ),
        # Times outside of the wait: the reason holds from its begin, or does not matter.
        ([("input", 20), ("thread", 150)], [("input", 100, 150), ("thread", 150, 200)]),
        ([("input", 20), ("thread", 250)], [("input", 100, 200)]),
        ([("input", 150), ("thread", 120)], [("thread", 150, 200)]),
    ],
)
def test_the_waits(changes: list[tuple[str, int]], expected: list[tuple[str, int, int]]) -> None:
    found = shown_waits(100 * MS, 200 * MS, [(reason, at * MS) for reason, at in changes])
    assert [(reason, begin // MS, end // MS) for reason, begin, end in found] == expected


def test_a_clock_that_stands_still() -> None:
    assert list(shown_waits(5, 5, [("input", 5), ("thread", 5)])) == []
