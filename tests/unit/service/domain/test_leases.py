"""Lease rules: what counts as silence, and which delays are the service's own."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowspan_service.domain.leases import MAX_STALLS, LeaseWatch, StoredSign

S = 1_000_000
DEFAULT_LEASE_S = 30.0


class Observer:
    """A service process that checks sessions on schedule unless it stalls."""

    def __init__(self, *, default_lease_s: float = DEFAULT_LEASE_S) -> None:
        self.watch = LeaseWatch(lease_us=round(default_lease_s * S))
        self.now_us = 77 * S
        self.rows: dict[str, StoredSign] = {}
        self.frames: dict[str, int] = {}
        self.lost: dict[str, int] = {}

    def open(self, name: str = "s", *, lease_s: float = 30, silence_s: float | None = None) -> None:
        """Store a sign of life, with the terms that apply from then on."""
        old = self.rows.get(name)
        silence_us = round((lease_s if silence_s is None else silence_s) * S)
        renewals = old.renewals + 1 if old else 1
        self.rows[name] = StoredSign(name, renewals, round(lease_s * S), silence_us)

    def look(self) -> None:
        look = self.watch.judge(
            self.rows.values(), lambda name: self.frames.get(name, 0), at_us=self.now_us
        )
        self.watch.remember(look)
        for name in look.silent:
            self.lost[name] = self.now_us
            del self.rows[name]

    def watches_for(self, seconds: float) -> None:
        end_us = self.now_us + round(seconds * S)
        while self.now_us < end_us:
            self.now_us = min(end_us, self.now_us + self.watch.interval_us)
            self.look()

    def stalls_for(self, seconds: float) -> None:
        self.now_us += round(seconds * S)
        self.look()

    def silent_for_until_lost(self) -> float:
        began_us = self.now_us
        while not self.lost:
            self.watches_for(self.watch.interval_us / S)
        return (self.now_us - began_us) / S


@pytest.fixture
def observer() -> Observer:
    observer = Observer()
    observer.look()
    return observer


@pytest.mark.parametrize("lease_s", [1.0, 1.5, 3.0, 30.0, 3600.0])
def test_silent_session_is_lost_when_its_lease_is_over(observer: Observer, lease_s: float) -> None:
    observer.open(lease_s=lease_s)
    observer.look()
    assert lease_s <= observer.silent_for_until_lost() <= lease_s + 1


@pytest.mark.parametrize("lease_s", [1.0, 3.0, 30.0, 3600.0])
def test_each_stored_sign_begins_the_lease_anew(observer: Observer, lease_s: float) -> None:
    for _ in range(5):
        observer.open(lease_s=lease_s)
        observer.watches_for(lease_s * 0.9)
    assert not observer.lost


def test_frames_that_are_not_stored_count_as_well(observer: Observer) -> None:
    observer.open()
    for frame in range(1, 20):
        observer.frames["s"] = frame
        observer.watches_for(29)
    assert observer.silent_for_until_lost() <= 2


def test_grace_counts_from_the_end_of_the_connection(observer: Observer) -> None:
    observer.open()
    observer.frames["s"] = 5
    observer.watches_for(20)
    del observer.frames["s"]
    observer.open(silence_s=10)
    observer.look()
    assert 10 <= observer.silent_for_until_lost() <= 11


@pytest.mark.parametrize("silence_s", [0.000001, 0.05, 0.5])
def test_grace_may_be_short(observer: Observer, silence_s: float) -> None:
    observer.open(silence_s=silence_s)
    observer.look()
    assert observer.silent_for_until_lost() <= 1


def test_signs_that_an_older_version_stores_count(observer: Observer) -> None:
    for expires_us in range(5):
        observer.rows["s"] = StoredSign("s", 0, 30 * S, 0, expires_us)
        observer.watches_for(29)
    assert observer.silent_for_until_lost() <= 2


def test_row_of_an_older_version_has_its_lease(observer: Observer) -> None:
    observer.rows["s"] = StoredSign("s", 0, 30 * S, 0)
    observer.look()
    assert 30 <= observer.silent_for_until_lost() <= 31


@pytest.mark.parametrize("lease_s", [1.0, 30.0, 3600.0])
def test_whoever_is_there_at_the_start_has_a_full_lease(lease_s: float) -> None:
    observer = Observer()
    observer.open(lease_s=lease_s, silence_s=min(10, lease_s))
    observer.look()
    expected_s = max(lease_s, DEFAULT_LEASE_S)
    assert expected_s <= observer.silent_for_until_lost() <= expected_s + 1


@pytest.mark.parametrize("stall_s", [4.6, 60.0, 86_400.0])
@pytest.mark.parametrize("before_s", [0.0, 1.0, 2.2])
@pytest.mark.parametrize("lease_s", [1.0, 3.0, 30.0])
def test_no_stall_makes_a_session_lost(
    observer: Observer, lease_s: float, before_s: float, stall_s: float
) -> None:
    observer.open(lease_s=lease_s)
    observer.look()
    observer.watches_for(before_s * lease_s / 3)
    observer.stalls_for(stall_s)
    assert not observer.lost
    if stall_s > lease_s / 3:
        # A sign that arrived during the stall gets some time to be stored.
        observer.watches_for(lease_s * 0.24)
        assert not observer.lost


def test_long_stall_begins_the_lease_anew(observer: Observer) -> None:
    observer.open(silence_s=10)
    observer.watches_for(9)
    observer.stalls_for(20)
    assert 30 <= observer.silent_for_until_lost() <= 31


def test_short_stall_leaves_a_part_of_the_lease(observer: Observer) -> None:
    observer.open(lease_s=3)
    observer.look()
    observer.watches_for(2.9)
    observer.stalls_for(1.4)
    observer.watches_for(0.5)
    assert not observer.lost
    assert observer.silent_for_until_lost() <= 1


def test_late_look_takes_no_life(observer: Observer) -> None:
    observer.open()
    observer.look()
    observer.watches_for(29)
    observer.stalls_for(1.8)
    assert not observer.lost
    assert observer.silent_for_until_lost() <= 1


@pytest.mark.parametrize("lease_s", [1.0, 3.0, 30.0])
@pytest.mark.parametrize("late", [0.4, 0.9, 3.0])
def test_service_that_is_always_late_finds_its_dead(
    observer: Observer, lease_s: float, late: float
) -> None:
    observer.open(lease_s=lease_s)
    observer.look()
    for _ in range(3 * MAX_STALLS):
        observer.stalls_for(lease_s * late)
    assert observer.lost


def test_the_most_silent_come_first(observer: Observer) -> None:
    for name, lease_s in (("a", 5), ("b", 2), ("c", 4)):
        observer.open(name, lease_s=lease_s)
    observer.look()
    for _ in range(12):
        observer.now_us += S // 2
        look = observer.watch.judge(observer.rows.values(), lambda _: 0, at_us=observer.now_us)
        observer.watch.remember(look)
    assert look.silent == ["b", "c", "a"]


def test_look_that_was_not_committed_is_forgotten(observer: Observer) -> None:
    observer.open(lease_s=3)
    observer.look()
    observer.watches_for(1.5)
    for _ in range(7):
        observer.now_us += S // 10
        look = observer.watch.judge(observer.rows.values(), lambda _: 0, at_us=observer.now_us)
    assert look.watched["s"].silent_us == 2.2 * S
    observer.watches_for(0.1)
    assert not observer.lost


@settings(deadline=None)  # Speed does not matter here.
@given(
    lease_s=st.sampled_from([1.0, 3.0, 30.0, 300.0]),
    stalls=st.lists(st.floats(0, 2), min_size=1, max_size=MAX_STALLS),
    gaps=st.lists(st.floats(0.25, 0.34), min_size=MAX_STALLS, max_size=MAX_STALLS),
)
def test_living_sessions_survive_any_stalls(
    lease_s: float, stalls: list[float], gaps: list[float]
) -> None:
    """A session renews its lease after each third of it, as soon as the service is awake."""
    observer = Observer(default_lease_s=lease_s)
    observer.look()
    observer.open(lease_s=lease_s)
    observer.look()
    for stall, gap in zip(stalls, gaps, strict=False):
        observer.watches_for(gap * lease_s)
        observer.stalls_for(stall * lease_s)  # The check comes before the pending sign of life.
        observer.watches_for(0.1)
        observer.open(lease_s=lease_s)
    assert not observer.lost


def test_cadence_follows_the_shortest_limit(observer: Observer) -> None:
    assert observer.watch.interval_us == S
    intervals = []
    for lease_s in (30, 3, 1):
        observer.open(str(lease_s), lease_s=lease_s)
        observer.look()
        intervals.append(observer.watch.interval_us)
    assert all(longer >= shorter for longer, shorter in pairwise(intervals))
    assert intervals == [S, 750_000, 250_000]


def test_stalls_that_do_not_matter_are_not_counted(observer: Observer) -> None:
    """An hour-long lease lives through many short stalls, then through a relevant one."""
    observer.open(lease_s=3600)
    observer.look()
    for _ in range(3 * MAX_STALLS):
        observer.stalls_for(5)
    observer.watches_for(3400)
    observer.stalls_for(1500)
    assert not observer.lost
    observer.watches_for(800)
    assert not observer.lost
