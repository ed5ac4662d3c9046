from __future__ import annotations

from datetime import timedelta

import pytest
from tests.unit.client.test_cli.records import NOW, make_run

from flowspan.api import Failure, State, StateType
from flowspan.cli import format as fmt


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
    assert fmt.duration(seconds) == text


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
