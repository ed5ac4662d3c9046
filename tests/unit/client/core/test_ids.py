from __future__ import annotations

import random
import threading
from contextlib import nullcontext
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowspan.core.ids import IdMaker

START_NS = 1_700_000_000_123_456_789


class Clock:
    def __init__(self, *times: int) -> None:
        self.times = list(times)

    def __call__(self) -> int:
        return self.times.pop(0) if len(self.times) > 1 else self.times[0]


def test_an_id_is_a_uuid_of_version_7_with_the_time() -> None:
    made = IdMaker(lambda: START_NS, random.Random(1).getrandbits, nullcontext())()
    uuid = UUID(made)
    assert str(uuid) == made
    assert uuid.version == 7
    assert uuid.variant == "specified in RFC 4122"
    assert uuid.int >> 80 == START_NS // 1_000_000


@given(st.lists(st.integers(-3_000_000, 3_000_000), max_size=60), st.integers(0, 2**32))
def test_ids_grow_even_when_the_clock_goes_back(steps: list[int], seed: int) -> None:
    now = START_NS

    def clock() -> int:
        return now

    make = IdMaker(clock, random.Random(seed).getrandbits, nullcontext())
    made = [make()]
    for step in steps:
        now += step
        made.append(make())
    assert made == sorted(set(made))


def test_all_random_bits_set_is_still_a_uuid() -> None:
    make = IdMaker(lambda: START_NS, lambda bits: (1 << bits) - 1, nullcontext())
    for _ in range(3):
        assert UUID(make()).version == 7


def test_threads_never_get_the_same() -> None:
    make = IdMaker(Clock(START_NS), random.Random(2).getrandbits, threading.Lock())
    made: list[list[str]] = [[] for _ in range(4)]

    def work(mine: list[str]) -> None:
        mine.extend(make() for _ in range(5_000))

    threads = [threading.Thread(target=work, args=(mine,)) for mine in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    everything = [made_id for mine in made for made_id in mine]
    assert len(set(everything)) == 20_000
    assert all(mine == sorted(mine) for mine in made)


def test_makers_with_other_randomness_make_other_ids() -> None:
    one, two = (
        IdMaker(lambda: START_NS, random.Random(s).getrandbits, nullcontext()) for s in "ab"
    )
    assert not {one() for _ in range(100)} & {two() for _ in range(100)}


@pytest.mark.parametrize("now_ns", [0, 1, 999_999, -1, -(10**6), -(2**62)])
def test_a_clock_at_the_beginning_of_time_or_before_makes_ids(now_ns: int) -> None:
    make = IdMaker(lambda: now_ns, random.Random(1).getrandbits, nullcontext())
    made = [make() for _ in range(3)]
    assert [str(UUID(each)) for each in made] == made
    assert {UUID(each).version for each in made} == {7}
    assert {UUID(each).int >> 80 for each in made} == {0}
    assert made == sorted(set(made))
