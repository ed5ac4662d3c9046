"""Numeric options of every type and size."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest

from flowspan import flow, task
from flowspan.core.events import STATE
from flowspan.core.number_options import LONGEST_WAIT_S
from flowspan.core.result_options import ResultOptions
from flowspan.core.retries import RetryPolicy, exponential_backoff
from flowspan.core.states import SCHEDULED
from flowspan.drivers.process import get_process
from flowspan.exceptions import CancelRun
from flowspan.futures import as_completed, wait
from flowspan.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.recorder import Recorder

INF, NAN = float("inf"), float("nan")
WAIT_S = 30.0
ENDLESS: list[Any] = [INF, 1e10, 1e300, 10**400, 99_999_999, Decimal("Infinity"), Fraction(10**30)]
"""Timeouts that never pass in a test; some of them exceed the range of every clock."""


class Scalar:
    """Mimics a numpy scalar: a number that is neither an int nor a float."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value


def plain() -> int:
    return 5


async def later() -> int:
    return 5


def values() -> Any:
    yield 5


async def later_values() -> Any:
    yield 5


def ended(value: Any) -> Any:
    async def gone_through() -> Any:
        found = [each async for each in value]
        return found[0]

    if hasattr(value, "__aiter__"):
        return asyncio.run(gone_through())
    if hasattr(value, "__await__"):
        return asyncio.run(value)
    return next(iter(list(value))) if hasattr(value, "__next__") else value


def in_thread(function: Callable[[], Any]) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join(WAIT_S)
    return found[0]


@pytest.mark.parametrize("seconds", ENDLESS, ids=range(len(ENDLESS)))
@pytest.mark.parametrize("function", [plain, later, values, later_values])
def test_a_timeout_that_never_passes(recorder: Recorder, function: Any, seconds: Any) -> None:
    for decorator in (flow, task):
        it: Any = decorator(name="it", timeout_seconds=seconds)(function)
        assert ended(it()) == 5
        assert in_thread(lambda it=it: ended(it())) == 5
        if decorator is task:
            submitted = flow(name="outer")(lambda it=it: it.submit().result())
            assert submitted() == ([5] if "values" in function.__name__ else 5)


@pytest.mark.parametrize("seconds", ENDLESS, ids=range(len(ENDLESS)))
def test_waiting_for_futures_so_long(recorder: Recorder, seconds: Any) -> None:
    five = task(plain)

    @flow
    def waits() -> None:
        assert five.submit().result(timeout=seconds) == 5
        five.submit().wait(timeout=seconds)
        assert len(wait([five.submit()], timeout=seconds).done) == 1
        assert len(list(as_completed([five.submit()], timeout=seconds))) == 1

    @flow
    async def awaits() -> None:
        found = [each async for each in as_completed([five.submit()], timeout=seconds)]
        assert len(found) == 1

    waits()
    asyncio.run(awaits())


@pytest.mark.parametrize("seconds", [Decimal("2.5"), Fraction(5, 2), 2.5], ids=repr)
def test_numbers_of_other_types(seconds: Any) -> None:
    made = task(
        name="it",
        timeout_seconds=seconds,
        retries=Scalar(2),
        retry_delay_seconds=[seconds, 1],
        retry_jitter_factor=seconds,
    )(plain)
    assert (made.timeout_s, made.retry.retries) == (2.5, 2)
    assert (made.retry.delays_s, made.retry.jitter_factor) == ((2.5, 1.0), 2.5)
    assert exponential_backoff(seconds)(3) == [2.5, 5.0, 10.0]
    for runner in (ThreadPoolTaskRunner, ProcessPoolTaskRunner):
        assert runner(max_workers=Scalar(3)).max_workers == 3  # type: ignore[arg-type] # works, too


def test_numbers_of_numpy() -> None:
    numpy = pytest.importorskip("numpy")
    for kind in (numpy.int64, numpy.float32, numpy.float64):
        made = task(timeout_seconds=kind(2), retries=1, retry_delay_seconds=kind(3))(plain)
        assert (made.timeout_s, made.retry.delays_s) == (2.0, (3.0,))
    made = task(retries=numpy.int64(2), retry_delay_seconds=numpy.array([1, 2]))(plain)
    assert (made.retry.retries, made.retry.delays_s) == (2, (1.0, 2.0))
    assert ThreadPoolTaskRunner(numpy.int64(3)).max_workers == 3


