"""Options and arguments shared by several commands."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from flowspan.api.models import LogLevel

_EARLIEST = datetime(1970, 1, 1, 0, 0, 0, 1, UTC)
_LATEST = datetime(9999, 12, 31, tzinfo=UTC)
_AGE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([smhdw])")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
# Larger than any result. Python's iterators accept no larger limit.
_NO_LIMIT = 2**62


def refuse_blank(value: Any) -> Any:
    """Return the value of a selecting argument or option, unless it is blank.

    A blank value would select nothing or everything. Most often it is an unset variable of a
    script.

    Raises:
        typer.BadParameter: The value, or one of several, is empty or blank.
    """
    for text in value if isinstance(value, (list, tuple)) else (value,):
        if isinstance(text, str) and not text.strip():
            raise typer.BadParameter(f"{text!r} is empty" if text == "" else f"{text!r} is blank")
    return value


def bounded(value: int) -> int:
    """Return the limit, capped to what Python's iterators accept."""
    return min(value, _NO_LIMIT)


RunId = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="Run id (or a unique prefix or suffix), run name, or 'latest'.",
        show_default=False,
        callback=refuse_blank,
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print JSON, one object per line (fields: docs/cli.md).")
]
Limit = Annotated[
    int,
    typer.Option(
        "--limit",
        "-n",
        metavar="N",
        min=0,
        help="Maximum number to list; 0 for all.",
        callback=bounded,
    ),
]
States = Annotated[
    list[str] | None,
    typer.Option(
        "--state",
        "-s",
        metavar="STATE",
        help="Filter by state type (failed) or state name (TimedOut). Repeatable.",
        callback=refuse_blank,
    ),
]
Tags = Annotated[
    list[str] | None,
    typer.Option(
        "--tag",
        "-t",
        metavar="TAG",
        help="Filter by tag. Repeat to require several tags.",
        callback=refuse_blank,
    ),
]
RunName = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", help="Filter by exact run name.", callback=refuse_blank),
]
Since = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="WHEN",
        help="Show runs created at or after WHEN: an age (30m, 2h, 7d), or a date and time.",
    ),
]
Until = Annotated[
    str | None,
    typer.Option("--until", metavar="WHEN", help="Show runs created before WHEN (as --since)."),
]


def parse_period(
    since: str | None, until: str | None, *, now: datetime
) -> tuple[datetime | None, datetime | None]:
    """Return the moments given by `--since` and `--until`.

    Raises:
        typer.BadParameter: A value is not a moment, or `--until` is not after `--since`.
    """
    first = parse_moment(since, now=now, option="--since")
    end = parse_moment(until, now=now, option="--until")
    if first is not None and end is not None and end <= first:
        msg = f"{until!r} is not later than --since {since!r}, so the period is empty"
        raise typer.BadParameter(msg, param_hint="--until")
    return first, end


def parse_moment(text: str | None, *, now: datetime, option: str) -> datetime | None:
    """Return the moment given by an option, in UTC.

    Moments before 1970 are raised to 1970; no run is older.

    Args:
        text: An age such as "30m", or a date with optional time; None for no moment.
        now: The current time.
        option: The option's name, for the message.

    Raises:
        typer.BadParameter: The text is neither an age nor a date.
    """
    if text is None:
        return None
    age = _AGE.fullmatch(text.strip().lower())
    if age is not None:
        try:
            return max(now - timedelta(seconds=float(age[1]) * _UNITS_S[age[2]]), _EARLIEST)
        except OverflowError:
            return _EARLIEST
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        shown = text if len(text) <= 100 else f"{text[:100]}…"
        msg = f"{shown!r} is neither an age (30m, 2h, 7d) nor a date (2026-01-31, 2026-01-31T12:00)"
        raise typer.BadParameter(msg, param_hint=option) from None
    try:
        return max(moment.astimezone(UTC), _EARLIEST)  # a moment without a zone is local
    except (OverflowError, ValueError):  # calendar limits, or an invalid TZ ("UTC+25")
        if _EARLIEST.year <= moment.year < _LATEST.year:
            return moment.replace(tzinfo=UTC)
        return _EARLIEST if moment.year < _EARLIEST.year else _LATEST


def parse_level(text: str | None) -> int:
    """Return the number of a log level; 0 if none is given.

    Raises:
        typer.BadParameter: There is no such level.
    """
    if text is None:
        return 0
    level = LogLevel.__members__.get(text.strip().upper())
    if level is None:
        choices = ", ".join(name.lower() for name in LogLevel.__members__)
        raise typer.BadParameter(
            f"{text!r} is not a log level. Choose from {choices}", param_hint="--level"
        )
    return int(level)
