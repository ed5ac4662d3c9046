"""The clocks of runs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowspan_service.domain.clocks import (
    SAME_CLOCK_US,
    effective_offset,
    offset_at_receipt,
    on_run_clock,
    shift_after_handover,
)
from flowspan_service.domain.states import LAST_US

HOUR_US = 3_600_000_000
OFFSETS = st.integers(-10 * HOUR_US, 10 * HOUR_US)
TIMES = st.integers(1_700_000_000_000_000, 1_900_000_000_000_000)


def test_the_offset_is_the_services_clock_minus_the_clients() -> None:
    assert offset_at_receipt(client_us=5, service_us=HOUR_US + 5) == HOUR_US


@pytest.mark.parametrize(
    ("offset_us", "effective_us"),
    [
        (None, 0),
        (0, 0),
        (SAME_CLOCK_US - 1, 0),
        (1 - SAME_CLOCK_US, 0),
        (SAME_CLOCK_US, SAME_CLOCK_US),
        (-HOUR_US, -HOUR_US),
    ],
)
def test_small_offsets_are_delays(offset_us: int | None, effective_us: int) -> None:
    assert effective_offset(offset_us) == effective_us


@given(now_us=TIMES, offset_us=OFFSETS)
def test_the_services_time_on_the_clock_of_a_run(now_us: int, offset_us: int) -> None:
    """An instant is the same time, whichever clock it was read from."""
    client_us = now_us - offset_us
    assert on_run_clock(now_us, shift_us=0, offset_us=offset_us) == client_us
    assert on_run_clock(client_us, shift_us=offset_us) == now_us, "a run on the service's clock"


@given(now_us=TIMES, offsets_us=st.lists(OFFSETS, min_size=1, max_size=5))
def test_a_run_keeps_its_clock_whoever_reports_it(now_us: int, offsets_us: list[int]) -> None:
    created_by = offsets_us[0]
    shift_us, before_us = 0, created_by
    for after_us in offsets_us:
        shift_us = shift_after_handover(shift_us, before_us=before_us, after_us=after_us)
        before_us = after_us
        reported = on_run_clock(now_us - after_us, shift_us=shift_us)
        by_service = on_run_clock(now_us, shift_us=shift_us, offset_us=after_us)
        assert reported == by_service == now_us - created_by


def test_times_stay_between_1970_and_9999() -> None:
    assert on_run_clock(5, shift_us=-10) == 0
    assert on_run_clock(LAST_US, shift_us=10) == LAST_US