REFUSED: list[tuple[str, Any, type[Exception]]] = [
    *(
        ("timeout_seconds", value, ValueError)
        for value in (NAN, -INF, -1, -(10**400), Decimal("NaN"))
    ),
    *(("timeout_seconds", value, TypeError) for value in ("3", True, timedelta(1), [1], 1j)),
    *(("retry_delay_seconds", value, ValueError) for value in (NAN, INF, -INF, -1, [1, -1])),
    *(
        ("retry_delay_seconds", value, TypeError)
        for value in ("3", b"3", True, timedelta(1), [None], 1j, lambda _: None, lambda _: ["1"])
    ),
    *(("retry_jitter_factor", value, ValueError) for value in (NAN, INF, -1)),
    *(("retry_jitter_factor", value, TypeError) for value in ("3", True, timedelta(1), [1])),
    ("retries", -1, ValueError),
    *(("retries", value, TypeError) for value in (INF, NAN, 2.0, "3", True, Decimal(2), [1])),
]


@pytest.mark.parametrize("decorator", [flow, task])
@pytest.mark.parametrize("case", REFUSED, ids=range(len(REFUSED)))
def test_what_is_no_such_number_is_refused_by_name(decorator: Any, case: Any) -> None:
    option, value, error = case
    with pytest.raises(error, match=option):
        decorator(name="it", **{"retries": 1, option: value})(plain)


@pytest.mark.parametrize("option", ["timeout_seconds", "retry_delay_seconds"])
def test_a_timedelta_is_refused_with_what_to_do(option: str) -> None:
    with pytest.raises(TypeError, match=r"use its total_seconds\(\)"):
        task(name="it", **{"retries": 1, option: timedelta(1)})(plain)  # type: ignore[call-overload] # refused


@pytest.mark.parametrize("runner", [ThreadPoolTaskRunner, ProcessPoolTaskRunner])
@pytest.mark.parametrize(
    ("value", "error"),
    [(0, ValueError), (-1, ValueError), *((v, TypeError) for v in (2.5, INF, "4", True, [1]))],
)
def test_numbers_of_workers(runner: Any, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="max_workers"):
        runner(max_workers=value)
    assert runner(max_workers=10**30).max_workers == 10**30


@pytest.mark.parametrize("factor", [NAN, INF, -1, "2", None, True])
def test_factors_of_a_backoff(factor: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="backoff_factor"):
        exponential_backoff(factor)


def test_no_delay_grows_beyond_what_can_be_written() -> None:
    policy = RetryPolicy(60, exponential_backoff(1e300), 1e300)
    assert policy.delay_s(1, lambda _low, high: high) == LONGEST_WAIT_S
    assert RetryPolicy(1, 1e10).delay_s(1, lambda low, _high: low) == 1e10
    assert RetryPolicy(10**30, 1).may_retry(10**29)


@pytest.mark.parametrize(
    ("expiration", "seconds"),
    [(timedelta.max, LONGEST_WAIT_S), (timedelta.min, 0.0), (timedelta(seconds=5), 5.0)],
)
def test_results_expire_at_an_instant_that_there_is(expiration: timedelta, seconds: float) -> None:
    assert ResultOptions({"cache_expiration": expiration}).expires_after_s == seconds


def failing() -> None:
    raise ValueError("again")


async def failing_later() -> None:
    raise ValueError("again")


@pytest.mark.parametrize("delay_s", [1e10, 1e300, 10**20], ids=repr)
@pytest.mark.parametrize("function", [failing, failing_later])
def test_a_wait_for_a_retry_that_outlasts_us_can_be_broken_off(
    recorder: Recorder, function: Any, delay_s: Any
) -> None:
    it = flow(name="it", retries=1, retry_delay_seconds=delay_s, retry_jitter_factor=1e300)
    waits = threading.Event()
    emit = recorder.events.append

    def noticing(event: Any) -> None:
        emit(event)
        if event[0] == STATE and event[3] == SCHEDULED.number:
            waits.set()

    get_process().emit = noticing
    outcome: list[Any] = []

    def run() -> None:
        try:
            ended(it(function)())
        except CancelRun as stop:
            outcome.append(stop)

    thread = threading.Thread(target=run)
    thread.start()
    assert waits.wait(WAIT_S)
    recorder.cancels[recorder.run("it").id]("enough")
    thread.join(WAIT_S)
    assert len(outcome) == 1
    assert recorder.states("it")[1] == ("AwaitingRetry", 1)
