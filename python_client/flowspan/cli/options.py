"""Options and arguments that several commands share."""

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
# More than there can be: a limit above it is no limit, and Python's iterators take no larger one.
_NO_LIMIT = 2**62


def refuse_blank(value: Any) -> Any:
    """Return the value of an argument or option that selects something.

    An empty one would select nothing, or everything: most often it is a variable of a script that
    was never set.

    Raises:
        typer.BadParameter: It is empty, or one of several is.
    """
    for text in value if isinstance(value, (list, tuple)) else (value,):
        if isinstance(text, str) and not text.strip():
            raise typer.BadParameter(f"{text!r} is empty" if text == "" else f"{text!r} is blank")
    return value


def bounded(value: int) -> int:
    """Return a limit that Python's iterators take."""
    return min(value, _NO_LIMIT)


RunId = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="The run's id, a unique end or beginning of it, its name, or 'latest'.",
        show_default=False,
        callback=refuse_blank,
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print JSON, one object a line (fields: docs/cli.md).")
]
Limit = Annotated[
    int,
    typer.Option(
        "--limit",
        "-n",
        metavar="N",
        min=0,
        help="How many at most; 0 for all.",
        callback=bounded,
    ),
]
States = Annotated[
    list[str] | None,
    typer.Option(
        "--state",
        "-s",
        metavar="STATE",
        help="Only runs in this state: a type (failed) or a name (TimedOut).",
        callback=refuse_blank,
    ),
]
Tags = Annotated[
    list[str] | None,
    typer.Option(
        "--tag",
        "-t",
        metavar="TAG",
        help="Only runs with this tag (with all).",
        callback=refuse_blank,
    ),
]
RunName = Annotated[
    str | None,
    typer.Option(
        "--name", metavar="NAME", help="Only runs of exactly this name.", callback=refuse_blank
    ),
]
Since = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="WHEN",
        help="Only runs created then or later: 30m, 2h, 7d ago, or a date and time.",
    ),
]
Until = Annotated[
    str | None,
    typer.Option("--until", metavar="WHEN", help="Only runs created before then; as --since."),
]


def parse_period(
    since: str | None, until: str | None, *, now: datetime
) -> tuple[datetime | None, datetime | None]:
    """Return the moments that `--since` and `--until` name.

    Raises:
        typer.BadParameter: One of them is no moment, or `--until` is not after `--since`.
    """
    first = parse_moment(since, now=now, option="--since")
    end = parse_moment(until, now=now, option="--until")
    if first is not None and end is not None and end <= first:
        msg = f"{until!r} is not later than --since {since!r}: there is nothing in between"
        raise typer.BadParameter(msg, param_hint="--until")
    return first, end


def parse_moment(text: str | None, *, now: datetime, option: str) -> datetime | None:
    """Return the moment that an option names.

    A moment before 1970 is moved there: no run is older.

    Args:
        text: An age such as "30m", or a date, with a time or without; None for no moment.
        now: The time.
        option: The option, for the message.

    Raises:
        typer.BadParameter: It is neither an age nor a date.
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
        return max(moment.astimezone(UTC), _EARLIEST)  # without a zone, it is the local one
    except (OverflowError, ValueError):  # at the calendar's ends, or TZ is no zone ("UTC+25")
        if _EARLIEST.year <= moment.year < _LATEST.year:
            return moment.replace(tzinfo=UTC)
        return _EARLIEST if moment.year < _EARLIEST.year else _LATEST


def parse_level(text: str | None) -> int:
    """The number of a level.

    Raises:
        typer.BadParameter: There is no such level.
    """
    if text is None:
        return 0
    level = LogLevel.__members__.get(text.strip().upper())
    if level is None:
        choices = ", ".join(name.lower() for name in LogLevel.__members__)
        raise typer.BadParameter(f"{text!r} is none of {choices}", param_hint="--level")
    return int(level)
