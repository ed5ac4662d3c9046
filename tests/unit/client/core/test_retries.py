from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowspan.core.retries import RetryPolicy, exponential_backoff

seconds = st.floats(0, 1e6, allow_nan=False)


@given(st.integers(0, 60), st.lists(seconds, min_size=1, max_size=50), st.integers(1, 100))
def test_the_last_delay_of_a_list_is_repeated(
    retries: int, delays: list[float], attempt: int
) -> None:
    policy = RetryPolicy(retries, delays)
    assert policy.delay_s(attempt, random.uniform) == delays[min(attempt, len(delays)) - 1]
    assert policy.may_retry(attempt) == (attempt <= retries)


@given(seconds, st.floats(0, 10), st.integers(0, 2**32))
def test_jitter_only_adds_and_at_most_its_factor(base: float, factor: float, seed: int) -> None:
    delay = RetryPolicy(1, base, factor).delay_s(1, random.Random(seed).uniform)
    assert base <= delay <= base * (1 + factor) * (1 + 1e-9)


def test_without_jitter_no_randomness_is_asked_for() -> None:
    def never(low: float, high: float) -> float:
        raise AssertionError

    assert RetryPolicy(1, 2).delay_s(1, never) == 2
    assert RetryPolicy(1, 0, 0.5).delay_s(1, never) == 0


def test_exponential_backoff_doubles() -> None:
    policy = RetryPolicy(4, exponential_backoff(10))
    assert [policy.delay_s(n, random.uniform) for n in (1, 2, 3, 4)] == [10, 20, 40, 80]


def test_exponential_backoff_of_many_retries_repeats_its_last() -> None:
    assert len(exponential_backoff(1)(200)) == 50
    RetryPolicy(200, exponential_backoff(1e-9))


def test_no_delays_are_no_delay() -> None:
    assert RetryPolicy(3, []).delay_s(1, random.uniform) == 0


@pytest.mark.parametrize(
    ("arguments", "error", "word"),
    [
        ({"retries": -1}, ValueError, "retries"),
        ({"retries": True}, TypeError, "retries"),
        ({"retries": 1.5}, TypeError, "retries"),
        ({"retries": 1, "delay": -1}, ValueError, "retry_delay_seconds"),
        ({"retries": 1, "delay": float("nan")}, ValueError, "retry_delay_seconds"),
        ({"retries": 1, "delay": float("inf")}, ValueError, "retry_delay_seconds"),
        ({"retries": 1, "delay": "5"}, TypeError, "retry_delay_seconds"),
        ({"retries": 1, "delay": [1, "2"]}, TypeError, "retry_delay_seconds"),
        ({"retries": 1, "delay": [1] * 51}, ValueError, "at most 50"),
        ({"retries": 1, "delay": lambda retries: "soon"}, TypeError, "retry_delay_seconds"),
        ({"retries": 1, "jitter_factor": -0.1}, ValueError, "retry_jitter_factor"),
        ({"retries": 1, "condition": 5}, TypeError, "retry_condition_fn"),
    ],
)
def test_bad_options_are_named(
    arguments: dict[str, object], error: type[Exception], word: str
) -> None:
    with pytest.raises(error, match=word):
        RetryPolicy(**arguments)


def test_a_backoff_factor_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="backoff_factor"):
        exponential_backoff(-1)
