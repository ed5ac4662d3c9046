from __future__ import annotations

import dataclasses
import time
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.api_records import NOW, make_run

from flowspan.api import Failure, State, StateType
from flowspan.cli import format as fmt
from flowspan.cli.options import parse_moment
from flowspan.core.durations import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-0.1, "0µs"),
        (0, "0µs"),
        (0.000025, "25µs"),
        (0.0000996, "0.1ms"),
        (0.00042, "0.4ms"),
        (0.0099, "9.9ms"),
        (0.00996, "10ms"),
        (0.85, "850ms"),
        (0.9994, "999ms"),
        (0.9996, "1.0s"),
        (12.34, "12.3s"),
        (59.94, "59.9s"),
        (59.96, "1m 00s"),
        (125, "2m 05s"),
        (3599.4, "59m 59s"),
        (3599.6, "1h 00m"),
        (3720, "1h 02m"),
        (86399, "23h 59m"),
        (86400, "1d 00h"),
        (273600, "3d 04h"),
    ],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("passed_s", "text"),
    [
        (-5, "now"),
        (0.5, "now"),
        (1, "1s ago"),
        (59.9, "59s ago"),
        (60, "1m ago"),
        (3599, "59m ago"),
        (3600, "1h ago"),
        (86399, "23h ago"),
        (86400, "1d ago"),
        (29 * 86400, "29d ago"),
    ],
)
def test_ago(passed_s, text):
    assert fmt.ago(NOW - timedelta(seconds=passed_s), now=NOW) == text


def test_long_ago_is_a_date():
    assert fmt.ago(NOW - timedelta(days=40), now=NOW).count("-") == 2
    assert fmt.ago(None, now=NOW) == ""


def test_the_time_of_a_run_that_goes_on_grows():
    run = make_run(1, "t", kind=StateType.RUNNING, began_s=50)
    assert fmt.run_duration(run, now=NOW) == "10.0s"
    assert fmt.run_duration(run, now=NOW + timedelta(seconds=5)) == "15.0s"


def test_a_run_that_has_not_begun_took_no_time():
    assert fmt.run_duration(make_run(1, "t", kind=StateType.PENDING), now=NOW) == ""


def test_reasons_are_one_line():
    failure = Failure(type="ValueError", message="first\nsecond")
    failed = State(type=StateType.FAILED, name="Failed", failure=failure)
    assert fmt.reason(failed) == "ValueError: first"
    assert fmt.failure_line(Failure(type="OSError")) == "OSError"
    crashed = State(type=StateType.CRASHED, name="Crashed", message="silence\nmore")
    assert fmt.reason(crashed) == "silence"


def test_what_the_terminal_would_obey_is_taken_out():
    state = State(type=StateType.FAILED, name="Failed", message="a\x1b[2Jb\rc\x07d")
    assert fmt.reason(state) == "ab cd"


def test_every_state_has_a_symbol_and_a_colour():
    assert set(fmt.SYMBOLS) == set(fmt.STYLES) == set(StateType)


def moved(run, **changes):
    return dataclasses.replace(run, **changes)


def state(kind, *, ago_s=0.0):
    return State(type=kind, name=kind.name.capitalize(), entered_at=NOW - timedelta(seconds=ago_s))


LATER = NOW + timedelta(seconds=3600)
BEGAN = make_run(1, "t", took_s=10)
PAUSED = moved(BEGAN, state=state(StateType.PAUSED), ended_at=None)


@pytest.mark.parametrize(
    ("run", "took", "waited"),
    [
        pytest.param(BEGAN, "10.0s", "", id="ended"),
        pytest.param(
            moved(BEGAN, created_at=BEGAN.created_at - timedelta(seconds=100)),
            "10.0s",
            "1m 40s",
            id="waited for its start, or between attempts",
        ),
        pytest.param(
            moved(BEGAN, created_at=BEGAN.created_at - timedelta(seconds=0.9)),
            "10.0s",
            "",
            id="waited less than a second",
        ),
        pytest.param(
            moved(BEGAN, run_duration_s=500.0, ended_at=BEGAN.created_at + timedelta(seconds=540)),
            "8m 20s",
            "",
            id="waited less than a tenth",
        ),
        pytest.param(PAUSED, "10.0s", "1h 00m", id="paused: no time passes"),
        pytest.param(
            moved(BEGAN, state=state(StateType.RUNNING), ended_at=None), "1h 00m", "", id="running"
        ),
        pytest.param(
            moved(make_run(2, "t", kind=StateType.PENDING), run_duration_s=0.0),
            "",
            "1h 01m",
            id="never ran",
        ),
        pytest.param(moved(BEGAN, created_at=None), "10.0s", "", id="no time known"),
        pytest.param(
            moved(BEGAN, created_at=BEGAN.created_at + timedelta(seconds=100)),
            "10.0s",
            "",
            id="clocks that disagree",
        ),
    ],
)
def test_a_run_has_one_duration_and_a_wait_beside_it(run, took, waited):
    assert fmt.run_duration(run, now=LATER) == took
    assert fmt.run_wait(run, now=LATER) == waited


@pytest.fixture
def set_zone(monkeypatch):
    def set_tz(zone):
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield set_tz
    monkeypatch.undo()
    time.tzset()


def test_a_zone_that_is_none_counts_as_utc(set_zone):
    set_zone("UTC+25")
    assert fmt.moment(NOW, now=NOW) == "12:00:00.000"
    assert fmt.stamp(NOW) == "2026-03-01 12:00:00 +00:00"
    found = parse_moment("2026-03-01 12:00", now=NOW, option="--since")
    assert found == datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_a_date_has_its_zone_where_the_day_is_not_today(set_zone):
    set_zone("Europe/Berlin")
    assert fmt.moment(NOW, now=NOW) == "13:00:00.000"
    midnight = NOW.replace(hour=23)  # 00:00 in Berlin
    assert fmt.moment(midnight, now=midnight + timedelta(hours=22)) == "00:00:00.000"
    before = midnight - timedelta(milliseconds=1)
    assert fmt.moment(before, now=midnight) == "2026-03-01 23:59:59.999 +01:00"
    assert fmt.moment(None, now=NOW) == "--:--:--.---"
    assert fmt.stamp(NOW) == "2026-03-01 13:00:00 +01:00"
    assert fmt.stamp(NOW.replace(month=7)) == "2026-07-01 14:00:00 +02:00"
    assert fmt.stamp(None) == ""
    assert fmt.ago(NOW - timedelta(days=40), now=NOW) == "2026-01-20 +01:00"
    end = datetime.max.replace(tzinfo=UTC)
    assert fmt.stamp(end).startswith("9999-12-31 23:59:59")
    assert fmt.moment(end, now=NOW).startswith("9999-12-31 23:59:59")


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (0, "run", "0 runs"),
        (1, "run", "1 run"),
        (1_234_567, "run", "1,234,567 runs"),
        (1_000, "", "1,000"),
        (2, "more row", "2 more rows"),
    ],
)
def test_counts(number, noun, text):
    assert fmt.count(number, noun) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1,023 bytes"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (5 * 1024**3, "5.0 GiB"),
        (5_000 * 1024**4, "5,000.0 TiB"),
    ],
)
def test_sizes(size, text):
    assert fmt.size(size) == text


def test_thousands_of_days_are_set_apart():
    assert duration(86_400 * 12_345) == "12,345d 00h"
