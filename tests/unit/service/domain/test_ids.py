"""The ids that the service chooses."""

from __future__ import annotations

import random
import uuid

from flowspan_service.domain.ids import IdSource


class Clock:
    us = 1_790_000_000_123_456

    def __call__(self) -> int:
        return self.us


def test_ids_are_uuids_of_version_7_with_the_time() -> None:
    clock = Clock()
    made = uuid.UUID(IdSource(clock, random.Random(7).getrandbits)())
    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert made.int >> 80 == clock.us // 1000


def test_ids_increase_also_if_the_clock_goes_back() -> None:
    clock = Clock()
    new_id = IdSource(clock, random.Random(7).getrandbits)
    ids = []
    for step in range(2000):
        clock.us += 700 if step % 3 else -5000
        ids.append(new_id())
    assert ids == sorted(set(ids))
    assert all(uuid.UUID(each).version == 7 for each in ids)


def test_the_random_part_counts_up_into_the_time_at_last() -> None:
    clock = Clock()
    new_id = IdSource(clock, lambda bits: (1 << bits) - 1)
    first, second = new_id(), new_id()
    assert first < second
    assert {uuid.UUID(each).version for each in (first, second)} == {7}


def test_times_before_1970_count_as_1970() -> None:
    clock = Clock()
    clock.us = -5
    made = uuid.UUID(IdSource(clock, lambda _: 1)())
    assert (made.int >> 80, made.version) == (0, 7)
