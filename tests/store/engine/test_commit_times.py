"""Commit times of a history never decrease, whatever the clock does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.store.builders import START_US, FakeClock, a_run, add_runs, move

from flowspan_service.domain.states import StateType

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan_service.stores.store import SqlStore

HOUR_US = 3_600_000_000


def commits(store: SqlStore, run_id: str) -> list[int]:
    return [each.commit_us - START_US for each in store.transitions.of_run(run_id)]


@pytest.mark.parametrize("restarted", [True, False])
def test_clock_that_steps_back(
    store_url: str, open_url: Callable[..., SqlStore], *, restarted: bool
) -> None:
    clock = FakeClock()
    store = open_url(store_url, clock=clock)
    late, early = a_run(), a_run()
    add_runs(store, [early])
    clock.time_us += HOUR_US
    add_runs(store, [late])
    clock.time_us = START_US + 5
    if restarted:
        store.close()
        store = open_url(store_url, clock=clock)
    for state in (StateType.RUNNING, StateType.COMPLETED):
        for run in (late, early):
            move(store, run.id, state)
    new = a_run()
    add_runs(store, [new])
    assert commits(store, late.id) == [HOUR_US] * 3
    assert commits(store, early.id) == [0, 5, 5]
    assert commits(store, new.id) == [5]
    clock.time_us += 2 * HOUR_US
    last = a_run()
    add_runs(store, [last])
    assert commits(store, last.id) == [2 * HOUR_US + 5]


def test_two_services_with_different_clocks(
    store_url: str, open_url: Callable[..., SqlStore]
) -> None:
    ahead, behind = FakeClock(), FakeClock()
    ahead.time_us += 25_000_000
    one, two = open_url(store_url, clock=ahead), open_url(store_url, clock=behind)
    runs = [a_run() for _ in range(600)]
    add_runs(one, runs)
    for run in runs[::100]:
        move(two, run.id, StateType.RUNNING)
        move(one, run.id, StateType.PAUSED)
        move(two, run.id, StateType.COMPLETED)
        assert commits(two, run.id) == [25_000_000] * 4
    own = a_run()
    add_runs(two, [own])
    assert commits(one, own.id) == [0]
