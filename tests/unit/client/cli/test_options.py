from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import typer
from tests.support.api_records import NOW

from flowspan.api import StateType
from flowspan.cli import options
from flowspan.cli.states import parse_states


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        (" 1.5h ", timedelta(minutes=90)),
        ("7D", timedelta(days=7)),
        ("2w", timedelta(days=14)),
    ],
)
def test_since_an_age(text, age):
    assert options.parse_moment(text, now=NOW, option="--since") == NOW - age


def test_since_a_date():
    assert options.parse_moment("2026-01-31T12:00+02:00", now=NOW, option="--since") == datetime(
        2026, 1, 31, 10, tzinfo=UTC
    )
    assert options.parse_moment("2026-01-31", now=NOW, option="--until") is not None
    assert options.parse_moment(None, now=NOW, option="--since") is None


@pytest.mark.parametrize("text", ["", "yesterday", "5", "-3h", "2026-13-01"])
def test_since_nonsense(text):
    with pytest.raises(typer.BadParameter):
        options.parse_moment(text, now=NOW, option="--since")


def test_states_are_types_or_names():
    assert parse_states(["failed", "CRASHED"]) == (
        (StateType.FAILED, StateType.CRASHED),
        (),
    )
    assert parse_states(["TimedOut"]) == ((), ("TimedOut",))
    assert parse_states(None) == ((), ())
    with pytest.raises(typer.BadParameter):
        parse_states(["failed", "TimedOut"])


def test_levels():
    assert options.parse_level("warning") == 30
    assert options.parse_level(None) == 0
    with pytest.raises(typer.BadParameter, match="debug, info, warning"):
        options.parse_level("loud")
