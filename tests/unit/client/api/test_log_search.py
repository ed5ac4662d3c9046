"""Log searches: the filters sent to the service, and the filters applied by the client."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from flowspan.api.log_search import LogSearch, literal_text
from flowspan.api.models import LogRecord
from flowspan.v1 import log_service_pb2

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def search(**filters) -> LogSearch:
    nothing = {"min_level": 0, "loggers": (), "logged_after": None, "pattern": None}
    return LogSearch(**{**nothing, **filters})


def record(message: str = "", logger: str = "app", at: datetime | None = NOW) -> LogRecord:
    return LogRecord(
        position=1, run_id=UUID(int=1), level=20, logged_at=at, logger=logger, message=message
    )


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("took 5 s", "took 5 s"),
        (r"5\.2 s \(slow\)", "5.2 s (slow)"),
        (re.escape("a.b*c[d] #ä"), "a.b*c[d] #ä"),
        ("a.b", ""),
        (r"\d", ""),
        (r"\bword", ""),
        ("x|y", ""),
        ("^begin", ""),
        ("(?i)word", ""),
        ("line\nbreak", ""),
        ("nul\0", ""),
        ("x" * 256, "x" * 256),
        ("x" * 257, ""),
        ("\ud800", ""),
    ],
)
def test_a_plain_text_is_left_to_the_service(pattern: str, text: str) -> None:
    assert literal_text(re.compile(pattern)) == text
    assert not text or re.search(pattern, f"<{text}>")


def test_flags_are_not_for_the_service() -> None:
    for flag in (re.IGNORECASE, re.VERBOSE, re.ASCII):
        assert literal_text(re.compile("word", flag)) == ""


def test_everything_is_looked_at_again() -> None:
    records = [
        record("old", at=NOW - timedelta(seconds=1)),
        record("no time", at=None),
        record("other", logger="apple"),
        record("below", logger="app.db"),
        record("right"),
    ]
    found = search(loggers=["app"], logged_after=NOW, pattern="^[br]").of(records)
    assert [each.message for each in found] == ["below", "right"]
    assert list(search().of(records)) == records


def test_what_the_service_is_asked() -> None:
    request = log_service_pb2.ListLogsRequest()
    search(min_level=30, loggers=["a", "b.c"], logged_after=NOW, pattern="text").fill(request)
    assert (request.min_level, list(request.loggers)) == (30, ["a", "b.c"])
    assert request.logged_after.ToDatetime(UTC) == NOW
    assert request.message_contains == "text"


@pytest.mark.parametrize(
    "filters",
    [
        {"loggers": [""]},
        {"loggers": ["a", " "]},
        {"pattern": ""},
        {"pattern": re.compile("")},
        {"logged_after": NOW.replace(tzinfo=None)},
    ],
)
def test_filters_that_are_empty_or_no_instant(filters: dict) -> None:
    with pytest.raises(ValueError, match=r"empty|time zone"):
        search(**filters)


def test_a_pattern_that_is_none() -> None:
    with pytest.raises(re.error):
        search(pattern="(")
