"""Options and arguments that several commands share."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from flowspan.api.models import LogLevel, StateType

RunId = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="The run's id, a unique end or beginning of it, its name, or 'latest'.",
        show_default=False,
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print JSON, one object a line (fields: docs/cli.md).")
]
Limit = Annotated[
    int, typer.Option("--limit", "-n", metavar="N", min=0, help="How many at most; 0 for all.")
]
States = Annotated[
    list[str] | None,
    typer.Option(
        "--state",
        "-s",
        metavar="STATE",
        help="Only runs in this state: a type (failed) or a name (TimedOut).",
    ),
]
Since = Annotated[
    str | None,
    typer.Option(
        "--since", metavar="WHEN", help="Only runs since then: 30m, 2h, 7d, or a date and time."
    ),
]

_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_since(text: str | None, *, now: datetime) -> datetime | None:
    """The moment that `--since` names.

    Raises:
        typer.BadParameter: It is neither an age nor a date.
    """
    if text is None:
        return None
    age = _AGE.fullmatch(text.strip().lower())
    if age is not None:
        return now - timedelta(seconds=float(age[1]) * _UNITS_S[age[2]])
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        msg = f"{text!r} is neither an age (30m, 2h, 7d) nor a date (2026-01-31, 2026-01-31T12:00)"
        raise typer.BadParameter(msg, param_hint="--since") from None
    return moment.astimezone(UTC)  # without a zone, it is the local one


def parse_states(texts: list[str] | None) -> tuple[tuple[StateType, ...], tuple[str, ...]]:
    """The types and the names of states that `--state` gives; a type is told by its name."""
    types: list[StateType] = []
    names: list[str] = []
    for text in texts or ():
        kind = StateType.__members__.get(text.strip().upper())
        if kind is None or kind is StateType.UNKNOWN:
            names.append(text.strip())
        else:
            types.append(kind)
    if types and names:
        msg = "give types of states (failed) or names of states (TimedOut), not both"
        raise typer.BadParameter(msg, param_hint="--state")
    return tuple(types), tuple(names)


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
