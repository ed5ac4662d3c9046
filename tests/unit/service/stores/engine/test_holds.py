"""The size limit of a group follows the duration of previous groups."""

from __future__ import annotations

import pytest

from flowspan_service.stores.engine import holds
from flowspan_service.stores.engine.holds import (
    MAX_GROUP_WEIGHT,
    MIN_GROUP_WEIGHT,
    TARGET_S,
    GroupLimit,
    Holds,
)


def learnt(*groups: tuple[int, float]) -> int:
    limit = GroupLimit()
    for weight, taken_s in groups:
        limit.learn(weight, taken_s)
    return limit.weight


def test_dear_rows_make_groups_smaller_and_cheap_ones_larger() -> None:
    same = (2_000, TARGET_S)
    assert learnt(same) == 2_000
    assert learnt(*[(2_000, TARGET_S * 2)] * 20) == pytest.approx(1_000, rel=0.01)
    assert learnt(*[(2_000, TARGET_S / 4)] * 200) == pytest.approx(8_000, rel=0.01)
    assert learnt(same, (2_000, TARGET_S * 3)) == 1_000, "an expensive group must count at once"
    assert learnt(same, (2_000, TARGET_S / 3)) < 2_500, "a cheap group may be an outlier"


def test_the_limit_stays_within_bounds() -> None:
    assert learnt(*[(1_000, 60.0)] * 20) == MIN_GROUP_WEIGHT
    assert learnt(*[(1_000, 1e-9)] * 200) == MAX_GROUP_WEIGHT
    assert learnt(*[(1, 60.0)] * 20) == holds.FIRST_GROUP_WEIGHT, (
        "a group of one row says nothing about the cost per row"
    )


def test_the_longest_is_kept_and_the_recent_one_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1_000_000.0
    monkeypatch.setattr(holds.time, "monotonic", lambda: now_s)
    noted = Holds()
    assert noted.times().longest_s == noted.times().recent_longest_s == 0
    noted.note(0.5)
    noted.note(0.2)
    assert (noted.times().longest_s, noted.times().recent_longest_s) == (0.5, 0.5)
    now_s += 31
    noted.note(0.1)
    assert noted.times().recent_longest_s == 0.5
    now_s += 31
    assert (noted.times().longest_s, noted.times().recent_longest_s) == (0.5, 0.1)
    now_s += 61
    assert (noted.times().longest_s, noted.times().recent_longest_s) == (0.5, 0.0)
