from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import typer
from tests.unit.client.test_cli.records import NOW

from flowspan.api import StateType
from flowspan.cli import options


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
    assert options.parse_since(text, now=NOW) == NOW - age


def test_since_a_date():
    assert options.parse_since("2026-01-31T12:00+02:00", now=NOW) == datetime(
        2026, 1, 31, 10, tzinfo=UTC
    )
    assert options.parse_since("2026-01-31", now=NOW) is not None
    assert options.parse_since(None, now=NOW) is None


@pytest.mark.parametrize("text", ["", "yesterday", "5", "-3h", "2026-13-01"])
def test_since_nonsense(text):
    with pytest.raises(typer.BadParameter):
        options.parse_since(text, now=NOW)


def test_states_are_types_or_names():
    assert options.parse_states(["failed", "CRASHED"]) == (
        (StateType.FAILED, StateType.CRASHED),
        (),
    )
    assert options.parse_states(["TimedOut"]) == ((), ("TimedOut",))
    assert options.parse_states(None) == ((), ())
    with pytest.raises(typer.BadParameter):
        options.parse_states(["failed", "TimedOut"])


def test_levels():
    assert options.parse_level("warning") == 30
    assert options.parse_level(None) == 0
    with pytest.raises(typer.BadParameter, match="debug, info, warning"):
        options.parse_level("loud")
