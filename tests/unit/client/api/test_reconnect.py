from __future__ import annotations

import pytest

from flowspan.api.reconnect import Reconnect
from flowspan.exceptions import ApiError, ServiceUnavailableError

GONE = ServiceUnavailableError("gone")


def test_a_stream_that_never_worked_is_not_tried_again():
    assert Reconnect(60, jitter=lambda: 0.5).failed(GONE, now_s=0) is None


def test_a_refusal_is_final():
    reconnect = Reconnect(60, jitter=lambda: 0.5)
    reconnect.succeeded()
    assert reconnect.failed(ApiError("no", status="NOT_FOUND"), now_s=0) is None


def test_pauses_grow_up_to_a_bound():
    reconnect = Reconnect(1e9, jitter=lambda: 0.5)
    reconnect.succeeded()
    pauses = [reconnect.failed(GONE, now_s=i) for i in range(9)]
    assert pauses == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2, 2, 2])


def test_a_message_makes_it_patient_again():
    reconnect = Reconnect(10, jitter=lambda: 0.5)
    reconnect.succeeded()
    assert reconnect.failed(GONE, now_s=0) is not None
    assert reconnect.failed(GONE, now_s=9) is not None
    reconnect.succeeded()
    assert reconnect.failed(GONE, now_s=19) == pytest.approx(0.05)
    assert reconnect.failed(GONE, now_s=30) is None


def test_jitter_spreads_the_pauses():
    for drawn, expected in ((0.0, 0.025), (1.0, 0.075)):
        reconnect = Reconnect(60, jitter=lambda drawn=drawn: drawn)
        reconnect.succeeded()
        assert reconnect.failed(GONE, now_s=0) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("asked_s", "expected_s"), [(None, 0.05), (0.0, 0.05), (0.01, 0.05), (1.0, 1.125), (9e9, 11.25)]
)
def test_the_service_is_given_the_time_that_it_asks_for(asked_s, expected_s):
    busy = ApiError("busy", status="UNAVAILABLE", retryable=True, retry_after_s=asked_s)
    reconnect = Reconnect(60, jitter=lambda: 0.5)
    reconnect.succeeded()
    assert reconnect.failed(busy, now_s=0) == pytest.approx(expected_s)
    assert reconnect.failed(GONE, now_s=0) == pytest.approx(0.1)
